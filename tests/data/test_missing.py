"""NTU's list of missing recordings: held by the package, or one beside the data, which is checked."""

import hashlib

import pytest

from dualhead.data.datasets import DATASETS
from dualhead.data.datasets.missing import find_missing_list, published_names
from tests.builders.skeletons import skeleton_file

SETUPS_60, SETUPS_120 = range(1, 18), range(1, 33)
LISTED = (
    '535 of the captured samples in the "NTU RGB+D 120" dataset\r\n'
    "have missing data: S001C001P001R001A001 is not in this list.\r\n\r\n"
    "S001C002P005R002A008\r\n  S032C003P067R002A077.skeleton \n"
)
PUBLISHED_SHA256 = "f8abc124c4fc4b4e8f144caa34948f8307e5d7dcba17acf96132c9f311ff93cf"
"""Of the names in NTU's repository, sorted, one a line."""


def test_the_package_holds_the_published_names():
    text = "".join(f"{name}\n" for name in sorted(published_names()))
    assert hashlib.sha256(text.encode()).hexdigest() == PUBLISHED_SHA256
    assert len(published_names()) == 535
    assert sum(name < "S018" for name in published_names()) == 302


@pytest.mark.parametrize(("kind", "count"), [("ntu60", 302), ("ntu120", 535)])
def test_without_a_list_the_published_recordings_are_left_out(tmp_path, kind, count):
    for name in [*published_names(), "S001C001P001R001A001"]:
        (tmp_path / f"{name}.skeleton").write_bytes(skeleton_file([]))
    samples, dropped = DATASETS[kind].list_samples([tmp_path])
    assert [sample.name for sample in samples] == ["S001C001P001R001A001"]
    assert len(dropped) == count
    told = {(row.reason, row.detail) for row in dropped}
    assert told == {("missing_skeletons", "in the list that NTU publishes")}


NAMES = (  # as NTU, MS-G3D, ST-GCN and ActFormer call it
    "NTU_RGBD120_samples_with_missing_skeletons.txt",
    "NTU_RGBD_samples_with_missing_skeletons.txt",
    "samples_with_missing_skeletons.txt",
    "ntu_rgb120_missings.txt",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["inside", "beside a folder", "beside an archive"])
def test_a_list_with_the_raw_data_goes_before_the_published_one(tmp_path, where, name):
    raw = tmp_path / "data" / "recordings"
    raw.mkdir(parents=True)
    (raw / "archive.zip").touch()
    (raw / "classes.txt").write_text("missing: nobody")
    path = (raw if where != "beside a folder" else raw.parent) / name
    path.write_text(LISTED)
    found = find_missing_list([raw / "archive.zip" if "archive" in where else raw], SETUPS_120)
    assert found.names == {"S001C002P005R002A008", "S032C003P067R002A077"}
    assert found.source == str(path)


@pytest.mark.parametrize("text", ["<html>404: not found</html>", ""])
def test_a_list_without_names_is_refused(tmp_path, text):
    (tmp_path / NAMES[0]).write_text(text)
    with pytest.raises(
        ValueError, match=rf"{NAMES[0]}: .* found none\. .*knows the published list"
    ):
        find_missing_list([tmp_path], SETUPS_60)


def test_the_list_of_ntu_60_is_no_list_of_ntu_120(tmp_path):
    (tmp_path / NAMES[2]).write_text("S001C002P005R002A008\nS017C003P020R002A060\n")
    assert len(find_missing_list([tmp_path], SETUPS_60).names) == 2
    with pytest.raises(ValueError, match=r"found 2 names of setups up to 17, as in NTU RGB.D 60's"):
        find_missing_list([tmp_path], SETUPS_120)


def test_the_list_of_ntu_120_serves_ntu_60(tmp_path):
    (tmp_path / NAMES[0]).write_text(LISTED)
    assert "S001C002P005R002A008" in find_missing_list([tmp_path], SETUPS_60).names
