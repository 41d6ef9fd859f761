"""Normalized sums: an MS-G3D window's reduction to a frame, and the sum of a block's paths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dualhead.models.ops import plain
from dualhead.models.ops.cpu.norm import Normalization
from dualhead.models.ops.cpu.slabs import add_product, add_scaled, affine, flat, slabs, tiled
from dualhead.models.ops.norm import Term


def relu_sum(*summands: Term | Tensor) -> Tensor:
    """Return the sum of all summands, terms normalized, cut off at zero, in one pass over all of them."""
    terms = [part for part in summands if isinstance(part, Term)]
    if not (terms and terms[0].norm.training):
        return plain.relu_sum(*summands)
    others = [part for part in summands if isinstance(part, Tensor)]
    added = sum(others[1:], start=others[0]) if others else None
    norms = [Normalization.of(term) for term in terms]
    tensors = [t for x, norm, offset in terms for t in (x, norm.weight, norm.bias, offset)]
    result: Tensor = _ReluSum.apply(norms, added, *tensors)  # type: ignore[no-untyped-call]  # torch's
    return result


class _ReluSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        norms: list[Normalization],
        added: Tensor | None,
        *tensors: Tensor | None,
    ) -> Tensor:
        terms = [x for x in tensors[::4] if x is not None]
        result = torch.empty_like(terms[0])
        scales = [tiled(norm.scale, result) for norm in norms]
        shift = tiled(torch.stack([norm.shift for norm in norms]).sum(0), result)
        for i in slabs(result):
            out = flat(result[i])
            affine(flat(terms[0][i]), scales[0], shift, out)
            for x, scale in zip(terms[1:], scales[1:], strict=True):
                add_scaled(out, flat(x[i]), scale)
            if added is not None:
                out += flat(added[i])
            out.relu_()
        ctx.norms, ctx.added = norms, added is not None
        ctx.offsets = [offset is not None for offset in tensors[3::4]]
        ctx.save_for_backward(*terms, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        terms = ctx.saved_tensors[:-1]
        grad = torch.ops.aten.threshold_backward(grad.contiguous(), ctx.saved_tensors[-1], 0)
        grads: list[Tensor | None] = [None, grad if ctx.added else None]
        own = not ctx.added  # then grad is nobody else's
        for i, (norm, x) in enumerate(zip(ctx.norms, terms, strict=True)):
            grads += norm.backward(grad, x, in_place=own and i == len(terms) - 1)
            grads.append(torch.zeros_like(norm.mean) if ctx.offsets[i] else None)
        return tuple(grads)


def norm_relu_linear(term: Term, weight: Tensor) -> Tensor:
    """Normalize, cut off at zero and map linearly, storing only the input; the contract is `plain`'s."""
    x, norm, offset = term
    if not norm.training:
        return plain.norm_relu_linear(term, weight)
    by_channel = x.detach().view(*x.shape[:3], -1, len(norm.weight))
    seen = Normalization.of(Term(by_channel, norm, offset))
    result: Tensor = _NormReluLinear.apply(seen, x, norm.weight, norm.bias, offset, weight)  # type: ignore[no-untyped-call]  # torch's
    return result


class _NormReluLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        norm: Normalization,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        offset: Tensor | None,
        weight: Tensor,
    ) -> Tensor:
        ctx.norm, ctx.offset = norm, offset is not None
        ctx.save_for_backward(x, weight)
        matrix = weight.to(x.dtype).t()
        result = x.new_empty(*x.shape[:3], len(weight))
        for i in slabs(x):
            active = norm.active(x[i]).flatten(0, 2)
            torch.mm(active, matrix, out=result[i].flatten(0, 2))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        norm, grad, matrix = ctx.norm, grad.contiguous(), weight.to(x.dtype)
        grad_active, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
        for i in slabs(x):
            active, rows = norm.active(x[i]).flatten(0, 2), grad[i].flatten(0, 2)
            add_product(grad_weight, rows.t(), active)
            own = torch.mm(rows, matrix, out=grad_active[i].flatten(0, 2))
            torch.ops.aten.threshold_backward.grad_input(own, active, 0, grad_input=own)
        shape = (*x.shape[:3], -1, len(norm.mean))
        grad_x, *grads = norm.backward(grad_active.view(shape), x.view(shape), in_place=True)
        grad_offset = torch.zeros_like(norm.mean) if ctx.offset else None
        return None, grad_x.view_as(x), *grads, grad_offset, grad_weight
