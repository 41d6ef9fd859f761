"""Schemas: what a value may be, refusals in one line, defaults, and JSON Schema for editors.

A schema is a `Kind`, made by the functions below: `record({"epochs": Field(whole(1), default=80)})`.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dualhead.settings.reading import Keys, Located

ABSENT: Final = object()
"""In place of a default: there is none."""
MOST: Final = 10**9
"""The largest number where nothing smaller is said."""
LONGEST_NAME: Final = 100
"""Bytes of a name, which becomes a part of file names."""
SHOWN: Final = 60
"""Characters of a wrong value that are shown."""
FEW: Final = 5
"""Known names that a refusal shows at most."""


@dataclass(frozen=True)
class Place:
    """A value's place in a file: what a refusal begins with."""

    source: Located
    keys: Keys = ()

    def __truediv__(self, key: str | int) -> Place:
        """Return the place of what lies below a key."""
        return Place(self.source, (*self.keys, key))

    def __str__(self) -> str:
        """Return `params.yaml:12: train.milestones[1]`."""
        name = ""
        for key in self.keys:
            if isinstance(key, str) and re.fullmatch(r"[\w-]+", key):
                name += f".{key}" if name else key
            else:
                name += f"[{shown(key)}]"
        return f"{self.source.place(self.keys)}: {name}" if name else self.source.place(self.keys)

    def refusal(self, expected: str, found: object) -> ValueError:
        """Return the error of a value that is not what is expected here."""
        return ValueError(f"{self}: expected {expected}, found {shown(found)}")


Check: TypeAlias = Callable[[Any, Place], None]


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        expected: it, in a person's words.
        check: raises ValueError for a value that is of another kind.
        json: its JSON Schema.
        fields: keys of a record.
    """

    expected: str
    check: Check
    json: Mapping[str, Any]
    fields: Mapping[str, Field] | None = None


@dataclass(frozen=True)
class Field:
    """A key of a record: its kind, what it means, its default, and whether it may be left out."""

    kind: Kind
    text: str = ""
    default: Any = ABSENT
    optional: bool = False


def shown(value: object) -> str:
    """Return a value as a refusal shows it, in at most about SHOWN characters."""
    if value is None:
        return "nothing (are all its lines commented out?)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > MOST * MOST:
        return "a number of too many digits"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def closest(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'epochs'?` where a known name is close, and a few of the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name)[:LONGEST_NAME], names, 1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    if len(names) <= FEW:
        return f"; {hint}known here: {', '.join(names)}"
    if close:
        return f"; {hint.rstrip()}"
    return f"; known here: {', '.join(names[:FEW])} and {len(names) - FEW} more"


def kind(expected: str, fits: Callable[[Any], bool], json: Mapping[str, Any]) -> Kind:
    """Return a kind of single values."""

    def check(value: Any, place: Place) -> None:
        if not fits(value):
            raise place.refusal(expected, value)

    return Kind(expected, check, json)


def whole(least: int = 0, most: int = MOST, *, odd: bool = False) -> Kind:
    """Return whole numbers in a range."""
    upper = f" to {most}" if most < MOST else " or more"
    expected = f"{'an odd' if odd else 'a whole'} number, {least}{upper}"
    json = {"type": "integer", "minimum": least, "maximum": most}

    def fits(value: Any) -> bool:
        return type(value) is int and least <= value <= most and (not odd or value % 2 == 1)

    return kind(expected, fits, json | ({"not": {"multipleOf": 2}} if odd else {}))


def number(
    least: float = 0, most: float = MOST, *, above: bool = False, below: bool = False
) -> Kind:
    """Return numbers in a range, whose ends are left out where `above` and `below` say so."""
    lower = f" above {least:g}" if above else f", {least:g} or more"
    upper = f", {'below' if below else 'at most'} {most:g}"
    json: dict[str, Any] = {"type": "number"}
    json["exclusiveMinimum" if above else "minimum"] = least
    json["exclusiveMaximum" if below else "maximum"] = most

    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        is_above = value > least if above else value >= least
        return is_above and (value < most if below else value <= most)

    return kind(f"a number{lower}{upper}", fits, json)


def choice(*words: str) -> Kind:
    """Return one of some words."""
    expected = " | ".join(words)
    return kind(expected, lambda value: value in words and type(value) is str, {"enum": [*words]})


def is_safe(name: object) -> bool:
    """Return whether a name can be a part of a path on every machine and of Snakemake's patterns."""
    is_word = isinstance(name, str) and 0 < len(name.encode("utf-8", "replace")) <= LONGEST_NAME
    return (
        is_word
        and re.fullmatch(r"(?![.\s-])[^/\\{}\x00-\x1f\x7f-\x9f\ud800-\udfff]+(?<!\s)", str(name))
        is not None
    )


def _check_name(name: Any, place: Place) -> None:
    if isinstance(name, int | float):
        raise place.refusal(f"a name; write '{name}', in quotes", name)
    if not is_safe(name):
        expected = f"a name that can be a part of a path: at most {LONGEST_NAME} bytes, no / \\ {{ }}, no . or - first"
        raise place.refusal(expected, name)


