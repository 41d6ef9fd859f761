"""Evaluation: every test sample's scores under every choice of weights, and their accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dualhead.data.store import Store
from dualhead.files import digest_of, write_record
from dualhead.models.attention import attention_maps, gates
from dualhead.models.checkpoint import REMEDY, load, load_checkpoint
from dualhead.models.dualhead import DualHead
from dualhead.progress import progress
from dualhead.runs.batches import Split, frame_numbers, load_split, make_batch, ordered_batches
from dualhead.runs.inference import (
    autocast,
    choose_device,
    infer,
    memory_error,
    precision,
    use_cpu,
)
from dualhead.runs.partition import check_network, check_store, split_positions
from dualhead.runs.scores import (
    VALIDATION,
    Attention,
    Heads,
    Scored,
    Selection,
    address_of,
    fuse_heads,
    measure,
    write_classes,
    write_scores,
)
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig, ScoreSettings


def evaluate(
    checkpoint: Path,
    store: Path,
    *,
    scores: Path,
    metrics: Path,
    classes: Path,
    device: str,
    batch_size: int,
    threads: int | None = None,
) -> None:
    """Score the test split with a run's checkpoint; write scores, metrics and classes.

    Where the run held subjects out, these are scored as well, by the weights of the last epoch.

    Args:
        checkpoint: checkpoint that `dualhead train` wrote; every selection in it is scored.
        store: the dataset that it was trained on.
        scores: the score file to write.
        metrics: the metrics.json to write.
        classes: the classes.csv to write.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        batch_size: samples in memory at once.
        threads: number of torch's threads on the CPU; None leaves torch's own choice.

    Raises:
        ValueError: if the store is not the one that the run was configured for.
    """
    use_cpu(threads)
    content = _own_checkpoint(checkpoint)
    config = RunConfig.of(content["config"])
    where = choose_device(device)
    with Store(store) as source:
        check_store(source, config, content["num_classes"])
        check_network(content, source, checkpoint)
        positions = split_positions(source, config)
        test = load_split(source, positions.test, where)
        validation = positions.validation
        held_out = load_split(source, validation, where) if len(validation) else None
        subjects = source.meta["subject"][validation].tolist() if held_out else []
        class_names = source.class_names
    scoring, last = config.scoring, content["selections"]["last"]["epoch"]
    epochs = {name: entry["epoch"] for name, entry in content["selections"].items()}
    names, labels, selections = _score(checkpoint, test, scoring, epochs, batch_size)
    held = _score(checkpoint, held_out, scoring, {"last": last}, batch_size) if held_out else None
    maps = _attend(load(checkpoint, "last", where), test, scoring)
    facts = _facts(config, content["training"], len(test), len(class_names))
    write_scores(
        *(scores, names, labels, class_names, selections),
        validation=held,
        attention=maps,
        identity=facts,
    )
    write_classes(classes, selections=selections, labels=labels, class_names=class_names)
    if held:
        facts |= {VALIDATION: _held_out_facts(held, subjects)}
    files = {path.name: digest_of(path) for path in (checkpoint, scores, classes)}
    files |= content["training"].get("files", {})
    write_record(metrics, {**facts, **measure(selections, labels)}, files)


def _own_checkpoint(path: Path) -> Settings:
    """Return the content of a run's checkpoint; refuse converted weights, and another run's than its folder names."""
    content = load_checkpoint(path)
    if "split" not in content["config"]:
        raise ValueError(
            f"{path}: it names no benchmark, as converted weights do; use `dualhead predict`"
        )
    found = RunConfig.of(content["config"]).address
    expected = address_of(path).get("address", found)
    if found != expected:
        raise ValueError(
            f"{path}: expected the checkpoint of run {expected}, found that of {found}; it was copied or swapped; "
            f"{REMEDY}"
        )
    return content


def _held_out_facts(scored: Scored, subjects: list[int]) -> Settings:
    """Return the held-out subjects, the number of their samples, and the accuracies of `last` on them."""
    who: Settings = {"subjects": sorted(set(subjects)), "samples": len(scored.names)}
    return who | measure(scored.selections, scored.labels)


def _score(
    checkpoint: Path, split: Split, scoring: ScoreSettings, epochs: dict[str, int], batch_size: int
) -> Scored:
    """Return the scores of each selection; weights of one epoch are the same and scored once."""
    scored: dict[int, Heads] = {}
    for name, epoch in epochs.items():
        if epoch not in scored:
            model = load(checkpoint, name, split.device)
            scored[epoch] = score_split(model, split, scoring, batch_size)
    selections = {name: Selection(epoch, scored[epoch]) for name, epoch in epochs.items()}
    return Scored(split.names, split.labels.numpy(), selections)


def score_split(model: nn.Module, split: Split, scoring: ScoreSettings, batch_size: int) -> Heads:
    """Return logits and softmax of each head and of their fusion, (n, classes) each."""
    batches = ordered_batches(split, batch_size, modality=scoring.modality, settings=scoring.input)
    count = -(-len(split) // batch_size)
    shown = progress(batches, total=count, label="scores", unit="batches")
    name = scoring.precision
    advice = f"lower hardware.evaluate_batch_size, now {batch_size}; it changes no result"
    with memory_error(split.device, advice), precision(name), autocast(name, split.device):
        return fuse_heads(infer(model, shown), scoring.fusion_weight)


def _attend(model: nn.Module, split: Split, scoring: ScoreSettings) -> Attention | None:
    """Return a network's attention maps of each class's first test recording; None without attention."""
    first = np.unique(split.labels.numpy(), return_index=True)[1]
    return attend(model, split, torch.from_numpy(first), scoring)


def attend(
    model: nn.Module, split: Split, index: Tensor, scoring: ScoreSettings
) -> Attention | None:
    """Return a network's attention maps of some samples; None if it has no attention.

    Args:
        model: network in eval mode.
        split: the samples.
        index: (n,) int64, those that are asked for.
        scoring: the settings by which its network is scored.
    """
    if not (isinstance(model, DualHead) and gates(model)):
        return None
    maps: dict[str, list[Tensor]] = {}
    with precision("fp32"):
        for one in torch.split(index, 1):  # together they would take the memory of a training step
            batch = make_batch(
                split, one, modality=scoring.modality, settings=scoring.input, generator=None
            )
            for name, values in attention_maps(model, batch).items():
                maps.setdefault(name, []).append(values.float().cpu())
    names = [split.names[position] for position in index.tolist()]
    tables = {name: torch.cat(values).numpy() for name, values in maps.items()}
    return Attention(names, frame_numbers(split, index, scoring.input).numpy(), tables)


def _facts(config: RunConfig, training: Settings, num_test: int, num_classes: int) -> Settings:
    """Return the head of metrics.json: the run's identity and what its training cost."""
    same = ("parameters", "gmacs", "device", "peak_memory_mb", "final_loss", "git", "versions")
    return {
        "benchmark": config.benchmark,
        "variant": config.variant,
        "stream": config.modality,
        "seed": config.seed,
        "address": config.address,
        "num_test": num_test,
        "num_classes": num_classes,
        "train_seconds": training["seconds"],
        "train_samples_per_second": training["samples_per_second"],
        "data": training.get("data", {}),
        **{key: training[key] for key in same},
    }
