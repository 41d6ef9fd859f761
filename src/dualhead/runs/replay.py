"""Passes of a training on a GPU, recorded as CUDA graphs: one launch where there were a thousand."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualhead.models import ops
from dualhead.models.ops import encoder

Record = Mapping[str, Tensor]
Forward = Callable[..., Record]
"""Returns scalars of a batch, made of tensors; one of them is `loss`."""
Form = tuple[object, ...]

WARM_UPS = 2
"""Passes over batches of one form before they are recorded: what is done once, as compiling, is no part of a graph."""
APART = 0.4
"""Largest difference of compiled gradients from plain ones, as a share of these: rounding to bfloat16 explains less."""


class _Recorded(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: Record


class Passes:
    """Forward and backward passes of a network, which add to its gradients; those of each form of batch are recorded.

    A form is the shapes of what a pass is made of, and the weight of its loss. All graphs share their memory, so only
    what lies outside, gradients and running statistics, outlives the next pass.
    """

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        """Make passes of `forward`, which computes with the model in training mode."""
        self.model, self.forward = model, forward
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]
        self._graphs: dict[Form, _Recorded] = {}
        self._calls: Counter[Form] = Counter()
        self._gives_up = False

    def __call__(self, weight: float, *inputs: Tensor) -> dict[str, Tensor]:
        """Add the gradients of a loss times `weight` to those of the parameters; return what `forward` does."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        form = (weight, *((tuple(x.shape), x.dtype) for x in inputs))
        if not self._calls:
            self._try_out(weight, *inputs)
        self._calls[form] += 1
        if form not in self._graphs and self._calls[form] > WARM_UPS and not self._gives_up:
            self._record(form, weight, inputs)
        recorded = self._graphs.get(form)
        if recorded is None or self._gives_up:
            return dict(self._run(weight, *inputs))
        torch._foreach_copy_(recorded.inputs, list(inputs))
        recorded.graph.replay()
        return {key: value.clone() for key, value in recorded.outputs.items()}

    def _try_out(self, weight: float, *inputs: Tensor) -> None:
        """See once that the compiled gradients are those of the plain operations; if not, compile no more.

        A compiler that errs raises nothing: the loss falls more slowly, or not far. Where memory does not suffice for
        the plain operations, nothing is seen.
        """
        before = [buffer.clone() for buffer in self.model.buffers()]
        try:
            with ops.use("plain"):
                expected = self._gradients(weight, self.forward(*inputs))
        except torch.OutOfMemoryError:
            return
        finally:
            self._restore(before)
        found = self._gradients(weight, self.forward(*inputs))
        self._restore(before)
        apart = [a - b for a, b in zip(found, expected, strict=True)]
        share = float(_norm(apart) / _norm(expected).clamp(min=1e-30))
        if not share <= APART:
            encoder.give_up(ValueError(f"its gradients are wrong by {share:.0%} of their norm"))

    @torch.no_grad()
    def _restore(self, buffers: Sequence[Tensor]) -> None:
        for own, value in zip(self.model.buffers(), buffers, strict=True):
            own.copy_(value)

    def _gradients(self, weight: float, record: Record) -> tuple[Tensor, ...]:
        return torch.autograd.grad(weight * record["loss"], self.parameters)

    def _run(self, weight: float, *inputs: Tensor) -> Record:
        found = self.forward(*inputs)
        gradients = self._gradients(weight, found)
        sums = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_add_(sums, list(gradients))
        return {key: value.detach() for key, value in found.items()}

    def _record(self, form: Form, weight: float, inputs: Sequence[Tensor]) -> None:
        """Record the passes over batches of a form; where that cannot be done, say so in one line."""
        own = [x.clone() for x in inputs]
        pool = next((one.graph.pool() for one in self._graphs.values()), None)
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                outputs = self._run(weight, *own)
        except RuntimeError as error:
            self._gives_up = True
            reason = str(error).splitlines()[0]
            print(
                f"a training step cannot be recorded ({reason}); it is launched bit by bit",
                file=sys.stderr,
                flush=True,
            )
            return
        self._graphs[form] = _Recorded(graph, own, outputs)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all values together."""
    total: Tensor = torch.stack([tensor.norm() for tensor in tensors]).norm()
    return total
