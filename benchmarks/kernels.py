"""Kernels that a GPU would be given, counted: bytes and operations of each, and what they say about time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

SMALL = 2**20
"""Bytes below which a launch costs more than what it moves."""

VIEWS = frozenset(
    """
    _local_scalar_dense _reshape_alias _unsafe_view alias as_strided chunk detach diagonal empty empty_like
    empty_strided expand is_same_size lift_fresh narrow new_empty new_empty_strided permute select slice split
    split_with_sizes squeeze t transpose unbind unfold unsqueeze view view_as
    """.split()  # noqa: SIM905 - thirty quoted names are harder to read
)
"""Operators that launch nothing."""

OVERWRITING = frozenset({"copy_", "zero_", "fill_", "normal_", "uniform_"})
"""In-place operators that do not read what they write."""


class Kernel(NamedTuple):
    """One launch.

    Attributes:
        name: of the operator, or what was fused.
        moved: bytes read and written.
        flop: floating point operations of its products; 0 of all else.
    """

    name: str
    moved: int
    flop: int


class Gpu(NamedTuple):
    """A device, for computed times.

    Attributes:
        name: of the product.
        bandwidth: bytes a second that copies reach.
    """

    name: str
    bandwidth: float


GPUS = (Gpu("H200", 4.3e12), Gpu("H100", 3.0e12))
REACHED = 0.85
"""Share of a copy's bandwidth that kernels are assumed to reach."""
PRODUCTS = 450e12
"""Operations a second assumed of bf16 products."""


def bound(kernels: Iterable[Kernel], gpu: Gpu) -> float:
    """Return the seconds that moving all bytes takes at a copy's speed: no schedule is faster."""
    return sum(kernel.moved for kernel in kernels) / gpu.bandwidth


def expected(kernels: Iterable[Kernel], gpu: Gpu) -> float:
    """Return the seconds of one kernel after the other at `REACHED` and `PRODUCTS`, launches free."""
    return sum(
        max(kernel.moved / (REACHED * gpu.bandwidth), kernel.flop / PRODUCTS) for kernel in kernels
    )


class EagerKernels(TorchDispatchMode):
    """Records a kernel for each operator that launches one.

    Inputs are read once and outputs written once; what is changed in place is both. Second reads inside an operator
    (of a batch normalization, of a convolution's backward pass) are not seen.

    Attributes:
        kernels: so far.
        paused: whether operators go unrecorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Kernel] = []
        self.paused = False

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Return that torch.compile need not mind this mode."""
        return True

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run the operator and record it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        counts = not self.paused and func.namespace != "prim"  # which asks for a device or a size
        if counts and name not in VIEWS:
            moved = _moved(name, args, kwargs or {}, result)
            self.kernels.append(Kernel(name, moved, _flop(func, args, kwargs or {}, result)))
        return result


def _moved(name: str, args: Sequence[object], kwargs: Mapping[str, object], result: object) -> int:
    """Return the bytes that an operator reads and writes."""
    in_place = name.endswith("_") and not name.endswith("__")
    touched = [*_tensors(args), *_tensors(kwargs)]
    if in_place and name not in OVERWRITING:
        touched += _tensors(args[0])
    if not in_place and "out" not in kwargs:
        touched += _tensors(result)
    return sum(map(stored_bytes, touched))


def _flop(func: Any, args: Sequence[object], kwargs: Mapping[str, object], result: object) -> int:
    formula = flop_registry.get(func.overloadpacket)
    return int(formula(*args, **kwargs, out_val=result)) if formula else 0


def _tensors(values: object) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes that reading a tensor touches: those of an expanded axis once."""
    distinct = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        distinct *= size if stride else 1
    return min(distinct * tensor.element_size(), tensor.untyped_storage().nbytes())


class SavedBytes(saved_tensors_hooks):
    """Adds up what waits for the backward pass, each storage once and without what existed before.

    Attributes:
        total: bytes so far.
    """

    def __init__(self, existing: Iterable[Tensor]) -> None:
        self._known = {_storage(tensor) for tensor in existing}
        self._held: list[Tensor] = []  # so that no storage's number is given away anew
        self.total = 0
        super().__init__(self._pack, lambda tensor: tensor)

    def __enter__(self) -> SavedBytes:
        """Begin."""
        super().__enter__()
        return self

    def _pack(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._known:
            self._known.add(_storage(tensor))
            self._held.append(tensor.detach())
            self.total += tensor.untyped_storage().nbytes()
        return tensor


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def fake_copy(network: torch.nn.Module) -> None:
    """Replace a network's weights and buffers by tensors without values; under a `FakeTensorMode`."""
    for module in network.modules():
        for name, values in module.named_parameters(recurse=False):
            fake = torch.empty_strided(values.shape, values.stride(), dtype=values.dtype)
            setattr(module, name, torch.nn.Parameter(fake, values.requires_grad))
        for name, values in module.named_buffers(recurse=False):
            fake = torch.empty_strided(values.shape, values.stride(), dtype=values.dtype)
            setattr(module, name, fake)
