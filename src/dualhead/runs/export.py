"""Checkpoints as files that run without this package, checked against our own networks before they are put in place."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn
from torch.export import ExportedProgram

from dualhead.data.modalities import MODALITIES
from dualhead.data.store import Store
from dualhead.files import digest_of, replacing, write_text
from dualhead.hdf5 import is_hdf5
from dualhead.layout import SkeletonLayout
from dualhead.models.checkpoint import digest_of_weights
from dualhead.models.export import (
    NEEDS,
    Runner,
    least_frames,
    onnx_runner,
    program_runner,
    read_weights,
    require,
    trace,
    write_onnx,
    write_program,
    write_weights,
)
from dualhead.runs.batches import load_split, make_batch
from dualhead.runs.inference import infer, precision
from dualhead.runs.partition import check_network
from dualhead.runs.predict import Ensemble, Network, load_ensemble
from dualhead.runs.recordings import Windows, prepared_store
from dualhead.runs.scores import fuse_heads
from dualhead.settings.params import Settings
from dualhead.settings.run import ScoreSettings

Array = npt.NDArray[np.float32]
OUTPUTS: Final = ("scores", "logits")
TOLERANCE: Final = 1e-4
"""Largest difference from our own networks: of a score, and of a logit as a share of the largest one."""
BATCH_SIZES: Final = (1, 3, 2)
"""Recordings that are checked at once, in turn."""
MOST_CHECKED: Final = 64  # recordings


class Chain(nn.Module):
    """From joints to scores: each network's modality, its heads' fusion (Eq. 14), the networks' mean (Sec. 3.7).

    (N, C, T, V, M) -> scores (N, classes), softmax; and logits (N, heads of all networks, classes).
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        modalities: Sequence[str],
        weights: Sequence[float],
        layout: SkeletonLayout,
    ) -> None:
        """Make the chain; `weights` are each network's mu, the share of its coarse head."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.modalities, self.weights, self.layout = modalities, weights, layout

    def forward(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and logits."""
        made = {
            name: MODALITIES[name](joints, self.layout) for name in dict.fromkeys(self.modalities)
        }
        scores, logits = [], []
        for network, name, weight in zip(self.networks, self.modalities, self.weights, strict=True):
            heads = network(made[name])
            shares = [weight, 1 - weight] if len(heads) == 2 else [1.0]
            own = [
                heads[head].softmax(-1) * share for head, share in zip(heads, shares, strict=True)
            ]
            scores.append(torch.stack(own).sum(0))
            logits += heads.values()
        return torch.stack(scores).mean(0), torch.stack(logits, 1)


class Checked(NamedTuple):
    """Result of a comparison of a file with our own networks."""

    recordings: int
    shapes: int  # different numbers of recordings and frames
    error: float  # the largest, of scores
    of_logits: float  # the largest, of logits, as a share of the largest logit

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"within {self.error:.1e} of our own scores and {self.of_logits:.1e} of the largest logit, on "
            f"{self.recordings} recordings in {self.shapes} shapes"
        )


def export(
    checkpoints: Sequence[Path],
    sources: Sequence[Path],
    outputs: Sequence[Path],
    *,
    recordings: Settings,
) -> Iterator[str]:
    """Write the last weights of checkpoints as files; yield what each is, in a line.

    Args:
        checkpoints: one, or several whose scores are averaged, as `dualhead predict` does.
        sources: recordings or stores that files are checked on; none: made-up ones of several lengths.
        outputs: the files; each one's suffix says its format: .onnx, .pt2, or .safetensors (one checkpoint; a model
            card is written beside it).
        recordings: settings of raw recordings.

    Raises:
        ValueError: for checkpoints that cannot share one file, or a file that does not compute what they do.
    """
    for output in outputs:
        if output.suffix not in NEEDS:
            raise ValueError(f"{output}: expected a name that ends in {', '.join(NEEDS)}")
        require(output.suffix)
    ensemble = load_ensemble(checkpoints, "cpu")
    _refuse_other_inputs(ensemble)
    about = describe(ensemble)
    for output in outputs:
        if output.suffix == ".safetensors":
            yield _export_weights(ensemble, output, about)
    traced = [output for output in outputs if output.suffix != ".safetensors"]
    if traced:
        batches = list(_batches(ensemble, sources, recordings, about))
        print("tracing takes about a minute for each network", file=sys.stderr, flush=True)
        program = trace(_chain(ensemble), _example(ensemble, about), about["least_frames"])
        for output in traced:
            yield _write_traced(program, ensemble, batches, output, about)


