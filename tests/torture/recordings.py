"""Damaged recordings, for each reader of a dataset and each form, and damaged archives of them."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from dualhead.data.dataset import Prepared, RawSample
from dualhead.data.datasets import DATASETS
from dualhead.data.forms import FORMS, tell
from dualhead.data.forms.base import content_of
from dualhead.data.prepare import prepare
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.settings import checks
from tests.builders import nw_ucla, prepared_arrays
from tests.builders.forms import EXAMPLES
from tests.builders.mutations import mutate_values
from tests.torture.verdicts import Attempt, Outcome, Target, Verdict, damage, refusal, same

VALUES_TOO = 3  # of so many cases of JSON, one has changed values in place of damaged bytes
NAMES = {"ntu60": "S001C001P001R001A001", "kinetics": "clip", "nw_ucla": "a01_s01_e00_v01"}
FORM_OF = {"ntu60": "ntu"}


def damaged_recording(content: bytes, seed: int) -> bytes:
    """Return damaged bytes of a recording, or one whose values are others."""
    if content[:1] in b"{[" and seed % VALUES_TOO == 0:
        document = json.loads(content.splitlines()[0])
        changed = mutate_values({"all": document}, random.Random(seed))
        return json.dumps(next(iter(changed.values()), None)).encode()
    return damage(content, seed)


def dataset_reader(kind: str, folder: Path) -> Attempt:
    """Prepare one recording of a dataset, as the workers of `dualhead prepare` do."""
    dataset, name = DATASETS[kind], NAMES[kind]
    content = EXAMPLES[FORM_OF.get(kind, kind)]
    settings = checks.defaults()["prepare"] | dict(dataset.prepare)
    sample = RawSample(name, 0, {}, folder / name, None, len(content))
    plain = dataset.prepare_sample(content, sample, settings)

    def attempt(seed: int) -> Verdict:
        try:
            found = dataset.prepare_sample(damaged_recording(content, seed), sample, settings)
        except ValueError as error:
            return refusal(error, name)
        return _sound(found, plain)

    return attempt


def _sound(found: Prepared, plain: Prepared) -> Verdict:
    """Judge a recording that was accepted: no text tells a digit from another, but it must be one."""
    if same(list(found.bodies), list(plain.bodies)) and found.num_frames == plain.num_frames:
        return Verdict(Outcome.SAME)
    for body in found.bodies:
        if not np.isfinite(body).all() or (
            len(body) and body.shape[1:] != plain.bodies[0].shape[1:]
        ):
            return Verdict(Outcome.ACCEPTED, f"a body of shape {body.shape}, or not finite")
    return Verdict(Outcome.OTHER)


def form_reader(name: str, folder: Path) -> Attempt:
    """Tell the form of a file and read it."""
    return content_reader(name, EXAMPLES[name])


def content_reader(name: str, content: bytes) -> Attempt:
    """Tell the form of a file of some content, and read it."""
    plain = tell(content_of(content, name))
    assert plain is FORMS[name], f"{plain.name} in place of {name}"
    expected = plain.read(content_of(content, name))

    def attempt(seed: int) -> Verdict:
        named = f"recording-{seed}"
        try:
            told = content_of(damaged_recording(content, seed), named)
            found = tell(told).read(told)
        except ValueError as error:
            return refusal(error, named)
        if same(found.joints, expected.joints):
            return Verdict(Outcome.SAME)
        if found.joints.ndim != 4 or not np.isfinite(found.joints).all():
            return Verdict(Outcome.ACCEPTED, f"joints of {found.joints.shape}, or not finite")
        return Verdict(Outcome.OTHER)

    return attempt


def archive_reader(pack: Callable[[Path], Path], folder: Path) -> Attempt:
    """Prepare a damaged archive of NW-UCLA: its checksums let no recording be another."""
    archive = pack(nw_ucla.write_raw(folder / "all_sqe"))
    content = archive.read_bytes()
    nw_ucla.prepare_part(archive, folder)
    plain = _bodies(folder / "store.h5")

    def attempt(seed: int) -> Verdict:
        path = folder / f"{os.getpid()}-{seed}-{archive.name}"
        path.write_bytes(damage(content, seed))
        try:
            nw_ucla.prepare_part(path, folder, output=folder / "damaged.h5")
            found = _bodies(folder / "damaged.h5")
        except ValueError as error:
            return refusal(error, "damaged.h5" if "damaged.h5" in str(error) else path.name)
        finally:
            path.unlink()
        others = [name for name in found if not same(found[name], plain.get(name, found[name]))]
        if others:
            return Verdict(Outcome.ACCEPTED, f"{others[0]} holds other joints")
        return Verdict(Outcome.SAME if found.keys() == plain.keys() else Outcome.REFUSED, "told")

    return attempt


def _bodies(path: Path) -> dict[str, list[np.ndarray]]:
    with Store(path) as store:
        return {
            name: [np.array(it) for it in store.bodies(at)] for at, name in enumerate(store.names)
        }


def _someone() -> dict[str, np.ndarray]:
    """Return the bodies of three recordings by name."""
    rng = np.random.default_rng(3)
    names = ("S001C001P001R001A001", "S001C002P003R001A002", "S017C003P040R002A060")
    return {name: prepared_arrays.someone(rng, 5 + at) for at, name in enumerate(names)}


def _pyskl(folder: Path) -> Path:
    return prepared_arrays.pyskl(folder / "arrays.pkl", _someone())


def _ctr_gcn(folder: Path, *, compressed: bool) -> Path:
    entries = [(joints, int(name[-3:]) - 1) for name, joints in _someone().items()]
    parts = {"train": entries[:2], "test": entries[2:]}
    return prepared_arrays.ctr_gcn(folder / "NTU60_CS.npz", parts, compressed=compressed)


def _agcn(folder: Path) -> Path:
    arrays = {}
    for name, joints in _someone().items():
        padded = np.zeros((3, 300, 25, 2), np.float32)
        padded[..., 0] = joints[0][np.arange(300) % len(joints[0])].transpose(2, 0, 1)
        arrays[name] = padded
    return prepared_arrays.agcn(folder / "arrays", arrays)


def array_reader(write: Callable[[Path], Path], folder: Path, *, tells: bool) -> Attempt:
    """Prepare damaged arrays that others prepared.

    Args:
        write: writes them below a folder; returns what is given to `--raw`.
        folder: for them and their stores.
        tells: whether the form has checksums: then no recording may be another.
    """
    raw = write(folder)
    files = sorted(path for path in (raw.rglob("*") if raw.is_dir() else [raw]) if path.is_file())
    contents = {path: path.read_bytes() for path in files}
    plain = _prepared_arrays(raw, folder / "store.h5")

    def attempt(seed: int) -> Verdict:
        path = random.Random(seed).choice(files)
        path.write_bytes(damage(contents[path], seed))
        try:
            found = _prepared_arrays(raw, folder / "damaged.h5")
        except ValueError as error:
            return refusal(error, "damaged.h5" if "damaged.h5" in str(error) else raw.name)
        finally:
            path.write_bytes(contents[path])
        if same(found, plain):
            return Verdict(Outcome.SAME)
        if not all(np.isfinite(body).all() for bodies in found.values() for body in bodies):
            return Verdict(Outcome.ACCEPTED, "joints that are not finite")
        others = [name for name in found if name in plain and not same(found[name], plain[name])]
        if others or found.keys() - plain.keys():
            return Verdict(Outcome.ACCEPTED if tells else Outcome.OTHER, f"{others} are others")
        return Verdict(Outcome.REFUSED, "told in the CSV of drops")

    return attempt


def _prepared_arrays(raw: Path, output: Path) -> dict[str, list[np.ndarray]]:
    """Prepare arrays as a part of NTU RGB+D; return the bodies of each recording."""
    settings = checks.defaults()["prepare"] | dict(DATASETS["ntu60"].prepare)
    prepare(
        "ntu60",
        [raw],
        output,
        settings=settings,
        partial=True,
        dropped=output.with_suffix(".csv"),
        reuse=None,
        workers=1,
    )
    return _bodies(output)


def c3d_reader(folder: Path) -> Attempt:
    """Read a file of motion capture by the package ezc3d, which is written in C++."""
    import ezc3d

    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [50]
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["parameters"]["POINT"]["LABELS"]["value"] = list(LAYOUTS["kinect20"].joints)
    file["data"]["points"] = np.random.default_rng(2).normal(0, 300, (4, 20, 4))
    with tempfile.TemporaryDirectory() as place:
        file.write(f"{place}/walk.c3d")
        content = Path(place, "walk.c3d").read_bytes()
    return content_reader("c3d", content)


ARRAYS: dict[str, Target] = {
    "arrays: pickle of PYSKL": partial(array_reader, _pyskl, tells=False),
    "arrays: npz of CTR-GCN": partial(
        array_reader, partial(_ctr_gcn, compressed=False), tells=True
    ),
    "arrays: compressed npz": partial(array_reader, partial(_ctr_gcn, compressed=True), tells=True),
    "arrays: folder of 2s-AGCN": partial(array_reader, _agcn, tells=False),
}
C3D: dict[str, Target] = {"form c3d": c3d_reader} if importlib.util.find_spec("ezc3d") else {}
TARGETS: dict[str, Target] = {
    **{f"recordings of {kind}": partial(dataset_reader, kind) for kind in NAMES},
    **{f"form {name}": partial(form_reader, name) for name in EXAMPLES},
    "zip of recordings": partial(archive_reader, nw_ucla.zipped),
    "tar of recordings": partial(archive_reader, nw_ucla.tarred),
    **ARRAYS,
    **C3D,
}
