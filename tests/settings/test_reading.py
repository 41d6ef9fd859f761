"""reading: YAML 1.2 and JSON with the line of each value."""

import json

import pytest

from dualhead.settings.reading import dump_yaml, locate_yaml, parse_yaml, read_json

GOOD = "seeds: [1]\ntrain:\n  epochs: 3\n  milestones:\n    - 1\n    - 2\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-05", 1e-5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("0o7", 7),
        ("0x1F", 31),
        ("1_0", "1_0"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("2024-01-31", "2024-01-31"),
        ("true", True),
        ("~", None),
        ('"1"', "1"),
        ("{1: a, no: b, ~: c}", {"1": "a", "no": "b", "~": "c"}),
        ("- &a {x: 1, y: 2}\n- {<<: *a, y: 3}", [{"x": 1, "y": 2}, {"x": 1, "y": 3}]),
        ("", None),
    ],
)
def test_yaml_is_read_by_version_1_2(text, expected):
    assert expected == parse_yaml(text, "here")


def test_every_value_knows_its_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    located = locate_yaml(path)
    assert located.content == {"seeds": [1], "train": {"epochs": 3, "milestones": [1, 2]}}
    lines = {
        ("seeds",): 1,
        ("train", "epochs"): 3,
        ("train", "milestones", 1): 6,
        ("train", "x"): 2,
    }
    assert {keys: located.place(keys) for keys in lines} == {
        k: f"{path}:{n}" for k, n in lines.items()
    }
    assert located.place(("unknown",)) == str(path)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
    ],
    ids=["CRLF", "CR", "BOM"],
)
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    assert locate_yaml(path).content == parse_yaml(GOOD, "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe" + GOOD.encode("utf-16-le"), ": expected UTF-8, found UTF-16"),
        (
            GOOD.encode() + b"# f\xfcr\n",
            ":7: expected UTF-8, found the byte 0xfc; save the file as UTF-8",
        ),
        (GOOD.encode() + b"\0", ":7: not valid YAML: found the character '\\x00'"),
        (b"a: 1\nb: 2\na: 3\n", ":3: 'a' stands twice, first in line 1; remove one of the two"),
        (b"a: 1\n---\nb: 2\n", ":2: not valid YAML: expected a single document"),
        (b"a:\n\tb: 1\n", ":2: not valid YAML: "),
        (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\n", ":3: not valid YAML: "),
        (b"a: !!python/object/apply:os.getcwd []\n", ":1: not valid YAML: the tag "),
        (b"a: !!int x\n", ":1: not valid YAML: 'x' does not fit the tag"),
        (b"a: &x [*x]\n", ":1: not valid YAML: an alias contains itself"),
        (b"a: " + b"9" * 5000 + b"\n", ":1: not valid YAML: a number of too many digits"),
        (b"[" * 3000, ": not valid YAML: nested too deeply"),
        (b"? [a]\n: b\n", ":1: not valid YAML: expected a word as a key"),
        (b"- a\n", ": expected a mapping of sections, found a list"),
        (b"", ": expected a mapping of sections, found nothing"),
    ],
)
def test_what_is_no_yaml_is_one_line_with_the_place(tmp_path, content, message):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.yaml") as caught:
        locate_yaml(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_aliases_that_multiply_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="far too many values"):
        locate_yaml(path)


def test_a_dumped_word_stays_a_word():
    words = [
        "1e-5",
        "1",
        "no",
        "on",
        "0o7",
        "2024-01-31",
        "~",
        "",
        "<<",
        "010",
        "1:30",
        "=",
        "1_0",
        ".5",
    ]
    settings = {"words": words, "1": {"<<": 1e-5, "x": 1e30, "flag": True, "none": None}}
    assert settings == parse_yaml(dump_yaml(settings), "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: not valid JSON: Expecting value; run it again"),
        (b'{"a": 1,\n"b": ', ":2: not valid JSON: Expecting value; run it again"),
        (b"[]", ": expected a mapping, found a list; run it again"),
        (b'{"a": "\xfc"}', ":1: expected UTF-8, found the byte 0xfc"),
        (b"[" * 200_000, ": not valid JSON: nested too deeply; run it again"),
        (b'{"a": ' + b"9" * 5000 + b"}", ": not valid JSON: Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_one_line_with_the_place(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json") as caught:
        read_json(path, "run it again")
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_json_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [1, None, "ü"]}))
    assert read_json(path, "run it again") == {"a": [1, None, "ü"]}