def _write_traced(
    program: ExportedProgram,
    ensemble: Ensemble,
    batches: Sequence[Tensor],
    output: Path,
    about: Settings,
) -> str:
    """Write the traced chain as one file, and put it in place if it computes what our networks do."""
    with replacing(output) as temporary:
        if output.suffix == ".onnx":
            text = write_onnx(program, temporary, OUTPUTS, about)
            runner = onnx_runner(temporary)
        else:
            text = f"torch {torch.__version__}"
            write_program(program, temporary, about)
            runner = program_runner(temporary)
        checked = check(runner, ensemble, batches, output)
        size = temporary.stat().st_size
    number = len(ensemble.networks)
    parts = f"{number} network{'s' * (number > 1)}, {text}, {size / 1e6:.1f} MB"
    return f"{output}: {parts}; {checked}"


def describe(ensemble: Ensemble) -> Settings:
    """Return the facts that a file's user needs: see `metadata` in docs/take_it_with_you.md."""
    first = ensemble.networks[0].content
    return {
        "layout": ensemble.layout.to_mapping(),
        "class_names": list(ensemble.class_names),
        "preparation": first["preparation"],
        "input": _input_of(ensemble.networks[0]),
        "max_bodies": first["config"]["max_bodies"],
        "least_frames": max(
            least_frames(one.content["config"]["model"]) for one in ensemble.networks
        ),
        "networks": [_facts(network) for network in ensemble.networks],
        "output": {"scores": "softmax, fused over heads and networks", "logits": _heads(ensemble)},
    }


def _facts(network: Network) -> Settings:
    config, content = network.content["config"], network.content
    return {
        "file": network.path.name,
        "sha256": digest_of(network.path),
        "digest": content["digest"] or digest_of_weights(content["selections"]),
        "modality": config["modality"],
        "model": config["model"],
        "fusion_weight": _scoring(network).fusion_weight,
    }


def _heads(ensemble: Ensemble) -> list[str]:
    """Return the network and head of each of the logits."""
    heads = {"dualhead": ("coarse", "fine"), "ms_g3d": ("fusion",)}
    configs = [network.content["config"] for network in ensemble.networks]
    return [f"{one['modality']} {head}" for one in configs for head in heads[one["model"]["name"]]]


def _input_of(network: Network) -> Settings:
    """Return the choice and scale of the frames that a network is shown."""
    settings = _scoring(network).input
    return {key: getattr(settings, key) for key in ("num_frames", "resample", "min_max")}


def _scoring(network: Network) -> ScoreSettings:
    return ScoreSettings.of(network.content["config"])


def _refuse_other_inputs(ensemble: Ensemble) -> None:
    """Refuse networks that are shown other frames, or other scales, of the same recording."""
    first = ensemble.networks[0]
    for network in ensemble.networks:
        own, other = _input_of(first), _input_of(network)
        if differing := [key for key in own if own[key] != other[key]]:
            raise ValueError(
                f"{first.path} and {network.path}: their input.{', input.'.join(differing)} differ, so the same "
                "joints cannot be given to both; export each to a file of its own"
            )


def _chain(ensemble: Ensemble) -> Chain:
    scoring = [_scoring(network) for network in ensemble.networks]
    return Chain(
        [network.model for network in ensemble.networks],
        [settings.modality for settings in scoring],
        [settings.fusion_weight for settings in scoring],
        ensemble.layout,
    )


