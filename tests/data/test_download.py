"""Downloads: the published list of missing recordings is checked before it is kept."""

import io
import socket
import urllib.error

import pytest

from dualhead.data import download
from dualhead.data.download import MISSING_LIST, MISSING_SHA256, missing_samples, names_sha256

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
