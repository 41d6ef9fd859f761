"""Raw files: found and read in folders and archives alike; what is cut short or leaves its folder is refused."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from dualhead.data.archives import list_files, read_entry, read_file, unpack, zip_entries

FILES = {"one/a.txt": b"first" * 1000, "one/b.txt": b"second", "one/two/c.txt": os.urandom(5000)}
OTHERS = {"one/d.json": b"{}", "__MACOSX/one/._a.txt": b"not ours"}


def make_folder(path):
    for name, content in (FILES | OTHERS).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def make_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        for number, (name, content) in enumerate((FILES | OTHERS).items()):
            method = zipfile.ZIP_STORED if number % 2 else zipfile.ZIP_DEFLATED
            file.writestr(name, content, compress_type=method)
    return path


def make_tar(path):
    with tarfile.open(path, "w:gz") as file:
        for name, content in (FILES | OTHERS).items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            file.addfile(item, io.BytesIO(content))
    return path


@pytest.fixture(params=["folder", "zip", "tar"])
def raw(request, tmp_path):
    if request.param == "folder":
        return make_folder(tmp_path / "raw")
    return make_zip(tmp_path / "r.zip") if request.param == "zip" else make_tar(tmp_path / "r.tgz")


def test_files_are_found_wherever_they_lie(raw):
    found = list_files(raw, ".txt")
    assert [file.path.stem for file in found] == ["a", "b", "c"]
    assert [file.path.parent.name for file in found] == ["one", "one", "two"]
    assert [len(content) for content in FILES.values()] == [file.size for file in found]


def test_files_are_read_wherever_they_lie(raw):
    assert list(FILES.values()) == [read_file(file) for file in list_files(raw, ".txt")]


def test_a_zip_is_read_member_by_member_without_its_directory(tmp_path):
    path = make_zip(tmp_path / "raw.zip")
    entries = zip_entries(path)
    with path.open("rb") as archive:
        for name in reversed(FILES):
            assert FILES[name] == read_entry(archive, entries[name])


def test_a_damaged_member_is_refused(tmp_path):
    path = make_zip(tmp_path / "raw.zip")
    content = path.read_bytes()
    for name, place in (("one/a.txt", 0), ("one/b.txt", content.index(b"second"))):
        entry = zip_entries(path)[name]
        damaged = bytearray(content)
        at = place or entry.offset + 30 + len(name) + 8
        damaged[at] ^= 255
        with pytest.raises(ValueError, match="damaged in its archive"):
            read_entry(io.BytesIO(damaged), entry)
    with pytest.raises(ValueError, match="expected a zip member"):
        read_entry(io.BytesIO(content[10:]), entry)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_that_was_cut_short_is_refused(tmp_path, make):
    path = make(tmp_path / ("raw.zip" if make is make_zip else "raw.tar.gz"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"raw\.\S+: expected a whole archive, found .* bytes"):
        list_files(path, ".txt")


def test_a_path_with_nothing_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        list_files(tmp_path / "raw.zip", ".txt")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_is_unpacked_to_the_same_files(tmp_path, make):
    path = make(tmp_path / ("raw.zip" if make is make_zip else "raw.tar.gz"))
    unpack(path, tmp_path / "folder")
    for name, content in (FILES | OTHERS).items():
        assert content == (tmp_path / "folder" / name).read_bytes()


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "one/../../outside.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path, name, kind):
    path = tmp_path / f"raw.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, "x")
    else:
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match="would lie outside the folder"):
        unpack(path, tmp_path / "deep" / "folder")
    if kind == "zip":
        with pytest.raises(ValueError, match=r"would lie outside the folder.*Pack it anew"):
            list_files(path)
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as file:
        for content in ("one", "other"):
            file.writestr("a.skeleton", content)
    with pytest.raises(ValueError, match=r"its member a\.skeleton is there twice"):
        list_files(tmp_path / "raw.zip", ".skeleton")


def test_a_name_that_is_no_text_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.npy")).touch()
    with pytest.raises(
        ValueError, match=r"a.udcff\.npy': expected a name in UTF-8, found other bytes"
    ):
        list_files(tmp_path, ".npy")


def test_a_link_in_an_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "raw.tar", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ValueError, match="'link' is a link"):
        unpack(tmp_path / "raw.tar", tmp_path / "folder")
