"""YAML and JSON files as plain values, with the file and line that each value stands on.

YAML is read by the rules of its version 1.2: `1e-05` is a number, `no`, `on` and dates are words, and a key that
stands twice is refused. Keys are always read as text.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import Reader

Keys: TypeAlias = tuple[str | int, ...]
MOST_VALUES = 100_000
"""Values that a file may hold with its aliases written out."""
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
TAG = "tag:yaml.org,2002:"
SCALARS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
    "merge": re.compile("<<"),
}
"""Plain scalars of YAML 1.2's core schema that are no words, and the merge key."""


@dataclass(frozen=True)
class Located:
    """Values read from files, each with its place.

    Attributes:
        content: plain values, mappings of text at the top.
        file: file that is named where a value has no place of its own.
        places: keys from the top down -> `FILE:LINE`.
    """

    content: dict[str, Any]
    file: str
    places: Mapping[Keys, str] = field(default_factory=dict)

    def place(self, keys: Keys) -> str:
        """Return `FILE:LINE` of a value, or of the nearest one around it that has a line."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return self.file


class _Loader(yaml.SafeLoader):
    """Composes nodes with the tags of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (as PyYAML declares it)


if yaml.__with_libyaml__:

    class _FastLoader(Composer, yaml.CSafeLoader):
        """Composes the same nodes from what libyaml parses, seven times as fast."""

        yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

        def __init__(self, text: str) -> None:
            Composer.__init__(self)
            yaml.CSafeLoader.__init__(self, text)


class _Dumper(yaml.SafeDumper):
    """Quotes each word that version 1.1 or 1.2 would read as something else."""


for _name, _pattern in SCALARS.items():
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _name, _whole, None)


def locate_yaml(path: Path) -> Located:
    """Return a YAML file's mapping with the line of each value.

    Raises:
        ValueError: if it is not UTF-8, no YAML, no mapping, or has a key twice; with the line.
    """
    text = read_text(path)
    places: dict[Keys, str] = {}
    content = _Builder(str(path), places).build(text)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of sections, found {kind_of(content)}")
    return Located(content, str(path), places)


def parse_yaml(text: str, source: str) -> Any:
    """Return the value that a piece of YAML stands for; `source` is named where it is none."""
    return _Builder(source, {}).build(text)


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Return a mapping as YAML that versions 1.1 and 1.2 read alike, in the order it stands."""
    options: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "width": 100}
    return str(yaml.dump(dict(content), Dumper=_Dumper, **options))


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return a JSON file's mapping; ValueError says what is wrong with the file, and `remedy`."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        wrong = f"{path}:{error.lineno}: not valid JSON: {error.msg}"
        raise ValueError(f"{wrong}; {remedy}") from None
    except RecursionError:
        raise ValueError(f"{path}: not valid JSON: nested too deeply; {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}; {remedy}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping, found {kind_of(content)}; {remedy}")
    return content


def read_text(path: Path) -> str:
    """Return a file's text, without a byte order mark; ValueError where it cannot be read as UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    if raw.startswith(UTF16_MARKS):
        raise ValueError(
            f"{path}: expected UTF-8, found UTF-16, as PowerShell writes it; save it as UTF-8"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        byte = f"the byte 0x{raw[error.start]:02x}"
        raise ValueError(
            f"{path}:{line}: expected UTF-8, found {byte}; save the file as UTF-8"
        ) from None


def kind_of(value: object) -> str:
    """Return the kind of a value, in a person's words."""
    names = {dict: "a mapping", list: "a list", str: "a word", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def _compose(text: str) -> Node | None:
    """Return the node of a document; PyYAML's own reader has the last word where libyaml refuses one."""
    if yaml.__with_libyaml__:
        with suppress(yaml.YAMLError):
            fast: Node | None = yaml.compose(text, Loader=_FastLoader)
            return fast
    slow: Node | None = yaml.compose(text, Loader=_Loader)
    return slow


class _Builder:
    """Builds plain values from the nodes of one document."""

    def __init__(self, source: str, places: dict[Keys, str]) -> None:
        self.source, self.places = source, places
        self.open: set[int] = set()
        self.count = 0

    def build(self, text: str) -> Any:
        """Return the document's value; an empty one is None."""
        if odd := Reader.NON_PRINTABLE.search(text):
            line = text[: odd.start()].count("\n") + 1
            found = f"the character {odd.group()!r}, which no text has"
            raise ValueError(f"{self.source}:{line}: not valid YAML: found {found}")
        try:
            node = _compose(text)
            return None if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{self.source}:{mark.line + 1}" if mark else self.source
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            raise ValueError(f"{place}: not valid YAML: {' '.join(problem.split())}") from None
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.source}: not valid YAML: {reason}") from None
        except RecursionError:
            raise ValueError(f"{self.source}: not valid YAML: nested too deeply") from None

    def _value(self, node: Node, keys: Keys) -> Any:
        self.count += 1
        if self.count > MOST_VALUES or id(node) in self.open:
            raise self._refusal(node, "an alias contains itself, or far too many values")
        self.places.setdefault(keys, self._place(node))
        self.open.add(id(node))
        if isinstance(node, ScalarNode):
            value = self._scalar(node)
        elif isinstance(node, SequenceNode) and node.tag == f"{TAG}seq":
            value = [self._value(item, (*keys, i)) for i, item in enumerate(node.value)]
        elif isinstance(node, MappingNode) and node.tag == f"{TAG}map":
            value = self._mapping(node, keys)
        else:
            raise self._refusal(node, f"the tag {node.tag} is not known here")
        self.open.remove(id(node))
        return value

    def _scalar(self, node: ScalarNode) -> Any:
        kind, text = node.tag.removeprefix(TAG), str(node.value)
        if kind in ("str", "merge"):
            return text
        if kind not in SCALARS or not SCALARS[kind].fullmatch(text):
            raise self._refusal(node, f"{text!r} does not fit the tag {node.tag}")
        if kind == "int":
            return self._whole(node, text)
        if kind == "float":
            return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        return {"null": None, "bool": text.lower() == "true"}[kind]

    def _whole(self, node: Node, text: str) -> int:
        try:
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        except ValueError:
            raise self._refusal(node, "a number of too many digits") from None

    def _mapping(self, node: MappingNode, keys: Keys) -> dict[str, Any]:
        below: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{TAG}merge":
                for merged in self._merged(value_node, keys):
                    below = merged | below
                continue
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in lines:
                text = f"{key!r} stands twice, first in line {lines[key]}; remove one of the two"
                raise ValueError(f"{self._place(key_node)}: {text}")
            lines[key] = line
            self.places[*keys, key] = self._place(key_node)
            own[key] = self._value(value_node, (*keys, key))
        return below | own

    def _merged(self, node: Node, keys: Keys) -> Iterator[dict[str, Any]]:
        """Yield the mappings below a merge key, the strongest first."""
        for item in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(item, MappingNode):
                raise self._refusal(item, "expected a mapping after <<")
            yield self._value(item, keys)

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._refusal(node, "expected a word as a key")
        return str(node.value)

    def _place(self, node: Node) -> str:
        return f"{self.source}:{node.start_mark.line + 1}"

    def _refusal(self, node: Node, problem: str) -> ValueError:
        return ValueError(f"{self._place(node)}: not valid YAML: {problem}")
