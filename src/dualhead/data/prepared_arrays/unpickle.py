"""Restricted reader of pickles: NumPy arrays, mappings, lists, texts and numbers, and nothing else.

No function of NumPy or Python runs on behalf of a file: the few names that a pickle of arrays holds stand for
functions of this module, which check what they are given.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path

import numpy as np
import numpy.typing as npt

Anything = object
LARGEST = 1 << 34  # bytes of a file
DEEPEST = 64  # containers within containers
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
GROWING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS")
KNOWN = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
        *("BINBYTES8", "BYTEARRAY8", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE", "LIST", "DICT"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", *GROWING, "BINGET", "LONG_BINGET", "BINPUT"),
        *("LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    )
)
"""Opcodes of protocols 2 to 5 that such pickles need."""
FAILURES = (
    *(pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(EOFError, OverflowError, RecursionError, MemoryError),
)
"""Errors of Python's reader for a file that is no pickle."""


class Dtype:
    """An array's type of numbers while it is read."""

    def __init__(self, code: Anything, align: Anything = False, copy: Anything = False) -> None:
        """Take one of the plain types."""
        if code not in DTYPES:
            raise ValueError(f"numbers of type {str(code)[:20]!r}")
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: Anything) -> None:
        """Take the order of bytes; fields, names and metadata are no plain numbers."""
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise ValueError("a type of numbers with fields")
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError("an unknown order of bytes")
        self.order = str(state[1])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """NumPy's type."""
        return np.dtype(self.order + self.code)


class ArrayOf:
    """An array while it is read; `array` is there at the end."""

    array: npt.NDArray[np.generic]

    def __setstate__(self, state: Anything) -> None:
        """Take version, shape, type, order and bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array without its five parts")
        _, shape, dtype, is_fortran, content = state
        self.array = plain_array(content, dtype, shape, "F" if is_fortran else "C")


def plain_array(
    content: Anything, dtype: Anything, shape: Anything, order: Anything
) -> npt.NDArray[np.generic]:
    """Return the array that some bytes are; refuse bytes that do not fill its shape."""
    if isinstance(content, str):  # as Python 2 wrote bytes
        content = content.encode("latin-1")
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, Dtype):
        raise ValueError("an array of something else than plain numbers")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array without a shape")
    if len(shape) > 8 or math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise ValueError(f"{len(content):,} bytes for an array of shape {shape[:8]}")
    flat: npt.NDArray[np.generic] = np.frombuffer(content, dtype.dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Anything, shape: Anything, code: Anything) -> ArrayOf:
    if kind != NDARRAY:
        raise ValueError("an array of a kind of its own")
    return ArrayOf()


def _frombuffer(content: Anything, dtype: Anything, shape: Anything, order: Anything) -> ArrayOf:
    found = ArrayOf()
    found.array = plain_array(content, dtype, shape, order)
    return found


def _scalar(dtype: Anything, content: Anything) -> Anything:
    return plain_array(content, dtype, (1,), "C")[0].item()


def _encode(text: Anything, encoding: Anything = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """Stand for `bytes()`, as protocol 2 writes no bytes."""
    return b""


NDARRAY = "numpy.ndarray"
"""In place of NumPy's class, which a pickle names and nothing calls."""
NUMPY = ("numpy.core", "numpy._core")  # of NumPy 1 and 2
NAMES: dict[tuple[str, str], Anything] = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{(f"{module}.multiarray", "_reconstruct"): _reconstruct for module in NUMPY},
    **{(f"{module}.multiarray", "scalar"): _scalar for module in NUMPY},
    **{(f"{module}.numeric", "_frombuffer"): _frombuffer for module in NUMPY},
}
"""All names that a pickle may hold, and what stands for them here."""


class _Unpickler(pickle.Unpickler):
    """Reader that knows the names of `NAMES`."""

    def find_class(self, module: str, name: str) -> Anything:
        """Return the stand-in for a permitted name; refuse every other."""
        if (module, name) not in NAMES:
            raise ValueError(f"the name {module[:60]}.{name[:60]}, which could run a program")
        return NAMES[module, name]

    def persistent_load(self, pid: Anything) -> Anything:
        """Refuse what lies elsewhere."""
        raise ValueError("a reference to something outside the file")


def read_pickle(path: Path) -> Anything:
    """Return the content of a pickle; arrays are `ArrayOf`.

    Raises:
        ValueError: for a file that is none, is too large or deep, or holds anything but arrays, mappings,
            lists, texts and numbers.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path}: expected at most {LARGEST:,} bytes, found {size:,}.")
    content = path.read_bytes()
    try:
        _check(content)
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except FAILURES as error:
        found = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(
            f"{path}: expected a pickle of arrays, mappings, lists, texts and numbers; found {found}. "
            "Nothing of it was run. Get the file from its authors again."
        ) from error


def _check(content: bytes) -> None:
    """Refuse unknown opcodes, sizes beyond the file, and depth, before anything is built."""
    stack: list[int | None] = []  # depth of each object; None is a mark
    memo: dict[int, int] = {}
    for code, argument, _ in pickletools.genops(content):
        if code.name not in KNOWN:
            raise ValueError(f"the opcode {code.name}")
        if code.name == "FRAME" and (argument or 0) > len(content):
            raise ValueError("a frame beyond the end of the file")
        if code.name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(memo) if argument is None else int(argument)
            if place > len(memo) + 1:
                raise ValueError("a note far beyond the others")
            memo[place] = stack[-1] or 0
        elif code.name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif code.name == "MARK":
            stack.append(None)
        else:
            _track(stack, code)


def _track(stack: list[int | None], code: pickletools.OpcodeInfo) -> None:
    """Take an opcode's objects from the stack, and put the depth of what they make there."""
    taken: list[int] = []
    own = 0
    before = list(code.stack_before)
    if pickletools.markobject in before:
        while (depth := stack.pop()) is not None:
            taken.append(depth)
        before = before[: before.index(pickletools.markobject)]
    if code.name in GROWING:
        if code.name in ("APPEND", "SETITEM"):
            taken += [stack.pop() or 0 for _ in before[1:]]
        own = stack.pop() or 0
    else:
        taken += [stack.pop() or 0 for _ in before]
    made = max(own, 1 + max(taken, default=0))
    if made > DEEPEST:
        raise ValueError(f"more than {DEEPEST} containers within each other")
    stack.extend([made if taken or own else 1] * len(code.stack_after))
