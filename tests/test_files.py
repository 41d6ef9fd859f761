import csv
import json
import os
import resource
import zlib
from contextlib import contextmanager
from hashlib import sha256

import pytest

from dualhead.files import (
    SEAL_LENGTH,
    check_beside,
    check_seal,
    crc32,
    digest_of,
    read_record,
    replacing,
    write_csv,
    write_json,
    write_record,
    write_sealed,
    write_text,
)


def test_a_block_that_succeeds_leaves_the_file_alone_in_its_folder(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "found"), [("folder", "a folder"), ("pipe", "a device")])
def test_no_file_is_put_in_place_of_a_folder_or_a_device(tmp_path, name, found):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=f"expected the name of a file to write, found {found}"):
        write_text(tmp_path / name, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_json_csv_and_text_are_read_as_they_were_written(tmp_path):
    write_json(tmp_path / "a.json", {"top1": 88.5, "epoch": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"top1": 88.5, "epoch": None}
    write_csv(tmp_path / "a.csv", ("name", "said"), [("a", 'x, "y"'), ("b", 0.1)])
    with (tmp_path / "a.csv").open(newline="") as text:
        assert list(csv.reader(text)) == [["name", "said"], ["a", 'x, "y"'], ["b", "0.1"]]
    write_text(tmp_path / "a.txt", "line\n\n")
    assert (tmp_path / "a.txt").read_text() == "line\n"


def test_json_refuses_what_is_not_finite(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"top1": float("nan")})
    assert not list(tmp_path.iterdir())


@contextmanager
def full_disk(size=1000):
    """Let no file grow beyond a size, as on a disk that is full there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_names_the_file_and_leaves_nothing_half(tmp_path):
    path = tmp_path / "weights.pt"
    write_sealed(path, b"before")
    with full_disk(), pytest.raises(OSError, match="too large") as error:
        write_sealed(path, bytes(5000))
    assert error.value.filename == str(path)
    assert [path] == list(tmp_path.iterdir())
    assert check_seal(path, "")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    absent = tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "file.txt"):
        absent.read_text()
    assert error.value.filename == str(absent)


def test_a_seal_is_the_digest_of_the_bytes_before_it(tmp_path):
    path = tmp_path / "scores.h5"
    write_sealed(path, b"content")
    assert path.read_bytes()[:-SEAL_LENGTH] == b"content"
    assert path.read_bytes()[:-1].endswith(sha256(b"content").hexdigest().encode())
    assert check_seal(path, "")
    assert digest_of(path) == sha256(b"content").hexdigest()


@pytest.mark.parametrize(
    "change", [lambda c: b"C" + c[1:], lambda c: c[:-2] + b"x\n", lambda c: c + c]
)
def test_a_broken_seal_is_refused_with_the_remedy(tmp_path, change):
    path = tmp_path / "scores.h5"
    write_sealed(path, b"content")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(
        ValueError, match=r"scores\.h5: damaged: expected .* found .*; make it anew"
    ):
        check_seal(path, "make it anew")


@pytest.mark.parametrize("content", [b"", b"without a seal", bytes(500)])
def test_a_file_without_a_seal_is_told_from_a_damaged_one(tmp_path, content):
    path = tmp_path / "old.h5"
    path.write_bytes(content)
    assert not check_seal(path, "")
    assert digest_of(path) == sha256(content).hexdigest()


def test_a_record_is_read_as_it_was_written_however_it_is_laid_out(tmp_path):
    path = tmp_path / "metrics.json"
    write_record(path, {"top1": 88.5, "shape": (1, 2), 3: None}, {})
    expected = {"format": 2, "top1": 88.5, "shape": [1, 2], "3": None, "files": {}}
    assert expected == read_record(path, "")
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert expected == read_record(path, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [("88.5", "89.5"), ('"format"', '"formal"'), ('"digest"', '"digits"'), ("2", "1"), ("}", "")],
)
def test_a_record_that_was_changed_is_refused(tmp_path, old, new):
    path = tmp_path / "metrics.json"
    write_record(path, {"top1": 88.5}, {})
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=r"metrics\.json: damaged.* found .*; make it anew"):
        read_record(path, "make it anew")


def test_a_record_of_the_first_format_is_taken_as_it_is(tmp_path):
    write_json(tmp_path / "metrics.json", {"top1": 88.5})
    assert read_record(tmp_path / "metrics.json", "") == {"top1": 88.5}


def test_a_file_that_its_record_does_not_name_is_refused(tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("a,b\n")
    record = {"files": {"classes.csv": digest_of(table)}}
    check_beside(table, record, "")
    check_beside(table, {}, "")
    table.write_text("a,c\n")
    with pytest.raises(
        ValueError, match=r"classes\.csv: damaged, edited or another run's.*; make it"
    ):
        check_beside(table, record, "make it anew")


def test_the_fast_checksum_is_zlibs():
    content = bytes(range(256)) * 5
    assert zlib.crc32(content) == crc32(content)
    assert zlib.crc32(content) == crc32(content[700:], crc32(content[:700]))