FLAG: Final = kind("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
NOTHING: Final = kind("nothing", lambda value: value is None, {"type": "null"})
TEXT: Final = kind("a word", lambda value: isinstance(value, str), {"type": "string"})
NAME: Final = Kind(
    "a name",
    _check_name,
    {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_NAME,
        "pattern": r"^[^.\s/\\{}-][^/\\{}]*$",
    },
)


def either(*kinds: Kind) -> Kind:
    """Return a kind that is one of several."""
    expected = ", or ".join(item.expected for item in kinds)

    def check(value: Any, place: Place) -> None:
        for item in kinds:
            try:
                return item.check(value, place)
            except ValueError:
                continue
        raise place.refusal(expected, value)

    return Kind(expected, check, {"anyOf": [item.json for item in kinds]})


def list_of(
    item: Kind,
    *,
    least: int = 0,
    length: int | None = None,
    distinct: bool = False,
    rising: bool = False,
) -> Kind:
    """Return lists of one kind of value: how many at least or exactly, all different, none smaller than that before."""
    count = f" of {length}" if length else f" of at least {least}" if least else ""
    expected = f"a list{count}{' different values' if distinct else ''}{', the smallest first' if rising else ''}"
    json: dict[str, Any] = {"type": "array", "items": item.json, "minItems": length or least}
    json |= {"maxItems": length} if length else {}

    def check(value: Any, place: Place) -> None:
        if not isinstance(value, list) or len(value) < least or length not in (None, len(value)):
            raise place.refusal(f"{expected}, each {item.expected}", value)
        for i, one in enumerate(value):
            item.check(one, place / i)
        if (distinct and any(one in value[:i] for i, one in enumerate(value))) or (
            rising and value != sorted(value)
        ):
            raise place.refusal(expected, value)

    return Kind(expected, check, json | ({"uniqueItems": True} if distinct else {}))


def table_of(item: Kind, *, keys: Kind = NAME, least: int = 0) -> Kind:
    """Return mappings from names to one kind of value."""
    expected = "a mapping" + (f" of at least {least}" if least else "")
    json = {"type": "object", "propertyNames": keys.json, "additionalProperties": item.json}

    def check(value: Any, place: Place) -> None:
        if not isinstance(value, dict) or len(value) < least:
            raise place.refusal(expected, value)
        for key, one in value.items():
            keys.check(key, place / key)
            item.check(one, place / key)

    return Kind(expected, check, json | ({"minProperties": least} if least else {}))


def record(fields: Mapping[str, Field], *, partial: bool = False, more: bool = False) -> Kind:
    """Return mappings with these keys; `partial`: any may be left out, `more`: others are let through."""

    def check(value: Any, place: Place) -> None:
        if not isinstance(value, dict):
            raise place.refusal("a mapping", value)
        for key in value:
            if key not in fields and not more:
                raise _unknown(key, place, fields)
        for key, field in fields.items():
            if key in value:
                field.kind.check(value[key], place / key)
            elif not partial and not field.optional:
                raise ValueError(
                    f"{place}: the setting '{key}' is missing; expected {field.kind.expected}"
                )

    return Kind("a mapping", check, _record_json(fields, partial, more), fields)


def _unknown(key: object, place: Place, known: Iterable[str]) -> ValueError:
    line = place.source.place((*place.keys, str(key)))
    within = str(place).removeprefix(place.source.place(place.keys)).removeprefix(": ")
    known = sorted(known)
    where = "; `dualhead schema` lists those of a params.yaml" if len(known) > FEW else ""
    return ValueError(
        f"{line}: unknown setting {key!r} in {within or 'the file'}{closest(key, known)}{where}"
    )


def _record_json(fields: Mapping[str, Field], partial: bool, more: bool) -> dict[str, Any]:
    properties = {}
    for key, field in fields.items():
        facts = {"description": field.text} if field.text else {}
        facts |= {} if field.default is ABSENT or partial else {"default": field.default}
        properties[key] = {**field.kind.json, **facts}
    required = [
        key for key, field in fields.items() if not field.optional and field.default is ABSENT
    ]
    json: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": more,
    }
    return json | ({"required": required} if required and not partial else {})


def tagged(key: str, kinds: Mapping[str, Mapping[str, Field]]) -> Kind:
    """Return mappings whose word under `key` says which keys the others are."""
    tag = choice(*kinds)
    known = {name: record({key: Field(tag), **fields}) for name, fields in kinds.items()}

    def check(value: Any, place: Place) -> None:
        if not isinstance(value, dict):
            raise place.refusal("a mapping", value)
        if key not in value:
            raise ValueError(f"{place}: the setting '{key}' is missing; expected {tag.expected}")
        tag.check(value[key], place / key)
        known[value[key]].check(value, place)

    return Kind(
        "a mapping",
        check,
        {"oneOf": [_with_tag(item.json, key, name) for name, item in known.items()]},
    )


def _with_tag(json: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    return {**json, "properties": {**json["properties"], key: {"const": name}}}


def defaults_of(record_kind: Kind) -> dict[str, Any]:
    """Return a record's defaults, those of the records within it too."""
    found = {}
    for key, field in (record_kind.fields or {}).items():
        value = defaults_of(field.kind) or ABSENT if field.kind.fields else field.default
        if value is not ABSENT:
            found[key] = copy.deepcopy(value)
    return found
