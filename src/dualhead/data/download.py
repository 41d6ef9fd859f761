"""Downloads: what may be fetched of a dataset, and where to get the rest."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from dualhead.files import replacing

MISSING_LIST = "NTU_RGBD120_samples_with_missing_skeletons.txt"
MISSING_URL = (
    "https://raw.githubusercontent.com/shahroudy/NTURGB-D/"
    f"36fdf83152d9557fd8de0668ecf5b06097def75e/Matlab/{MISSING_LIST}"
)

MISSING_COUNT = 535  # the first 302 in order of setup are NTU RGB+D 60's

MISSING_SHA256 = "f8abc124c4fc4b4e8f144caa34948f8307e5d7dcba17acf96132c9f311ff93cf"
"""Of the sorted names, one a line: the same whatever header the list has."""

WHERE: Mapping[str, str] = {
    "ntu60": (
        "NTU RGB+D 60: nturgbd_skeletons_s001_to_s017.zip (5.8 GB), on request from the ROSE Lab "
        "of NTU Singapore, https://rose1.ntu.edu.sg/dataset/actionRecognition. Put it at "
        "data/raw/nturgbd_skeletons_s001_to_s017.zip; it need not be unpacked."
    ),
    "ntu120": (
        "NTU RGB+D 120: nturgbd_skeletons_s018_to_s032.zip (4.5 GB) beside NTU RGB+D 60's archive, "
        "on request from the ROSE Lab of NTU Singapore, "
        "https://rose1.ntu.edu.sg/dataset/actionRecognition. Put it at "
        "data/raw/nturgbd_skeletons_s018_to_s032.zip; it need not be unpacked."
    ),
    "kinetics": (
        "Kinetics-Skeleton: kinetics-skeleton.zip (7.5 GB), from the Google Drive of ST-GCN that "
        "https://github.com/yysijie/st-gcn links to. Put it at data/raw/kinetics-skeleton.zip; "
        "it need not be unpacked."
    ),
    "nw_ucla": (
        "NW-UCLA: all_sqe.zip (its 1,484 JSON files take 40 MB), public, linked from the README of "
        "https://github.com/Uason-Chen/CTR-GCN. Put it at data/raw/nw_ucla.zip (or nw_ucla.tar.gz, "
        "or the folder all_sqe); it need not be unpacked."
    ),
    "synthetic": "synthetic: nothing to download; `dualhead synthesize` writes it.",
}
"""What to download for a dataset, from whom, how large, and where to put it."""

FETCH_SECONDS = 30


def missing_samples(raw: Sequence[Path]) -> frozenset[str]:
    """Return the names of NTU RGB+D recordings whose skeletons are missing or incomplete.

    They are read from the published list in or beside the raw folders; without one, it is fetched.

    Raises:
        ValueError: if there is no list and it cannot be fetched, or it holds no name.
    """
    folders = [folder for path in raw for folder in (path, path.parent) if folder.is_dir()]
    lists = [folder / MISSING_LIST for folder in folders if (folder / MISSING_LIST).is_file()]
    if lists:
        names = _names_in(lists[0].read_text(encoding="utf-8", errors="replace"))
        if not names:
            raise ValueError(
                f"{lists[0]}: expected names such as S001C002P005R002A008, one a line; found none. "
                f"Put {MISSING_URL} there."
            )
        return names
    return _names_in(fetch_missing_list(raw[0].parent).decode())


def download(kind: str, folder: Path) -> str:
    """Fetch what may be fetched of a dataset into `folder`; return what is left to do.

    Raises:
        ValueError: if something cannot be fetched.
    """
    if not kind.startswith("ntu"):
        return WHERE[kind]
    if not (folder / MISSING_LIST).is_file():
        fetch_missing_list(folder)
    return f"{folder / MISSING_LIST} is there.\n{WHERE[kind]}"


def fetch_missing_list(folder: Path) -> bytes:
    """Fetch the list of recordings with missing skeletons into `folder`; return its content.

    Raises:
        ValueError: if it cannot be had, or is not the list that was published.
    """
    path = folder / MISSING_LIST
    remedy = f"Download {MISSING_URL} and put it at {path}."
    try:
        with urllib.request.urlopen(MISSING_URL, timeout=FETCH_SECONDS) as response:
            content: bytes = response.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ValueError(
            f"{path}: the list of NTU RGB+D recordings without skeletons is not there and could "
            f"not be fetched ({error}). {remedy}"
        ) from error
    names = _names_in(content.decode(errors="replace"))
    if names_sha256(names) != MISSING_SHA256:
        raise ValueError(
            f"{path}: expected the {MISSING_COUNT} published names, fetched {len(names)} others. "
            f"{remedy}"
        )
    _keep(path, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    """Write a checked download in place; raw data may lie where one may only read."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except PermissionError:
        return


def names_sha256(names: frozenset[str]) -> str:
    """Return the checksum of sorted names, one a line."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def _names_in(text: str) -> frozenset[str]:
    """Return the sample names of a list; other lines are its header."""
    pattern = r"^\s*(S\d{3}C\d{3}P\d{3}R\d{3}A\d{3})(?:\.skeleton)?\s*$"
    return frozenset(re.findall(pattern, text, re.MULTILINE))
