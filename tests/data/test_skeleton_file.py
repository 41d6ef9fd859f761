import codecs
import itertools

import numpy as np
import pytest

from dualhead.data.dataset import OtherData
from dualhead.data.skeleton_file import read_skeleton
from tests.builders.skeletons import REST, one_body, skeleton_file

NUMBERS = (
    *("0", "-0", "7", "12", "-3.582", "0.2181153", "-0.2059419", "0.05745083", "0.002345678"),
    *("-0.0001234567", "123.4567", "1036.233", "12345678.9", "0.123456789012345", "5.", ".5"),
    *("-.25", "1.234567E-05", "-9.9e3", "1e400", "nan", "-NaN", "inf", "+1.5", "1234567", "00.5"),
    *("0.12345678901234567890", "123456789012.5", "99999999", "9007199254740993", "1.7976e308"),
)


def read_numbers(text: str) -> np.ndarray:
    """Read a file of one frame in which each line has these three fields; more lines follow."""
    lines = [f"{text} {REST}"] * 2
    content = "\r\n".join(["1", "1", "7 0 1", "2", *lines, "", ""]).encode()
    return read_skeleton(content, "name", 2).joints[:, 0]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_read_as_python_reads_it(number):
    expected = np.full(2, float(number)).view(np.uint64)
    x, y, z = read_numbers(f"{number} {number} {number}")
    for found in (x, y, z):
        assert np.array_equal(found.view(np.uint64), expected)


def test_any_mix_of_numbers_is_read_as_python_reads_it():
    triples = list(itertools.product(NUMBERS, repeat=3))[::7]
    lines = [" ".join(triple) + f" {REST}" for triple in triples]
    content = "\n".join(["1", "1", "7", str(len(lines)), *lines, ""]).encode()
    found = read_skeleton(content, "name", len(lines)).joints[:, 0].T
    assert np.array_equal(found, np.array(triples, float), equal_nan=True)


def test_random_decimals_are_read_as_python_reads_them(rng):
    values = rng.normal(size=(400, 3)) * 10.0 ** rng.integers(-6, 7, size=(400, 3))
    digits = rng.integers(0, 17, size=(400, 3))
    texts = [
        [f"{value:.{places}f}" for value, places in zip(*row, strict=True)]
        for row in zip(values, digits, strict=True)
    ]
    lines = [" ".join(text) + f" {REST}" for text in texts]
    content = "\n".join(["1", "1", "7", "400", *lines, ""]).encode()
    found = read_skeleton(content, "name", 400).joints[:, 0].T
    assert np.array_equal(found, np.array(texts, float))


@pytest.mark.parametrize("text", ["1  2 3", " 1 2 3", "1\t2\t3", "1 2 3\t"])
def test_fields_may_stand_apart_in_any_way(text):
    assert np.array_equal(read_numbers(text)[:, 0], [1, 2, 3])


def test_a_line_may_have_three_fields_alone():
    content = ("1\n1\n7\n2\n" + "1 2 3\n4 5 6\n" + "\n" * 100).encode()
    assert np.array_equal(read_skeleton(content, "name", 2).joints[:, 0].T, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n", " \n"])
def test_line_breaks_and_blank_lines_at_the_end_do_not_matter(newline, end, rng):
    joints = rng.normal(size=(4, 25, 3))
    content = skeleton_file(one_body(joints), newline) + end.encode()
    assert np.array_equal(read_skeleton(content, "name", 25).joints, np.moveaxis(joints, -1, 0))


def test_the_last_line_needs_no_break(rng):
    joints = rng.normal(size=(4, 25, 3))
    content = skeleton_file(one_body(joints)).rstrip()
    assert np.array_equal(read_skeleton(content, "name", 25).joints, np.moveaxis(joints, -1, 0))


@pytest.mark.parametrize("given", [0, 1, 20, 26, 32])
def test_another_number_of_joints_is_refused_and_never_cut(given, rng):
    content = skeleton_file(one_body(rng.normal(size=(3, given, 3))))
    with pytest.raises(OtherData, match=f"expected 25 joints a body; found {given} in body 0"):
        read_skeleton(content, "name", 25)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: codecs.BOM_UTF8 + text,
        lambda text: text.decode().encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.decode().encode("utf-16-be"),
        lambda text: text.decode().encode("utf-16-le"),
        lambda text: text.replace(b"\r\n", b"\r"),
        lambda text: text.replace(b"\r\n", b"\r\n\r\n"),
        lambda text: b"\r\n \r\n" + text.replace(b"\r\n", b"  \r\n"),
    ],
)
def test_marks_encodings_line_breaks_and_blanks_are_simply_read(spoil, rng):
    content = skeleton_file(one_body(rng.normal(size=(3, 25, 3))))
    found = read_skeleton(spoil(content), "name", 25)
    assert np.array_equal(read_skeleton(content, "name", 25).joints, found.joints)
    assert found.body_ids() == ("7",) * 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, np.nan) for text in ("-1.#IND", "1.#QNAN0", "-nan(ind)", "NAN(snan)", "1.#IND00")),
        *[("1.#INF", np.inf), ("-1.#INF00", -np.inf)],
    ],
)
def test_microsofts_numbers_that_are_none_are_read(text, value):
    assert np.array_equal(read_numbers(f"{text} 2 3")[:, 0], [value, 2, 3], equal_nan=True)


