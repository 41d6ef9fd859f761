"""Edits of results that keep their digests true, as somebody who knows the format could make them."""

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from dualhead.data.records import seal_store
from dualhead.files import SEAL, digest_of, write_record, write_sealed


@contextmanager
def sealed_again(path: Path) -> Iterator[h5py.File]:
    """Open a score file for changes; seal it and restate it in the record beside it afterwards."""
    with h5py.File(path, "r+") as file:
        yield file
    write_sealed(path, path.read_bytes().partition(SEAL)[0])
    if (path.parent / "metrics.json").exists():
        edit_record(path.parent / "metrics.json", lambda record: None)


@contextmanager
def edited_store(path: Path) -> Iterator[h5py.File]:
    """Open a store for changes; state the checksums of its rows and its seal anew afterwards."""
    with h5py.File(path, "r+") as file:
        yield file
        if "checksums" in file:
            file["checksums"][:] = _checksums(file)
    seal_store(path)


def _checksums(file: h5py.File) -> list[int]:
    """Return the CRC-32 of each sample's rows, one body after the other."""
    first, rows = file["sample_start"][:], file["joints"]
    starts, lengths = file["body/start"][:], file["body/length"][:]
    found = np.zeros(len(first) - 1, np.uint32)
    for sample, (begin, end) in enumerate(pairwise(first)):
        bodies = zip(starts[begin:end], lengths[begin:end], strict=True)
        content = b"".join(rows[start : start + length].tobytes() for start, length in bodies)
        found[sample] = zlib.crc32(content)
    return found.tolist()


def make_older(path: Path) -> None:
    """Turn a store into one of the first version, without skeleton, checksums and seal."""
    with h5py.File(path, "r+") as file:
        del file["checksums"]
        del file.attrs["skeleton"]


def edit_record(path: Path, change: Callable[[dict], object]) -> None:
    """Change a record's content in place; state its digest and those of the files beside it anew."""
    record = json.loads(path.read_text())
    change(record)
    del record["format"], record["digest"]
    beside = {name: path.parent / name for name in record.pop("files")}
    files = {name: digest_of(file) for name, file in beside.items() if file.exists()}
    write_record(path, record, files)