def _shape(ensemble: Ensemble, samples: int, frames: int) -> tuple[int, ...]:
    layout = ensemble.layout
    bodies = ensemble.networks[0].content["config"]["max_bodies"]
    return samples, layout.num_coordinates, frames, layout.num_joints, bodies


def _example(ensemble: Ensemble, about: Settings) -> Tensor:
    return torch.ones(_shape(ensemble, 3, 4 * about["least_frames"] + 1))


def _batches(
    ensemble: Ensemble, sources: Sequence[Path], recordings: Settings, about: Settings
) -> Iterator[Tensor]:
    """Yield batches of joints, (N, C, T, V, M), of recordings, or of made-up ones where none are given."""
    stores = [path for path in sources if path.is_file() and is_hdf5(path)]
    raw = [path for path in sources if path not in stores]
    for path in stores:
        with Store(path) as store:
            for network in ensemble.networks:
                check_network(network.content, store, network.path)
            yield from _batches_of(ensemble, store)
    if raw:
        source = ensemble.source(recordings, Windows(0, 0))
        with prepared_store(raw, source, ensemble.class_names) as (store, _):
            yield from _batches_of(ensemble, store)
    if not sources:
        yield from _made_up(ensemble, about)


def _batches_of(ensemble: Ensemble, store: Store) -> Iterator[Tensor]:
    """Yield a store's recordings as the networks are shown them, some at a time; long stores evenly thinned out."""
    count = min(len(store), MOST_CHECKED)
    positions = np.linspace(0, len(store) - 1, count).astype(np.int64)
    split = load_split(store, positions, torch.device("cpu"))
    settings, start, turn = _scoring(ensemble.networks[0]).input, 0, 0
    while start < count:
        index = torch.arange(start, min(start + BATCH_SIZES[turn % len(BATCH_SIZES)], count))
        yield make_batch(split, index, modality="joint", settings=settings, generator=None)
        start, turn = start + len(index), turn + 1


def _made_up(ensemble: Ensemble, about: Settings) -> Iterator[Tensor]:
    """Yield joints that wander, always the same ones, of several lengths; every second recording lacks a body."""
    generator, least = Generator().manual_seed(0), about["least_frames"]
    lengths = max(about["input"]["num_frames"], least), least, least + 8
    for samples, frames in zip(BATCH_SIZES, lengths, strict=True):
        shape = _shape(ensemble, samples, frames)
        joints = torch.randn(shape[0], shape[1], 1, *shape[3:], generator=generator) / 3
        joints = joints + torch.randn(shape, generator=generator).cumsum(2) / 50
        joints[::2, ..., 1:] = 0
        yield joints


def check(runner: Runner, ensemble: Ensemble, batches: Sequence[Tensor], output: Path) -> Checked:
    """Compare an exported file with our own networks.

    Args:
        runner: computes the file.
        ensemble: the networks, computed as for a prediction, in float32.
        batches: joints, (N, C, T, V, M) each.
        output: the file's name.

    Raises:
        ValueError: if a score, or a logit, is another by more than `TOLERANCE`, or a best class differs.
    """
    worst, worst_of_logits = 0.0, 0.0
    for joints, (scores, logits) in zip(batches, _own(ensemble, batches), strict=True):
        found = runner(joints.numpy())
        error = float(np.abs(found[0] - scores).max())
        of_logits = float(np.abs(found[1] - logits).max() / max(1.0, np.abs(logits).max()))
        differing = int((found[0].argmax(-1) != scores.argmax(-1)).sum())
        if not max(error, of_logits) <= TOLERANCE or differing:  # nor is what is no number
            raise ValueError(
                f"{output}: not written: of {len(joints)} recordings of {joints.shape[2]} frames, {differing} get "
                f"another best class than from our own networks; scores differ by {error:.1e}, logits by "
                f"{of_logits:.1e} of the largest, expected at most {TOLERANCE:g}"
            )
        worst, worst_of_logits = max(worst, error), max(worst_of_logits, of_logits)
    shapes = {(len(joints), joints.shape[2]) for joints in batches}
    return Checked(sum(map(len, batches)), len(shapes), worst, worst_of_logits)


