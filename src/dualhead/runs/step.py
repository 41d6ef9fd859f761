"""One step of a training: batch, loss (Sec. 3.6), gradients, and the optimizer with its learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from dualhead.models.bodies import Distinct, filled_rows, known_bodies
from dualhead.runs.batches import Split, make_batch, present_bodies, send
from dualhead.runs.inference import autocast, head_logits
from dualhead.runs.replay import Passes
from dualhead.runs.scores import fuse
from dualhead.runs.state import Training
from dualhead.runs.tune import is_classifier
from dualhead.settings.run import RunConfig, TrainSettings


def training_step(
    run: Training, split: Split, index: Tensor, config: RunConfig
) -> dict[str, Tensor]:
    """Take one step on the samples `index`; return its loss, each head's, and the percentage right.

    Gradients are accumulated over parts of `forward_batch_size`, weighted by their share of the
    batch; batch statistics are those of a part. Of each part every process makes the whole batch,
    so that all draw the same numbers, and computes its share.
    """
    settings, passes = config.train, _passes(run, split, config)
    run.optimizer.zero_grad(set_to_none=passes is None)
    total: dict[str, Tensor] = {}
    for part in torch.split(index, settings.forward_batch_size):
        own = run.share.own(len(part))
        batch = make_batch(
            split,
            part,
            modality=config.modality,
            settings=config.input,
            generator=run.generator,
        )[own]
        labels = send(split.labels[part[own]], split.device)
        weight = len(labels) / len(index)
        if passes is None:
            record = _forward(run.model, config, run.class_weights, batch, labels)
            (weight * record["loss"]).backward()  # type: ignore[no-untyped-call]
        else:
            distinct = filled_rows(present_bodies(split, part[own], config.input))
            bodies = (send(values, split.device) for values in distinct)
            record = passes(weight, batch, labels, *bodies)
        total = {key: total.get(key, 0) + weight * value.detach() for key, value in record.items()}
    gradients = [weight.grad for weight in run.model.parameters() if weight.grad is not None]
    run.share.add_up([*gradients, *total.values()])
    run.optimizer.step()
    return total


def _passes(run: Training, split: Split, config: RunConfig) -> Passes | None:
    """Return the recorder of a training's passes; None on a CPU and for several processes, which record none."""
    if split.device.type != "cuda" or run.share.group is not None:
        return None
    if run.passes is None:
        forward = partial(_forward, run.model, config, run.class_weights)
        run.passes = Passes(run.model, forward)
    return run.passes


def _forward(
    model: nn.Module,
    config: RunConfig,
    class_weights: Tensor | None,
    batch: Tensor,
    labels: Tensor,
    *distinct: Tensor,
) -> dict[str, Tensor]:
    """Return a batch's loss, each head's, and the percentage right; `distinct` are its bodies, if they are known."""
    settings = config.train
    known = known_bodies(Distinct(*distinct)) if distinct else nullcontext()
    with known, autocast(settings.precision, batch.device):
        logits = head_logits(model, batch)
    record = _losses(logits, labels, settings.loss, class_weights)
    return {**record, "train_top1": _accuracy(logits, labels, config.fusion_weight)}


def _losses(
    logits: Mapping[str, Tensor], labels: Tensor, kind: str, weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Return each head's cross entropy, and their sum (Sec. 3.6) or mean (official code).

    With class weights, (classes,), a sample's is multiplied by its class's, and the mean is over samples, so that the
    parts of a batch add up to it.
    """
    losses = {f"loss_{head}": cross_entropy(values, labels) for head, values in logits.items()}
    if weights is not None:
        own = weights[labels]
        losses = {
            f"loss_{head}": (cross_entropy(values, labels, reduction="none") * own).mean()
            for head, values in logits.items()
        }
    total = torch.stack(list(losses.values())).sum()
    return {"loss": total / len(losses) if kind == "mean" else total, **losses}


def _accuracy(logits: Mapping[str, Tensor], labels: Tensor, weight: float) -> Tensor:
    """Return the percentage of a batch that the fused softmax gets right."""
    scores = {head: softmax(values.detach(), dim=-1) for head, values in logits.items()}
    fused = (
        scores["fusion"] if "fusion" in scores else fuse(scores["coarse"], scores["fine"], weight)
    )
    return 100 * (fused.argmax(-1) == labels).float().mean()


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.SGD:
    """Return SGD with Nesterov momentum, and weight decay on every parameter as the authors do.

    Classifiers with a learning rate of their own are a group of their own, whose rate is `factor` times that of the
    epoch.
    """
    weights: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if settings.head_learning_rate is not None:
        groups: tuple[list[nn.Parameter], list[nn.Parameter]] = [], []
        for name, weight in model.named_parameters():
            groups[is_classifier(name)].append(weight)
        factor = settings.head_learning_rate / settings.learning_rate
        weights = [{"params": groups[0]}, {"params": groups[1], "factor": factor}]
    return torch.optim.SGD(
        weights,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
        fused=all(weight.is_cuda for weight in model.parameters()) or None,
    )


def learning_rate(epoch: int, settings: TrainSettings) -> float:
    """Return the learning rate of an epoch, counted from 0.

    It grows linearly over the warm-up epochs and is divided by 10 after each milestone: with
    milestone 40, the 41st epoch is the first slower one.
    """
    base, warmup = settings.learning_rate, settings.warmup_epochs
    if epoch < warmup:
        return base * (epoch + 1) / warmup
    passed = sum(epoch >= milestone for milestone in settings.milestones)
    return base / float(10**passed)
