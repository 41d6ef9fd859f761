"""Pages of recordings: as they are, or with what networks make of them, each asked here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dualhead.data.datasets import configured
from dualhead.data.datasets.skeletons import SKELETONS, read_class_names
from dualhead.data.store import Store
from dualhead.hdf5 import is_hdf5
from dualhead.layout import SkeletonLayout
from dualhead.report.titles import stream_title, variant_title
from dualhead.report.viewer.content import (
    Network,
    Page,
    Recording,
    Seen,
    Windows,
    by_rounds,
    stored_recording,
)
from dualhead.runs.recordings import Piece, Source, prepared_store, source_for
from dualhead.runs.recordings import Windows as Cut
from dualhead.runs.scores import attention_to
from dualhead.settings import checks
from dualhead.settings.params import Settings

if TYPE_CHECKING:  # torch comes with them, which skeletons alone do not need
    from dualhead.runs.predict import Ensemble

WHOLE = Cut(0, 1)


class Wanted(NamedTuple):
    """The choice of recordings for a page."""

    names: Sequence[str] = ()  # none: `number`, of each class by turns
    number: int = 20
    split: str = ""  # of a store, whose test recordings are taken; empty: all
    windows: Cut = WHOLE


def page_of_recordings(
    sources: Sequence[Path],
    checkpoints: Sequence[Path],
    wanted: Wanted,
    *,
    title: str,
    device: str,
    threads: int | None = None,
    recordings: Settings,
) -> Page:
    """Return the page of some recordings, and of what networks make of them.

    Args:
        sources: one store, or raw recordings: files, folders, archives.
        checkpoints: networks, which answer each by itself; none shows the skeletons alone.
        wanted: choice of recordings and windows.
        title: the page's.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        threads: number of torch's threads on the CPU; None leaves torch's own choice.
        recordings: settings of raw recordings.

    Raises:
        ValueError: for recordings that cannot be read, or not by these networks.
    """
    if wanted.windows.length and _is_store(sources):
        raise ValueError(
            f"{sources[0]}: its recordings are prepared whole; --window cuts raw recordings, so give those"
        )
    ensemble = _ensemble(checkpoints, device, threads) if checkpoints else None
    with _opened(sources, ensemble, recordings) as (store, pieces, source):
        chosen = _chosen(store, pieces, wanted)
        own = [pieces[i] for i in chosen]
        seen = _seen(ensemble, store, chosen, own)
        if ensemble and wanted.windows.length:
            cut = source(wanted.windows)
            seen = _with_windows(seen, ensemble, sources, cut, own)
        shown = [stored_recording(store, i, one) for i, one in zip(chosen, seen, strict=True)]
        named = [one._replace(name=piece.name) for one, piece in zip(shown, own, strict=True)]
        names = ensemble.class_names if ensemble else ()
        return Page(
            title=title,
            facts=_facts(sources, checkpoints, len(store), len(chosen)),
            layout=store.layout,
            class_names=names or store.class_names,
            networks=_networks(ensemble, seen),
            names=[piece.name for piece in own],
            labels=np.array([piece.label for piece in own], np.int64),
            recordings=named,
            command="",
        )


def _ensemble(checkpoints: Sequence[Path], device: str, threads: int | None) -> Ensemble:
    from dualhead.runs.inference import use_cpu
    from dualhead.runs.predict import load_ensemble

    use_cpu(threads)
    return load_ensemble(checkpoints, device)


def _check_networks(ensemble: Ensemble, store: Store) -> None:
    from dualhead.runs.partition import check_network

    for network in ensemble.networks:
        check_network(network.content, store, network.path)


def recording_of(
    sources: Sequence[Path], name: str, recordings: Settings
) -> tuple[Recording, str, SkeletonLayout]:
    """Return one recording, its class where that is known, and its layout.

    Args:
        sources: one store, or raw recordings.
        name: the recording's; empty: the only one there is.
        recordings: settings of raw recordings.

    Raises:
        ValueError: if there is none of that name, or several and no name.
    """
    with _opened(sources, None, recordings) as (store, pieces, _):
        if not name and len(pieces) > 1:
            raise ValueError(
                f"{sources[0]}: {len(pieces)} recordings, such as {pieces[0].name}; say which one "
                "with --name"
            )
        (place,) = _chosen(store, pieces, Wanted([name] if name else (), 1))
        piece = pieces[place]
        action = store.class_names[piece.label] if piece.label >= 0 else ""
        shown = stored_recording(store, place)._replace(name=piece.name)
        return shown, action, store.layout


def _is_store(sources: Sequence[Path]) -> bool:
    """Return whether the source is a store.

    Raises:
        ValueError: for a store beside other sources.
    """
    stores = [path for path in sources if path.is_file() and is_hdf5(path)]
    if stores and len(sources) > 1:
        raise ValueError(
            f"{stores[0]}: expected one store alone, found {len(sources)} sources; give one, or raw "
            "recordings"
        )
    return bool(stores)


def _facts(
    sources: Sequence[Path], checkpoints: Sequence[Path], count: int, shown: int
) -> list[tuple[str, str]]:
    facts = [("From", ", ".join(path.name for path in sources))]
    if checkpoints:
        named = ("/".join(path.absolute().parts[-2:]) for path in checkpoints)
        facts.append(("Checkpoints", ", ".join(named)))
    return [*facts, ("Recordings", f"{shown} of {count}" if shown < count else str(count))]


Opened = tuple[Store, list[Piece], Callable[[Cut], Source]]


@contextmanager
def _opened(
    sources: Sequence[Path], ensemble: Ensemble | None, recordings: Settings
) -> Iterator[Opened]:
    """Yield the recordings as a store, what they are, and how they are prepared when they are cut."""

    def source(windows: Cut) -> Source:
        if ensemble:
            return ensemble.source(recordings, windows)
        dataset = configured(SKELETONS.kind, sources, recordings)
        settings = checks.defaults()["prepare"] | dict(dataset.prepare)
        return source_for(dataset.skeleton(), settings, recordings, windows)

    if _is_store(sources):
        with Store(sources[0]) as store:
            if ensemble:
                _check_networks(ensemble, store)
            known = not ensemble or len(store.class_names) == ensemble.num_classes
            labels = store.labels.tolist() if known else [-1] * len(store)
            lasts = (store.num_frames - 1).tolist()
            pieces = [
                Piece(*it) for it in zip(store.names, [0] * len(lasts), lasts, labels, strict=True)
            ]
            yield store, pieces, source
        return
    names = ensemble.class_names if ensemble else read_class_names(sources)
    with prepared_store(sources, source(WHOLE), names) as (store, pieces):
        yield store, pieces, source


def _chosen(store: Store, pieces: Sequence[Piece], wanted: Wanted) -> list[int]:
    """Return the positions of the recordings that are shown.

    Raises:
        ValueError: for a name that no recording has.
    """
    known = {piece.name: place for place, piece in enumerate(pieces)}
    absent = [name for name in wanted.names if name not in known]
    if absent:
        raise ValueError(
            f"--name {absent[0]}: expected one of {len(known)} recordings, such as "
            f"{', '.join([*known][:3])}; found none of that name"
        )
    if wanted.names:
        return [known[name] for name in wanted.names]
    places = store.split(wanted.split)[1].tolist() if wanted.split else [*range(len(pieces))]
    return by_rounds(places, [pieces[place].label for place in places])[: wanted.number]


def _seen(
    ensemble: Ensemble | None, store: Store, chosen: Sequence[int], pieces: Sequence[Piece]
) -> list[list[Seen]]:
    """Return each network's scores and attention for each whole recording."""
    if ensemble is None:
        return [[] for _ in chosen]
    from dualhead.runs.observe import observe

    observed = observe(ensemble, store, np.array(chosen), pieces, attention=True)
    return [
        [
            Seen(
                {head: values[i] for head, values in one.heads.items()},
                attention=one.attention and attention_to(one.attention, i),
            )
            for one in observed
        ]
        for i in range(len(chosen))
    ]


