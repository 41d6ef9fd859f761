"""Reader of NTU RGB+D's `.skeleton` text: fast, and each number equal to Python's `float`.

A file is a count of frames; per frame a count of bodies; per body a header, a count of joints, and
one line of 12 fields for each joint, of which x, y and z come first.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhead.arrays import Floats, Integers, Mask
from dualhead.data.dataset import OtherData

FIELDS = 12  # of a joint's line
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MICROSOFT_NUMBER = re.compile(r"([+-]?)(?:1\.#(\w*?)0*|nan\(\w*\))", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"\d,\d")
NO_WHOLE_NUMBER = re.compile(r"\d+\.\d*")
MARGIN = 64  # bytes; a line that begins this near the end of the file is read the slow way


Words = npt.NDArray[np.uint64]  # eight bytes of text each, the first one lowest

SPACE = ord(" ")
ONE, TEN, BYTE = np.uint64(1), np.uint64(10), np.uint64(8)
EVERY = 0x0101010101010101  # a one in each byte of a word
DIGIT_0 = np.uint64(ord("0") * EVERY)
NINE_TO_TOP_BIT = np.uint64(0x76 * EVERY)  # added to a byte above 9, sets its top bit
TOP_BITS = np.uint64(0x80 * EVERY)
POWERS = np.array([10**exponent for exponent in range(17)], np.uint64)
FLOAT_POWERS = POWERS.astype(np.float64)  # exact up to 10**22


class Recording(NamedTuple):
    """One `.skeleton` file: R rows, one for each body in each frame, in the file's order."""

    num_frames: int
    frames: Integers  # (R,) from 0
    slots: Integers  # (R,) place of the body within its frame, from 0
    joints: Floats  # (3, R, V) x, y, z in meters of the camera; 0 where none is given
    content: bytes
    headers: Integers  # (R,) where a body's header begins in the content
    lines_after: int = 0  # lines after the last frame that are not blank

    def body_ids(self) -> tuple[str, ...]:
        """Return the tracker's ID of each row, the first field of its header."""
        heads = (self.content[begin : begin + MARGIN] for begin in self.headers.tolist())
        return tuple(b"".join(head.split(maxsplit=1)[:1]).decode("latin-1") for head in heads)


def read_skeleton(content: bytes, name: str, num_joints: int) -> Recording:
    """Read a `.skeleton` file.

    Args:
        content: the file, however its lines end and its text is encoded; blank lines are passed
            over.
        name: the file's name, for messages.
        num_joints: V. The official code leaves out further joints and takes missing ones for 0;
            here a body of another number is refused.

    Raises:
        OtherData: for a body of another number of joints.
        ValueError: for a file that ends early, or a field that is no number.
    """
    try:
        return _read(content, name, num_joints)
    except OtherData:
        raise
    except ValueError:
        plain = _plain_text(content)
        if plain == content:
            raise
        return _read(plain, name, num_joints)


