"""Raw files: found and read in folders and archives alike; what is fetched is checked first."""

import io
import os
import socket
import tarfile
import urllib.error
import zipfile

import pytest

from dualhead.data import download
from dualhead.data.download import (
    MISSING_LIST,
    MISSING_SHA256,
    list_files,
    missing_samples,
    names_sha256,
    read_entry,
    read_file,
    unpack,
    zip_entries,
)

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
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_link_in_an_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "raw.tar", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ValueError, match="'link' is a link"):
        unpack(tmp_path / "raw.tar", tmp_path / "folder")


LISTED = (
    '535 of the captured samples in the "NTU RGB+D 120" dataset\r\n'
    "have missing data: S001C001P001R001A001 is not in this list.\r\n\r\n"
    "S001C002P005R002A008\r\n  S032C003P067R002A077.skeleton \n"
)


@pytest.mark.parametrize("where", ["inside", "beside a folder", "beside an archive"])
def test_the_missing_list_is_found_with_the_raw_data(tmp_path, where):
    raw = tmp_path / "data" / "recordings"
    raw.mkdir(parents=True)
    (raw / "archive.zip").touch()
    (raw if where != "beside a folder" else raw.parent).joinpath(MISSING_LIST).write_text(LISTED)
    path = raw / "archive.zip" if where == "beside an archive" else raw
    assert missing_samples([path]) == {"S001C002P005R002A008", "S032C003P067R002A077"}


def test_a_missing_list_without_names_is_refused(tmp_path):
    (tmp_path / MISSING_LIST).write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=f"{MISSING_LIST}: expected names such as"):
        missing_samples([tmp_path])


def serve(monkeypatch, content):
    """Answer every request with `content`, or by raising it."""

    def urlopen(url, timeout):
        assert url == download.MISSING_URL and timeout > 0
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)


def test_without_a_network_one_line_says_where_to_put_the_list(tmp_path, monkeypatch):
    serve(monkeypatch, urllib.error.URLError("no route"))
    with pytest.raises(ValueError, match="could not be fetched") as error:
        missing_samples([tmp_path / "archive.zip"])
    text = str(error.value)
    assert text.endswith(
        f"Download {download.MISSING_URL} and put it at {tmp_path / MISSING_LIST}."
    )
    assert "\n" not in text


def test_a_fetched_list_that_is_not_the_published_one_is_not_kept(tmp_path, monkeypatch):
    serve(monkeypatch, LISTED.encode())
    with pytest.raises(ValueError, match="expected the 535 published names, fetched 2 others"):
        missing_samples([tmp_path / "archive.zip"])
    assert not list(tmp_path.iterdir())


def test_a_good_list_is_fetched_once_and_kept(tmp_path, monkeypatch):
    names = frozenset({"S001C002P005R002A008", "S032C003P067R002A077"})
    monkeypatch.setattr(download, "MISSING_SHA256", names_sha256(names))
    serve(monkeypatch, LISTED.encode())
    assert names == missing_samples([tmp_path / "archive.zip"])
    serve(monkeypatch, AssertionError("asked again"))
    assert names == missing_samples([tmp_path / "archive.zip"])
    assert LISTED.encode() == (tmp_path / MISSING_LIST).read_bytes()


def test_the_pinned_checksum_is_that_of_the_published_names(shared, tmp_path):
    listed = (shared / "data" / "ntu_missing_samples.txt").read_text()
    (tmp_path / MISSING_LIST).write_text(LISTED.splitlines()[0] + "\n\n" + listed)
    names = missing_samples([tmp_path])
    assert (len(names), names_sha256(names)) == (535, MISSING_SHA256)
    assert sum(name < "S018" for name in names) == 302


@pytest.mark.network
def test_the_published_list_can_be_fetched(tmp_path):
    try:
        socket.create_connection(("raw.githubusercontent.com", 443), timeout=5).close()
    except OSError as error:
        pytest.skip(f"no network: {error}")
    assert len(missing_samples([tmp_path / "archive.zip"])) == 535


@pytest.mark.parametrize("kind", download.WHERE)
def test_each_dataset_says_what_to_download(kind, tmp_path, monkeypatch):
    (tmp_path / MISSING_LIST).write_text(LISTED)
    text = download.download(kind, tmp_path)
    assert "download" in text or ("GB" in text and "Put it at data/raw/" in text) or "MB" in text
