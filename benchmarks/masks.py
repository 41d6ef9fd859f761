"""Shares of a generated kernel's points at which it really reads, where loads are masked.

Inductor puts tensors side by side by loads that are masked by where a point lies; its own dependencies do not know of
masks. All that is used here are private interfaces of torch 2.13.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import sympy
from torch._inductor.dependencies import index_vars_squeeze
from torch._inductor.ops_handler import DefaultHandler
from torch._inductor.virtualized import V
from torch.utils._sympy.functions import FloorDiv, Identity, ModularIndexing

RELATIONS: Mapping[str, Callable[..., sympy.Basic]] = {
    "lt": sympy.Lt,
    "le": sympy.Le,
    "gt": sympy.Gt,
    "ge": sympy.Ge,
    "eq": sympy.Eq,
    "and_": sympy.And,
    "logical_and": sympy.And,
    "or_": sympy.Or,
    "logical_or": sympy.Or,
}
"""Operations that masks are made of, by their names in a kernel's body."""

UNKNOWN = (None,) * 3
"""A value that depends on what is read; also one of several, as of Welford's reduction."""

MANY = 10**7
"""Points that are looked at, at most; of more, all count as read."""

Ranges = Mapping[sympy.Symbol, sympy.Expr]
"""How far each of a kernel's loops goes."""


class _Loads(DefaultHandler):
    """Notes the masks under which each index of each buffer is read, as a body is interpreted."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, sympy.Expr], list[sympy.Basic]] = defaultdict(list)
        self._masks: list[sympy.Basic] = []

    def _default(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        relation = RELATIONS.get(name)
        known = all(isinstance(value, sympy.Basic) for value in args)
        return relation(*args) if relation is not None and known else UNKNOWN

    def index_expr(self, index: sympy.Expr, dtype: object) -> sympy.Basic:
        return sympy.sympify(index).replace(Identity, lambda inner: inner)

    def constant(self, value: object, dtype: object) -> object:
        return sympy.Integer(value) if isinstance(value, int) else UNKNOWN

    def to_dtype(self, value: object, *args: object, **options: object) -> object:
        return value

    def indirect_indexing(self, *args: object, **options: object) -> sympy.Symbol:
        return sympy.Symbol("indirect")

    def masked(self, mask: object, body: Callable[[], object], other: object) -> object:
        self._masks.append(mask if isinstance(mask, sympy.Basic) else sympy.true)
        body()
        self._masks.pop()
        return UNKNOWN

    def load(self, name: str, index: sympy.Expr) -> object:
        self.found[name, sympy.sympify(index)].append(sympy.And(*self._masks))
        return UNKNOWN


def read_shares(
    body: Callable[..., object], sizes: Sequence[Sequence[sympy.Expr]]
) -> tuple[dict[tuple[str, sympy.Expr], float], Ranges]:
    """Interpret a kernel's body.

    Args:
        body: from lists of indices, one for each of `sizes`, to nothing; loads by Inductor's `ops`.
        sizes: of its loops, and of those that it sums over.

    Returns:
        Of each buffer and index that is read: the share of the points that the index tells apart, at which it is read;
        1 if a mask is unknown. And the loops' ranges.
    """
    indices, ranges = index_vars_squeeze(*sizes)
    loads = _Loads()
    with V.set_ops_handler(loads):
        body(*indices)
    shares = {
        (name, index): _share(sympy.Or(*masks), index, ranges)
        for (name, index), masks in loads.found.items()
    }
    return shares, ranges


def _share(mask: sympy.Basic, index: sympy.Expr, ranges: Ranges) -> float:
    """Return the share of an index's points at which a mask holds for any of the other loops' points."""
    if mask in (sympy.true, sympy.false):
        return float(mask == sympy.true)
    symbols = sorted(mask.free_symbols, key=str)
    if not all(symbol in ranges and sympy.sympify(ranges[symbol]).is_Integer for symbol in symbols):
        return 1.0
    lengths = [int(ranges[symbol]) for symbol in symbols]
    if math.prod(lengths) > MANY:
        return 1.0
    holds = sympy.lambdify(symbols, mask, [FUNCTIONS, "numpy"])
    points = np.asarray(holds(*(axis.ravel() for axis in np.indices(lengths)))).reshape(lengths)
    others = tuple(i for i, symbol in enumerate(symbols) if symbol not in index.free_symbols)
    return float(points.any(axis=others).mean())


FUNCTIONS = {
    FloorDiv.__name__: lambda a, b: a // b,
    ModularIndexing.__name__: lambda a, b, modulus: a // b % modulus,
}