def _own(ensemble: Ensemble, batches: Sequence[Tensor]) -> Iterator[tuple[Array, Array]]:
    """Yield each batch's scores, (N, classes), and logits, (N, heads, classes), as a prediction computes them."""
    scores: list[Array] = []
    logits: list[Array] = []
    for network in ensemble.networks:
        settings = _scoring(network)
        modality = MODALITIES[settings.modality]
        with precision("fp32"):
            heads = infer(network.model, [modality(joints, ensemble.layout) for joints in batches])
        scores.append(fuse_heads(heads, settings.fusion_weight)["fusion"]["softmax"])
        logits += heads.values()
    ends = np.cumsum([len(joints) for joints in batches])[:-1]
    yield from zip(
        np.split(np.mean(scores, 0), ends), np.split(np.stack(logits, 1), ends), strict=True
    )


def _export_weights(ensemble: Ensemble, output: Path, about: Settings) -> str:
    """Write one network's weights, and a model card beside them."""
    if len(ensemble.networks) > 1:
        raise ValueError(
            f"{output}: expected one checkpoint, found {len(ensemble.networks)}; a file of safetensors holds one "
            "network's weights; the chain of several is an .onnx or .pt2"
        )
    (network,) = ensemble.networks
    weights, card = network.model.state_dict(), output.with_suffix(".md")
    with replacing(output) as temporary:
        write_weights(weights, temporary, about)
        found = read_weights(temporary)
        if not all(torch.equal(found[name], weights[name]) for name in weights):
            raise ValueError(f"{output}: not written: read back, its tensors are others")
    write_text(card, model_card(network, output.name, about))
    return f"{output}: {len(weights)} tensors, read back the same; {card}: its model card"


def model_card(network: Network, name: str, about: Settings) -> str:
    """Return the card of exported weights, as Markdown with the front matter of model hubs."""
    facts, layout, training = about["networks"][0], about["layout"], network.content["training"]
    known = ("epochs", "final_loss", "device", "git")
    rows = {
        "made from": f"`{facts['file']}`, SHA-256 `{facts['sha256']}`",
        "digest of its weights": f"`{facts['digest']}`",
        "modality": facts["modality"],
        "skeleton": f"{layout['name']}: {len(layout['joints'])} joints, at most {about['max_bodies']} bodies",
        "recordings": f"prepared with `{json.dumps(about['preparation'])}`, shown with `{json.dumps(about['input'])}`",
        "training": ", ".join(f"{key} {training[key]}" for key in known if key in training),
        "classes": ", ".join(about["class_names"]) or str(network.content["num_classes"]),
    }
    table = "\n".join(f"| {key} | {value or 'not known'} |" for key, value in rows.items())
    model = {"dualhead": "DualHead-Net", "ms_g3d": "MS-G3D"}[facts["model"]["name"]]
    return CARD.format(name=name, model=model, table=table, classes=network.content["num_classes"])


CARD: Final = """\
---
library_name: dualhead
tags: [skeleton-based-action-recognition]
---
# {name}

{model}, the weights of its last epoch. They say nothing of recordings that were prepared otherwise, and no accuracy is
claimed here: `dualhead evaluate` and `dualhead predict --metrics` measure it.

| | |
|---|---|
{table}

```python
import json
from safetensors import safe_open
from dualhead.layout import SkeletonLayout
from dualhead.models.checkpoint import build

with safe_open("{name}", "pt") as file:
    about = {{key: json.loads(value) for key, value in file.metadata().items()}}
    weights = {{key: file.get_tensor(key) for key in file.keys()}}
layout = SkeletonLayout.from_mapping(about["layout"])
network = build(about["networks"][0]["model"], layout, {classes}, about["max_bodies"]).eval()
network.load_state_dict(weights)
```
"""
