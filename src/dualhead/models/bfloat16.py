"""bfloat16 on a processor that cannot multiply it: products in float32, rounded as its instructions would.

A product of two bfloat16 numbers is exact in float32, and the instructions that exist (AVX-512 BF16, AMX, those
of GPUs) add such products up in float32 and round the sum. So do we; what differs is the order of the sum. torch
alone would take a hundred times as long there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
INTO = {
    aten.mm.out: aten.mm.default,
    aten.addmm.out: aten.addmm.default,
    aten.bmm.out: aten.bmm.default,
}
"""Products that write to a given tensor, and those that return a new one."""
IN_PLACE = {aten.addmm_.default: aten.addmm.default}
PRODUCTS = {
    *(*INTO, *INTO.values(), *IN_PLACE),
    *(aten.convolution.default, aten.convolution_backward.default),
    # in inference mode operators are seen before they are taken apart
    *(aten.linear.default, aten.matmul.default, aten.conv1d.default, aten.conv2d.default),
}
"""Products that the networks use; any other product is left to torch."""


def is_native() -> bool:
    """Return whether torch has fast products of bfloat16 on this CPU."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def products() -> AbstractContextManager[object]:
    """Return the context in which products of bfloat16 on the CPU are fast, forward and backward."""
    return nullcontext() if is_native() else Widened()  # type: ignore[no-untyped-call]  # torch's


class Widened(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Compute the products of bfloat16 tensors on a CPU in float32, and round what comes out."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator."""
        options = dict(kwargs or {})
        if func not in PRODUCTS or not _is_rounded(args[0]):
            return func(*args, **options)
        out = args[0] if func in IN_PLACE else options.pop("out", None)
        found = (INTO | IN_PLACE).get(func, func)(*map(_wide, args), **options)
        if out is not None:
            return out.copy_(found)
        return tuple(map(_rounded, found)) if isinstance(found, tuple) else _rounded(found)


def _is_rounded(x: object) -> bool:
    return isinstance(x, Tensor) and x.dtype == torch.bfloat16 and x.device.type == "cpu"


def _wide(x: object) -> object:
    return x.float() if isinstance(x, Tensor) and _is_rounded(x) else x


def _rounded(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.bfloat16()
