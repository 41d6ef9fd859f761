"""Warnings about the data on the report's first page."""

from dualhead.report.pdf.passport import _dropped, warnings


def passport(source="", copied=""):
    copies = {"xsub": copied} if copied else {}
    return {"title": "NTU RGB+D 60", "address": "ntu60-1", "source": source, "copies": copies}


def test_the_first_page_says_that_others_prepared_the_data():
    source = "PYSKL's selection of bodies, half precision"
    [warned] = warnings([passport(source)], {("ntu60-1", "xsub")})
    assert warned["title"] == "The data was prepared by others."
    assert warned["text"].startswith(f"NTU RGB+D 60: {source}.")


def test_data_that_no_benchmark_uses_and_raw_recordings_warn_of_nothing():
    assert warnings([passport("others")], {("ntu60-2", "xsub")}) == []
    assert warnings([passport()], {("ntu60-1", "xsub")}) == []


def test_both_warnings_may_stand_together():
    found = warnings([passport("others", "3 copies")], {("ntu60-1", "xsub")})
    assert [one["title"].split()[0] for one in found] == ["The", "Test"]


def test_a_recording_that_is_kept_and_noted_is_not_left_out(tmp_path):
    path = tmp_path / "s.dropped.csv"
    rows = [
        "name,body,reason,detail",
        "a,,unreadable,cut",
        "b,72,short,3 frames",
        "c,all,extent,1602 m",
    ]
    path.write_text("\n".join(rows) + "\n")
    counts = {row[0]: row[1:4] for row in _dropped(path)["rows"]}
    assert counts == {
        "unreadable": ["1", "0", "0"],
        "short": ["0", "1", "0"],
        "extent": ["0", "0", "1"],
    }
