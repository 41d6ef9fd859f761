"""schema: kinds of values, and the one line that refuses what is of none."""

import pytest

from dualhead.settings.reading import Located
from dualhead.settings.schema import (
    FLAG,
    NAME,
    NOTHING,
    TEXT,
    Field,
    Place,
    choice,
    defaults_of,
    either,
    list_of,
    number,
    record,
    table_of,
    tagged,
    whole,
)

INNER = record({"b": Field(number(0, 1), default=0.5), "c": Field(TEXT, optional=True)})
OUTER = {"a": Field(whole(1), default=3), "inner": Field(INNER), "name": Field(NAME)}
SHAPES = {"round": {"radius": Field(number(above=True))}, "long": {"length": Field(whole(1))}}
FITTING = [
    (whole(1), [1, 2, 10**9]),
    (whole(0, 3), [0, 3]),
    (whole(1, odd=True), [1, 3, 9]),
    (number(), [0, 0.0, 1, 2.5]),
    (number(0, 1), [0, 1, 0.5]),
    (FLAG, [True, False]),
    (choice("a", "b"), ["a", "b"]),
    (NAME, ["a", "a b", "ü", "1", "a.b", "x" * 100]),
    (either(number(), choice("fitted")), [1, "fitted"]),
    (either(TEXT, NOTHING), ["", None]),
    (list_of(whole(), length=2, rising=True), [[1, 1], [1, 2]]),
    (list_of(whole(), distinct=True), [[], [2, 1]]),
    (table_of(number(), keys=choice("x", "y"), least=1), [{"x": 1}, {"x": 1, "y": 2}]),
    (record(OUTER), [{"a": 1, "inner": {"b": 1}, "name": "n"}]),
    (record(OUTER, partial=True), [{}, {"inner": {"b": 0, "c": "d"}}]),
    (record(OUTER, more=True), [{"a": 1, "inner": {"b": 1}, "name": "n", "z": [1]}]),
    (tagged("kind", SHAPES), [{"kind": "round", "radius": 1}, {"kind": "long", "length": 1}]),
]
MISFITS = [
    (whole(1), [0, -1, 1.0, True, "1", None, 10**9 + 1]),
    (whole(1, odd=True), [2, 0]),
    (number(), [-1, float("nan"), float("inf"), True, "1", None, 10**400]),
    (number(above=True), [0, 0.0]),
    (number(0, 1, below=True), [1, 1.0]),
    (FLAG, [0, 1, "true", None]),
    (choice("a", "b"), ["A", "", None, ["a"]]),
    (NAME, ["", ".", "..", "a/b", "a\\b", "{a}", "-a", " a", "a\n", "x" * 101, 1, None]),
    (either(number(), choice("fitted")), ["best", None, -1]),
    (list_of(whole(), length=2, rising=True), [[2, 1], [1], [1, 2, 3], "12", None]),
    (list_of(whole(), distinct=True), [[1, 1], [[1]], {}]),
    (table_of(number(), keys=choice("x", "y"), least=1), [{}, {"z": 1}, {"x": "1"}, [1], None]),
    (record(OUTER), [{}, {"a": 1, "inner": {"b": 2}, "name": "n"}, [], None]),
    (record(OUTER, partial=True), [{"z": 1}, {"inner": {"z": 1}}, {"inner": None}]),
    (
        tagged("kind", SHAPES),
        [{}, {"kind": "round"}, {"kind": "flat"}, {"kind": "long", "radius": 1}, 3],
    ),
]
HERE = Place(Located({}, "here.yaml"), ("x",))


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in FITTING for value in values]
)
def test_a_value_of_the_kind_is_let_through(kind, value):
    kind.check(value, HERE)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in MISFITS for value in values]
)
def test_a_value_of_another_kind_is_one_line(kind, value):
    with pytest.raises(ValueError, match=r"\S") as caught:
        kind.check(value, HERE)
    assert str(caught.value).startswith("here.yaml: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_place_is_named_from_the_top_down():
    located = Located({}, "a.yaml", {("b",): "a.yaml:3", ("b", "c d"): "a.yaml:4"})
    assert str(Place(located) / "b") == "a.yaml:3: b"
    assert str(Place(located) / "b" / "c d" / 1 / "e") == "a.yaml:4: b['c d'][1].e"
    assert str(Place(located) / "z") == "a.yaml: z"
    assert str(Place(located)) == "a.yaml"


def test_defaults_are_those_of_all_records_within_and_nobody_shares_them():
    kind = record(
        {"list": Field(list_of(whole()), default=[1]), "inner": Field(INNER), "name": Field(NAME)}
    )
    found = defaults_of(kind)
    assert found == {"list": [1], "inner": {"b": 0.5}}
    found["list"].append(2)
    assert defaults_of(kind)["list"] == [1]


def test_the_json_schema_of_a_record_says_ranges_meanings_and_defaults():
    kind = record({"epochs": Field(whole(1), "epochs of a training", 80), "name": Field(NAME)})
    json = kind.json
    assert (json["required"], json["additionalProperties"]) == (["name"], False)
    epochs = json["properties"]["epochs"]
    assert (epochs["type"], epochs["minimum"], epochs["default"]) == ("integer", 1, 80)
    assert epochs["description"] == "epochs of a training"
