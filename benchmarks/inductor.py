"""Kernels that torch.compile makes of a training step for a GPU that is not there.

Dynamo and AOT autograd trace on fake tensors of the CPU, because the backward pass of fake CUDA tensors does not run in
a CPU build of torch; then the device in the graphs is replaced and Inductor generates Triton code (`fake_gpu`).
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._functorch.aot_autograd import make_boxed_func
from torch._guards import detect_fake_mode
from torch._inductor import compile_fx, scheduler
from torch._inductor.codegen.simd import SIMDScheduling
from torch._inductor.dependencies import MemoryDep, _RecordLoadStoreInner
from torch._inductor.graph import GraphLowering
from torch._inductor.utils import get_dtype_size
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from benchmarks.fake_gpu import DEVICE, fake_gpu
from benchmarks.kernels import EagerKernels, Kernel
from benchmarks.masks import read_shares

CALL = re.compile(
    r"^\s+(?:\w+ = )?(?:(triton_\w+)\.run|extern_kernels\.\w+|torch\.ops\.[\w.]+)\(", re.M
)
"""A launch in generated code."""


@dataclass(eq=False)
class CompiledKernels:
    """A backend of torch.compile that generates a GPU's code, counts it, and runs the graph as it was.

    Attributes:
        options: those of Inductor.
        recorded: where kernels are added; it does not see the graphs run.
        graphs: that Dynamo asked for so far.
        launches: that are written in the generated code.
        code: of each graph, forward and backward.
    """

    options: Mapping[str, Any]
    recorded: EagerKernels
    graphs: int = 0
    launches: int = 0
    code: list[str] = field(default_factory=list)

    def __call__(self, graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., object]:
        """Compile one graph of Dynamo's."""
        self.graphs += 1
        patches = {"fx_graph_cache": False, "triton.cudagraphs": False, **self.options}
        compiled: Callable[..., object] = compile_fx.compile_fx(
            graph, inputs, inner_compile=self._lower, config_patches=patches
        )
        return compiled

    def _lower(self, graph: GraphModule, inputs: Sequence[Any], **options: Any) -> Any:
        """Generate the code of a forward or backward graph; return the graph, to run on fake tensors."""
        with fake_gpu():
            moved, arguments = on_gpu(graph, inputs)
            with mock.patch.object(GraphLowering, "_compile_to_module", self._stand_in()):
                compile_fx.compile_fx_inner(moved, arguments, **{**options, "cudagraphs": None})

        def run(*arguments: Any) -> object:
            self.recorded.paused = True
            try:
                return graph(*arguments)
            finally:
                self.recorded.paused = False

        return make_boxed_func(run)

    def _stand_in(self) -> Callable[[GraphLowering], object]:
        """Return what is called, as a method, in place of the compilation of generated code."""
        return lambda lowering: self._record(lowering)

    def _record(self, lowering: GraphLowering) -> object:
        """Generate code, and count what is in it."""
        groups: dict[int, list[list[Any]]] = {}
        with _noted_groups(groups):
            code, _ = lowering.codegen()
        text = code.value
        self.code.append(text)
        body = text[text.index("def call(") :]
        self.launches += len(CALL.findall(body))
        for node in lowering.scheduler.nodes:
            self.recorded.kernels += kernels_of(lowering, node, groups)
        return _Module()


class _Module:
    """A generated module that is never called."""

    key = __file__ = "not compiled"
    runner = None

    def call(self, *_: object) -> None:
        """Return at once: only the graph is run."""


def on_gpu(graph: GraphModule, inputs: Sequence[Any]) -> tuple[GraphModule, list[Any]]:
    """Return a copy of a graph and of its inputs, without values, on `DEVICE`."""
    mode = detect_fake_mode(inputs) or FakeTensorMode()

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with mode:
            return torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device=DEVICE
            )

    graph, arguments = copy.deepcopy(graph), [moved(value) for value in inputs]
    for node in graph.graph.nodes:
        if node.op == "call_function" and "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": DEVICE}
        elif node.target is torch.ops.prims.device_put.default:
            node.args = (node.args[0], DEVICE, *node.args[2:])
    for name, value in [*vars(graph).items(), *graph.named_buffers()]:
        if isinstance(value, Tensor):
            setattr(graph, name, moved(value))
    graph.recompile()
    FakeTensorProp(graph, mode=mode).propagate_dont_convert_inputs(*arguments)
    return graph, arguments


