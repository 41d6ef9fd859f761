"""Edits of results that keep their digests true, as somebody who knows the format could make them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dualhead.files import SEAL, digest_of, write_record, write_sealed


@contextmanager
def sealed_again(path: Path) -> Iterator[h5py.File]:
    """Open a score file for changes; seal it and restate it in the record beside it afterwards."""
    with h5py.File(path, "r+") as file:
        yield file
    write_sealed(path, path.read_bytes().partition(SEAL)[0])
    if (path.parent / "metrics.json").exists():
        edit_record(path.parent / "metrics.json", lambda record: None)


def edit_record(path: Path, change: Callable[[dict], object]) -> None:
    """Change a record's content in place; state its digest and those of the files beside it anew."""
    record = json.loads(path.read_text())
    change(record)
    del record["format"], record["digest"]
    beside = {name: path.parent / name for name in record.pop("files")}
    files = {name: digest_of(file) for name, file in beside.items() if file.exists()}
    write_record(path, record, files)