def _with_windows(
    seen: Sequence[Sequence[Seen]],
    ensemble: Ensemble,
    sources: Sequence[Path],
    source: Source,
    pieces: Sequence[Piece],
) -> list[list[Seen]]:
    """Return the same with each network's scores of each window."""
    from dualhead.runs.observe import observe

    wanted = {piece.name for piece in pieces}
    with prepared_store(sources, source, ensemble.class_names) as (store, cuts):
        places = [i for i, cut in enumerate(cuts) if cut.name in wanted]
        own = [cuts[i] for i in places]
        observed = observe(ensemble, store, np.array(places), own, attention=False)
    of = {
        piece.name: [i for i, cut in enumerate(own) if cut.name == piece.name] for piece in pieces
    }
    return [
        [
            one._replace(
                windows=Windows(
                    [(own[i].first, own[i].last) for i in of[piece.name]],
                    network.heads["fusion"][of[piece.name]],
                )
            )
            for one, network in zip(row, observed, strict=True)
        ]
        for piece, row in zip(pieces, seen, strict=True)
    ]


def _networks(ensemble: Ensemble | None, seen: Sequence[Sequence[Seen]]) -> list[Network]:
    if ensemble is None:
        return []
    titles = [
        f"{variant_title(config.get('variant', config['model']['name']))}, {stream_title(config['modality'])}"
        for config in (network.content["config"] for network in ensemble.networks)
    ]
    if len(set(titles)) < len(titles):
        titles = [
            f"{title} ({network.path})"
            for title, network in zip(titles, ensemble.networks, strict=True)
        ]
    fused = [np.stack([row[i].heads["fusion"] for row in seen]) for i in range(len(titles))]
    return [*map(Network, titles, fused)]