@contextmanager
def _noted_groups(groups: dict[int, list[list[Any]]]) -> Iterator[None]:
    """Note, by the node's id, which parts of a combined node share a launch."""
    generate = SIMDScheduling.generate_combo_kernel_code

    def noting(self: SIMDScheduling, nodes: list[Any], *args: Any, **options: Any) -> Any:
        found = generate(self, nodes, *args, **options)
        groups[id(nodes[0])] = [list(group) for _, _, group in found]
        return found

    with mock.patch.object(SIMDScheduling, "generate_combo_kernel_code", noting):
        yield


def kernels_of(
    lowering: GraphLowering, node: Any, groups: Mapping[int, list[list[Any]]]
) -> list[Kernel]:
    """Return the launches of a scheduled node."""
    if isinstance(node, scheduler.NopKernelSchedulerNode):
        return []
    if isinstance(node, scheduler.ExternKernelSchedulerNode):
        moved = int(node.get_read_write_buffers_sizes())
        name = str(getattr(node.node, "python_kernel_name", None) or "")
        # an output of a kernel with several moves nothing of its own
        return [Kernel(name, moved, int(node.estimate_flops() or 0))] if moved else []
    parts = [list(node.get_nodes())]
    if isinstance(node, scheduler.ForeachKernelSchedulerNode):
        subkernels = node.get_subkernel_nodes()
        parts = [
            [leaf for member in group for leaf in member.get_nodes()]
            for group in groups[id(subkernels[0])]
        ]
    return [Kernel(_origins(part), moved_bytes(lowering, part), 0) for part in parts]


def _origins(nodes: Sequence[Any]) -> str:
    """Return the names of the operators that were fused."""
    names = [origin.name for node in nodes for origin in node.node.get_origins()]
    return " ".join(dict.fromkeys(re.sub(r"_\d+$", "", name) for name in names))


def moved_bytes(lowering: GraphLowering, nodes: Sequence[Any]) -> int:
    """Return what one kernel reads and writes: of each buffer what its indices reach under their masks, once.

    What is made and used up inside is free. Inductor's own count takes whole buffers where slices are read.
    """
    inside = {node.get_name() for node in nodes}
    touched: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for node in nodes:
        shares = _shares(node)
        for kind in ("reads", "writes"):
            for dependence in getattr(node.read_writes, kind):
                name = dependence.name
                if not _internal(lowering, name, kind, inside):
                    index = str(dependence.index) if isinstance(dependence, MemoryDep) else "all"
                    share = shares.get((name, index), 1.0) if kind == "reads" else 1.0
                    reached = round(share * _elements(lowering, dependence))
                    known = touched[kind, name]
                    known[index] = max(reached, known.get(index, 0))
    return sum(_bytes(lowering, name, found.values()) for (_, name), found in touched.items())


def _shares(node: Any) -> dict[tuple[str, str], float]:
    """Return which share of its points a scheduled node reads, by buffer and index as its dependencies name them."""
    if not isinstance(node, scheduler.SchedulerNode) or not callable(node._body):
        return {}
    shares, ranges = read_shares(node._body, node._sizes)
    found: dict[tuple[str, str], float] = {}
    for normalize in (False, True):
        naming = _RecordLoadStoreInner(ranges, normalize)
        for (name, index), share in shares.items():
            key = node.mutation_renames.get(name, name), str(naming.canonicalize(index)[0])
            found[key] = max(share, found.get(key, 0.0))
    return found


def _internal(lowering: GraphLowering, name: str, kind: str, inside: set[str]) -> bool:
    """Return whether a buffer is made here and, as it is written, used nowhere else."""
    buffer = lowering.scheduler.name_to_buf.get(name)
    if buffer is None or buffer.defining_op is None or buffer.defining_op.get_name() not in inside:
        return False
    users = {user.node.get_name() for user in buffer.users}
    return kind == "reads" or users <= inside


def _elements(lowering: GraphLowering, dependence: Any) -> int:
    """Return how many elements an index reaches where nothing is masked; without one, those of the buffer."""
    by_index = isinstance(dependence, MemoryDep)
    count = dependence.get_numel() if by_index else lowering.get_numel(dependence.name)
    return int(lowering.sizevars.optimization_hint(count, fallback=0))


def _bytes(lowering: GraphLowering, name: str, reached: Iterable[int]) -> int:
    """Return the bytes of what several indices reach of a buffer, at most all of it."""
    size = int(lowering.sizevars.optimization_hint(lowering.get_numel(name), fallback=0))
    return min(sum(reached), size) * int(get_dtype_size(lowering.get_dtype(name)))