def _plain_text(content: bytes) -> bytes:
    """Return a text in ASCII's bytes, without a mark, bare CRs and blank lines."""
    if content.startswith(UTF_16):
        content = content.decode("utf-16", errors="replace").encode()
    elif content[1:2] == b"\0" or content[:1] == b"\0":
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
        content = content.decode(encoding, errors="replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    lines = [line for line in content.splitlines() if line.strip()]
    return b"\n".join(lines) + b"\n" * content.endswith((b"\n", b"\r"))


def _read(content: bytes, name: str, num_joints: int) -> Recording:
    breaks = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    breaks = np.concatenate([[-1], breaks, [len(content)]])
    lines = _Lines(content, breaks.tolist(), name)
    num_frames, rows, last = _find_bodies(lines)
    frames, slots, headers, counts = np.array(rows, np.int64).reshape(-1, 4).T
    _refuse_other_joints(name, num_joints, frames, slots, counts)
    joint_lines = (headers[:, None] + 2 + np.arange(num_joints)).ravel()
    positions = _read_positions(lines, joint_lines, breaks[joint_lines] + 1)
    joints = positions.reshape(3, len(rows), num_joints)
    rest = content[breaks[min(last + 1, len(breaks) - 1)] :].split(b"\n")
    after = sum(1 for line in rest if line.strip())
    return Recording(num_frames, frames, slots, joints, content, breaks[headers] + 1, after)


def _refuse_other_joints(
    name: str, num_joints: int, frames: Integers, slots: Integers, counts: Integers
) -> None:
    others = np.flatnonzero(counts != num_joints)
    if len(others):
        first = others[0]
        raise OtherData(
            "joint_count",
            f"{name}: expected {num_joints} joints a body; found {counts[first]} in body "
            f"{slots[first]} of frame {frames[first]}, as in {len(others)} of {len(counts)} bodies. "
            "Another skeleton is not cut to fit: prepare its recordings as a dataset of their own.",
        )


@dataclass(frozen=True)
class _Lines:
    """Lines of a file; the last one, mostly empty, follows the last line break."""

    content: bytes
    breaks: list[int]  # line i lies between breaks i and i + 1
    name: str

    def __getitem__(self, number: int) -> bytes:
        return self.content[self.breaks[number] + 1 : self.breaks[number + 1]]

    def __len__(self) -> int:
        return len(self.breaks) - 1

    def is_whole(self, number: int) -> bool:
        """Return whether a line, a count or a joint, is there to its end; only the last may be cut."""
        last = len(self) - 1
        return number < last or (number == last and len(self[last].split()) in (1, FIELDS))

    def damaged(self, number: int, expected: str) -> ValueError:
        """Return the error that a line is not what was expected there."""
        if number < len(self) - 1 or (not number and self[number].strip()):
            text = self[number].decode(errors="replace").strip()
            found = f"{text[:60]!r} in line {number + 1}"
            remedy = _remedy(text)
        else:
            found = f"the end of the file in line {len(self)}"
            remedy = "The file is cut short: download it again, or write it anew."
        return ValueError(f"{self.name}: expected {expected}; found {found}. {remedy}")


def _remedy(line: str) -> str:
    """Return the remedy for a line that is there, but is not what was expected."""
    if DECIMAL_COMMA.search(line):
        return "These are decimal commas: write decimal points."
    if NO_WHOLE_NUMBER.fullmatch(line):
        return "Write a count as a whole number."
    return "The file is damaged, or of another form than NTU RGB+D's."


def _find_bodies(lines: _Lines) -> tuple[int, list[tuple[int, int, int, int]], int]:
    """Return the number of frames, each body's frame, slot, header line and joints, and the last line."""
    rows = []
    number, what = 0, "frames"  # the line where a count stands, and what it counts
    try:
        num_frames = _count(lines[number])
        for frame in range(num_frames):
            number, what = number + 1, "bodies"
            for slot in range(_count(lines[number])):
                header = number + 1
                number, what = number + 2, f"joints of body {slot}"
                num_joints = _count(lines[number])
                rows.append((frame, slot, header, num_joints))
                number += num_joints
    except (ValueError, IndexError) as error:
        where = f" in frame {frame} of {num_frames}" if number else ""
        raise lines.damaged(number, f"the number of {what}{where}") from error
    if not lines.is_whole(number):
        raise lines.damaged(number, f"the last joint of frame {num_frames - 1} of {num_frames}")
    return num_frames, rows, number


def _count(line: bytes) -> int:
    count = int(line)
    if count < 0:
        raise ValueError(f"{count} is no count")
    return count


def _read_positions(lines: _Lines, joint_lines: Integers, begin: Integers) -> Floats:
    """Return the first three fields of some lines, which begin at `begin`, as (3, lines)."""
    positions = np.zeros((3, len(begin)))
    num_safe = int(np.searchsorted(begin, len(lines.content) - MARGIN))
    begin = begin[:num_safe]
    plain = np.arange(len(joint_lines)) < num_safe
    for axis in range(3):
        positions[axis, :num_safe], begin, good = _read_numbers(lines.content, begin)
        plain[:num_safe] &= good
    for index in np.flatnonzero(~plain):  # an exponent, NaN, two spaces, the end of the file
        positions[:, index] = _read_line(lines, int(joint_lines[index]))
    return positions


def _read_line(lines: _Lines, number: int) -> list[float]:
    """Return the first three fields of a line, however they are written."""
    try:
        x, y, z = lines[number].split()[:3]
        return [read_number(x), read_number(y), read_number(z)]
    except ValueError as error:
        raise lines.damaged(number, "x, y and z of a joint") from error


def read_number(field: bytes) -> float:
    """Return a number as Python or Microsoft's C writes it: `-1.#IND`, `1.#INF00`, `-nan(ind)`."""
    try:
        return float(field)
    except ValueError:
        found = MICROSOFT_NUMBER.fullmatch(field.decode("latin-1"))
        if found is None:
            raise
        is_infinite = (found[2] or "").upper() == "INF"
        return float(f"{found[1]}inf") if is_infinite else float("nan")


def _read_numbers(content: bytes, begin: Integers) -> tuple[Floats, Integers, Mask]:
    """Read plain decimals such as `-0.2181153`, all at once, each exactly as `float` does.

    Sixteen bytes of each are looked at as two words. Up to 15 digits are a whole number below
    2**53, and ten to the number of decimals is exact too: the quotient is rounded once, correctly.

    Args:
        content: bytes of the file, which go on for `MARGIN` bytes after the last of their lines begins.
        begin: (n,) where each number begins.

    Returns:
        The numbers (n,), where the next field begins, and where both can be trusted: elsewhere
        stands something else than a sign, digits with at most one point, and one space.
    """
    if not len(begin):
        return np.zeros(0), begin, np.zeros(0, bool)
    characters = np.frombuffer(content, np.uint8)
    words: Words = np.ndarray(len(content) - 7, "<u8", content, strides=(1,))  # from any byte on
    negative = characters[begin] == ord("-")
    begin = begin + negative
    first, second = words[begin] ^ DIGIT_0, words[begin + 8] ^ DIGIT_0  # digits are 0..9 now
    other = _not_digits(first)
    point = _first_byte(other)
    decimal = characters[begin + point] == ord(".")
    end = _first_byte(other & (other - ONE))  # the next byte that is no digit
    end = np.where(end < 8, end, 8 + _first_byte(_not_digits(second)))
    end = np.where(decimal, end, point)
    num_digits = end - decimal
    good = (point < 8) & (num_digits > 0) & (num_digits < 16) & (characters[begin + end] == SPACE)
    before = (ONE << (point << 3)) - ONE  # the bytes before the point
    closed = (first & before) | (first >> BYTE & ~before) | second << 7 * BYTE  # without the point
    num_low = np.maximum(num_digits, 8) - 8  # digits beyond the first eight
    high = np.where(decimal, closed, first) << ((8 - num_digits + num_low) << 3)
    whole = _eight_digits(high)
    long = np.flatnonzero(num_low)
    low = second[long] >> BYTE << ((8 - num_low[long]) << 3)
    whole[long] = whole[long] * POWERS[num_low[long]] + _eight_digits(low)
    values: Floats = whole / FLOAT_POWERS[np.where(decimal & good, end - point - 1, 0)]
    return np.where(negative, -values, values), begin + end + 1, good


def _not_digits(word: Words) -> Words:
    """Return the top bit of each byte that is not 0..9."""
    return (word + NINE_TO_TOP_BIT | word) & TOP_BITS


def _first_byte(bits: Words) -> npt.NDArray[np.uint8]:
    """Return the number, 0 to 7, of the first byte with its top bit set; 8 if there is none."""
    place: npt.NDArray[np.uint8] = np.bitwise_count((bits & -bits) - ONE) >> 3
    return place


def _eight_digits(word: Words) -> Words:
    """Return the whole number that eight bytes 0..9 write, the most significant first."""
    pairs = word * TEN + (word >> BYTE) & np.uint64(0x00FF00FF00FF00FF)
    fours = pairs * TEN**2 + (pairs >> 2 * BYTE) & np.uint64(0x0000FFFF0000FFFF)
    return fours * TEN**4 + (fours >> 4 * BYTE) & np.uint64(0xFFFFFFFF)