def test_lines_after_the_last_frame_are_counted(rng):
    content = skeleton_file(one_body(rng.normal(size=(2, 25, 3))))
    assert read_skeleton(content + b"\r\n", "name", 25).lines_after == 0
    assert read_skeleton(content + b"1\n\n7 8\n", "name", 25).lines_after == 2


def test_bodies_keep_their_frame_slot_and_id(rng):
    one, two = rng.normal(size=(2, 25, 3))
    frames = [[], [("5", one), ("9", two)], [], [("9", two)], []]
    recording = read_skeleton(skeleton_file(frames), "name", 25)
    assert recording.num_frames == 5
    assert recording.frames.tolist() == [1, 1, 3]
    assert recording.slots.tolist() == [0, 1, 0]
    assert recording.body_ids() == ("5", "9", "9")
    assert np.array_equal(recording.joints[:, 2], two.T)


@pytest.mark.parametrize("frames", [[], [[]], [[], []]])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_file_may_have_no_body(frames, end):
    recording = read_skeleton(skeleton_file(frames, "\n").rstrip() + end, "name", 25)
    assert (recording.num_frames, recording.joints.shape) == (len(frames), (3, 0, 25))


def test_every_cut_through_a_file_is_noticed(rng):
    content = skeleton_file(one_body(rng.normal(size=(2, 3, 3)).round(3)))
    whole = len(content.rstrip())
    for length in range(whole - 1):
        with pytest.raises(ValueError, match="download it again"):
            read_skeleton(content[:length], "name", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "name: expected the number of frames; found the end of the file in line 1"),
        (b"two\n", "expected the number of frames; found 'two' in line 1"),
        (b"-1\n", "expected the number of frames; found '-1' in line 1"),
        (b"2\n0\n", "number of bodies in frame 1 of 2; found the end of the file in line 3"),
        (b"1\nx\n", "number of bodies in frame 0 of 1; found 'x' in line 2"),
        (b"1\n1\n7\n25 1\n", "joints of body 0 in frame 0 of 1; found '25 1' in line 4"),
        (b"1\n1\n7\n1\n", "last joint of frame 0 of 1; found the end of the file in line 5"),
        (b"1\n1\n7\n99\n1 2 3\n", "last joint of frame 0 of 1; found the end of the file"),
        (b"1\n1\n7\n1\n1 2\n", "x, y and z of a joint; found '1 2' in line 5"),
        (b"1\n1\n7\n1\n1 2 here\n", "x, y and z of a joint; found '1 2 here' in line 5"),
        (b"1\n1\n7\n1\n\xff 2 3\n" + b"\n" * 99, "x, y and z of a joint"),
    ],
)
def test_a_damaged_file_is_named_with_what_was_expected_and_found(content, message):
    with pytest.raises(ValueError, match=message):
        read_skeleton(content, "name", 1 if b"1\n1\n7\n1\n" in content else 25)
