"""Passes on a GPU, recorded as CUDA graphs: one launch where there were a thousand."""

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
"""Calls with one form before they are recorded: what is done once, as compiling, is no part of a graph."""
APART = 0.4
"""Largest difference of compiled gradients from plain ones, as a share of these: rounding to bfloat16 explains less."""

SAME = 0.01
"""Largest difference of a replay's results from those of a call, as a share of their largest value."""


class _Recorded(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: Record

    def replay(self, inputs: Sequence[Tensor | float]) -> dict[str, Tensor]:
        """Return what the call does with these inputs."""
        torch._foreach_copy_(self.inputs, [x for x in inputs if isinstance(x, Tensor)])
        self.graph.replay()
        return {key: value.clone() for key, value in self.outputs.items()}


class Recorder:
    """Calls of a function of tensors and numbers; those of each form are recorded, and replayed from then on.

    A form is the shapes of the tensors, and the numbers. All graphs share their memory, so only what lies outside of it
    outlives the next call.
    """

    def __init__(self, run: Callable[..., Record], what: str, *, repeatable: bool = False) -> None:
        """Make a recorder.

        Args:
            run: the function.
            what: name of its calls, for the line that says that they cannot be recorded.
            repeatable: whether a second call changes nothing, so that the first replay is compared with one.
        """
        self.run, self.what, self.repeatable = run, what, repeatable
        self._graphs: dict[Form, _Recorded] = {}
        self._calls: Counter[Form] = Counter()
        self._gives_up = False

    def __call__(self, *inputs: Tensor | float) -> dict[str, Tensor]:
        """Return what the function does."""
        form = tuple((tuple(x.shape), x.dtype) if isinstance(x, Tensor) else x for x in inputs)
        self._calls[form] += 1
        if form not in self._graphs and self._calls[form] > WARM_UPS and not self._gives_up:
            self._record(form, inputs)
        recorded = self._graphs.get(form)
        if recorded is None or self._gives_up:
            return dict(self.run(*inputs))
        return recorded.replay(inputs)

    def _record(self, form: Form, inputs: Sequence[Tensor | float]) -> None:
        """Record the calls of a form; where that cannot be done, say so in one line."""
        own = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
        pool = next((one.graph.pool() for one in self._graphs.values()), None)
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                outputs = self.run(*own)
            found = _Recorded(graph, [x for x in own if isinstance(x, Tensor)], outputs)
            if self.repeatable and not _alike(found.replay(inputs), self.run(*inputs)):
                raise RuntimeError("a recorded one gives other results")
        except RuntimeError as error:
            self._gives_up = True
            reason = str(error).splitlines()[0]
            print(
                f"{self.what} cannot be recorded ({reason}); it is launched bit by bit",
                file=sys.stderr,
                flush=True,
            )
        else:
            self._graphs[form] = found


def _alike(found: Record, expected: Record) -> bool:
    """Return whether results are the same but for rounding."""
    return all(
        bool((found[key] - value).abs().max() <= SAME * value.abs().max())
        for key, value in expected.items()
    )


class Passes:
    """Forward and backward passes of a network, recorded, which add to its gradients.

    Gradients and running statistics lie outside of what is recorded.
    """

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        """Make passes of `forward`, which computes with the model in training mode."""
        self.model, self.forward = model, forward
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]
        self._recorder = Recorder(self._run, "a training step")
        self._tried_out = False

    def __call__(self, weight: float, *inputs: Tensor) -> dict[str, Tensor]:
        """Add the gradients of a loss times `weight` to those of the parameters; return what `forward` does."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if not self._tried_out:
            self._try_out(weight, *inputs)
            self._tried_out = True
        return self._recorder(weight, *inputs)

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


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all values together."""
    total: Tensor = torch.stack([tensor.norm() for tensor in tensors]).norm()
    return total
