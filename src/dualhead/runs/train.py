"""Training: one plain loop, which can be killed anywhere and ends in the same bits.

The same bits need the same kind of processor and the same number of threads: with another, sums are added in another
order. On a GPU, bits may differ from run to run.

Everything that changes while it runs is in `state.Training`, and all of that is in the state file.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor

from dualhead.data.store import Store
from dualhead.files import digest_of, write_csv
from dualhead.models import build_model
from dualhead.models.checkpoint import save_checkpoint
from dualhead.models.complexity import count_macs, count_parameters
from dualhead.progress import duration, progress
from dualhead.runs.batches import Split, balanced_order, epoch_order, load_split
from dualhead.runs.board import Show, board
from dualhead.runs.distributed import ALONE, Share
from dualhead.runs.environment import device_name, git_commit, peak_memory, versions
from dualhead.runs.evaluate import score_split
from dualhead.runs.inference import choose_device, memory_error, precision, use_cpu
from dualhead.runs.metrics import top_k_accuracy
from dualhead.runs.partition import check_store, split_positions
from dualhead.runs.state import Training, refuse_divergence, resume, save_state
from dualhead.runs.step import learning_rate, make_optimizer, training_step
from dualhead.runs.stopping import Requested, stop_requests
from dualhead.runs.tune import class_weights, freeze, take_weights
from dualhead.settings.params import Settings
from dualhead.settings.run import RunConfig, TrainSettings

REQUEUE = 75
"""Exit code of a training that was asked to end and has saved its state; run it again to go on.

It is EX_TEMPFAIL of sysexits.h; a scheduler may requeue on it."""

SAVE_SECONDS = 600.0
CHECK_STEPS = 50  # between two looks at the loss, each of which waits for the device
EVALUATED = ("test", "validation")
"""Parts of the store that are evaluated after an epoch; no gradient is ever computed of them."""


def train(
    config: RunConfig,
    store: Path,
    output: Path,
    *,
    history: Path,
    state: Path,
    device: str,
    evaluate_batch_size: int,
    parent: Path | None = None,
    tensorboard: Path | None = None,
    threads: int | None = None,
    share: Share = ALONE,
    requested: Requested | None = None,
) -> int:
    """Train a run's network and write its checkpoint and history.

    Args:
        config: the run's complete settings.
        store: the dataset.
        output: the checkpoint to write.
        history: the CSV to write, one row an epoch.
        state: file that a later process goes on from; evaluation removes it, when it is of no more use.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        evaluate_batch_size: samples in memory at once where they are only scored.
        parent: the checkpoint that the training begins with, whose digest is `train.from`.
        tensorboard: folder to write each epoch's row to, for TensorBoard.
        threads: number of torch's threads on the CPU; None leaves torch's own choice.
        share: this process's part of each batch, where several train together (`distributed.run_shared`).
        requested: returns the signal that asks to end, or 0; None notes this process's own signals.

    Returns:
        0, or `REQUEUE` if SIGTERM, SIGUSR1 or SIGHUP came and the state was saved.

    Raises:
        ValueError: for a wrong store or state, a loss that is not finite, or too little memory.
        KeyboardInterrupt: after SIGINT; the state was saved.
    """
    use_cpu(threads)
    _check_settings(config, share)
    where = choose_device(device)
    with Store(store) as source:
        check_store(source, config)
        splits = _load_splits(source, config, where, share)
        run = begin(config, source, where, share, parent)
        run.class_weights = class_weights(config.train, splits["training"].labels, source, where)
        resume(run, state, config, where)
        share.wait()  # for all to have read the state
        with (
            precision(config.train.precision),
            stop_requests(requested) as stop,
            board(None if share.rank else tensorboard, run.epoch + 1) as show,
        ):
            if not _train_epochs(
                run, config, splits, evaluate_batch_size, state=state, stop=stop, show=show
            ):
                return _interrupted(run, state, stop())
        if share.rank == 0:
            _write_results(run, config, source, output, history)
    return 0


def _interrupted(run: Training, state: Path, signal_number: int) -> int:
    """Print the place of the saved state; return `REQUEUE`, or raise KeyboardInterrupt after a Ctrl-C."""
    if run.share.rank == 0:
        saved = f"{state}: saved in epoch {run.epoch + 1}; the same command goes on"
        print(saved, file=sys.stderr, flush=True)
    if signal_number == signal.SIGINT:
        raise KeyboardInterrupt
    return REQUEUE


def _train_epochs(
    run: Training,
    config: RunConfig,
    splits: dict[str, Split],
    evaluate_batch_size: int,
    *,
    state: Path,
    stop: Requested,
    show: Show,
) -> bool:
    """Train until the last epoch is done; return False if a stop was asked for, with the state saved."""
    settings, split = config.train, splits["training"]
    advice = (
        f"lower train.forward_batch_size, now {settings.forward_batch_size}; gradients are "
        f"accumulated, so the effective train.batch_size stays {settings.batch_size}"
    )
    while run.epoch < settings.epochs:
        if not len(run.order):
            run.order = _epoch_order(split, settings, run.generator)
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(run.epoch, settings) * group.get("factor", 1)
        run.model.train()
        run.count_time()
        stopped = False
        with memory_error(split.device, advice):
            for index in _remaining_batches(run, settings):
                run.records.append(training_step(run, split, index, config))
                run.samples += len(index)
                run.seconds += run.count_time()
                if len(run.records) % CHECK_STEPS == 0:
                    refuse_divergence(run)
                if time.monotonic() - run.saved_at > SAVE_SECONDS:
                    save_state(run, state, config)
                if stopped := run.share.any(bool(stop())):
                    break
        refuse_divergence(run)
        run.seconds += run.count_time()
        if not stopped:
            _finish_epoch(run, splits, config, evaluate_batch_size)
        save_state(run, state, config)
        if stopped:
            return False
        if run.share.rank == 0:
            print(_epoch_line(run, settings), file=sys.stderr, flush=True)
            show(run.history[-1])
    return True


def _epoch_order(split: Split, settings: TrainSettings, generator: Generator) -> Tensor:
    """Return the samples of each batch of an epoch, (batches, batch size)."""
    sizes = settings.batch_size, settings.passes
    if settings.balanced_sampler:
        return balanced_order(split.labels, *sizes, generator)
    return epoch_order(len(split), *sizes, generator)


def _remaining_batches(run: Training, settings: TrainSettings) -> Iterator[Tensor]:
    """Yield the remaining batches of the running epoch, with a progress bar in the first process."""
    steps = run.order[len(run.records) :]
    if run.share.rank:
        return iter(steps)
    return progress(
        steps,
        total=len(steps),
        label=f"epoch {run.epoch + 1}/{settings.epochs}",
        unit="samples",
        scale=run.order.shape[1],
        describe=lambda: (
            f"loss {float(run.records[-1]['loss']):.3f}, all epochs: "
            f"{duration(run.seconds_left(settings.epochs))}"
        ),
    )


def _finish_epoch(
    run: Training, splits: dict[str, Split], config: RunConfig, batch_size: int
) -> None:
    """Evaluate if it is due, keep the best weights, and add the epoch's row to the history."""
    settings = config.train
    row = {"epoch": run.epoch + 1, "learning_rate": float(run.optimizer.param_groups[0]["lr"])}
    for key in run.records[0]:
        row[key] = float(torch.stack([record[key] for record in run.records]).double().mean())
    run.epoch += 1
    due = run.epoch % settings.evaluate_every == 0 or run.epoch == settings.epochs
    for part in [part for part in EVALUATED if part in splits and due and run.share.rank == 0]:
        labels = splits[part].labels.numpy()
        for head, kinds in score_split(run.model, splits[part], config.scoring, batch_size).items():
            row[f"{part}_{head}_top1"] = top_k_accuracy(kinds["softmax"], labels, 1)
        top1, best = row[f"{part}_fusion_top1"], run.best.get(f"best_on_{part}", {"top1": -1.0})
        if top1 > best["top1"]:
            kept = {"epoch": run.epoch, "top1": top1, "model": run.weights()}
            run.best[f"best_on_{part}"] = kept
    run.count_time()
    spent = sum(earlier["seconds"] for earlier in run.history)
    run.history.append({**row, "seconds": round(run.all_seconds - spent, 3)})
    run.order, run.records = run.order[:0], []
    run.peak_memory = max(run.peak_memory, peak_memory(splits["training"].device))


def _epoch_line(run: Training, settings: TrainSettings) -> str:
    """Return an epoch as the log shows it."""
    row, evaluated = run.history[-1], []
    for part in [part for part in EVALUATED if f"{part}_fusion_top1" in row]:
        heads = [key for key in row if key.startswith(f"{part}_")]
        shown = (f"{key.split('_')[1]} {row[key]:.2f}" for key in heads)
        evaluated.append(" ".join([part, *shown]))  # test coarse 81.20 fine 82.00 fusion 83.10
    return "  ".join(
        [
            f"epoch {run.epoch}/{settings.epochs}",
            f"lr {row['learning_rate']:g}",
            f"loss {row['loss']:.4f}",
            f"train {row['train_top1']:.2f}",
            *evaluated,
            f"{run.samples / run.seconds:.1f} samples/s",
            f"{duration(run.seconds_left(settings.epochs))} left",
        ]
    )


def _write_results(
    run: Training, config: RunConfig, store: Store, output: Path, history: Path
) -> None:
    """Write the history, then the checkpoint with the last epoch's weights and those that did best.

    The authors report the weights that did best on the test set, chosen by looking at it; ours are
    the last. Best on held-out subjects is what one could choose without looking.
    """
    selections = {"last": {"epoch": run.epoch, "model": run.weights()}}
    for name, kept in run.best.items():
        selections[name] = {"epoch": kept["epoch"], "model": kept["model"]}
    header = list(run.history[-1])
    write_csv(history, header, ([row.get(key, "") for key in header] for row in run.history))
    save_checkpoint(
        output,
        config=config.to_mapping(),
        layout=store.layout,
        class_names=store.class_names,
        preparation=store.attributes["settings"],
        selections=selections,
        training=_facts(run, config, store) | {"files": {history.name: digest_of(history)}},
    )


def _facts(run: Training, config: RunConfig, store: Store) -> Settings:
    """Return the facts about a training that its checkpoint keeps."""
    device = next(run.model.parameters()).device
    frames, layout = config.input.num_frames, store.layout
    shape = (1, layout.num_coordinates, frames, layout.num_joints, store.max_bodies)
    return {
        "epochs": run.epoch,
        "seconds": round(run.all_seconds, 3),
        "samples_per_second": round(run.samples / run.seconds, 3),
        "final_loss": run.history[-1]["loss"],
        "device": device_name(device, run.share.size),
        "peak_memory_mb": round(run.peak_memory, 1),
        "parameters": count_parameters(run.model),
        "gmacs": count_macs(run.model, shape) / 1e9,
        "data": {key: store.attributes[key] for key in ("fingerprint", "settings")},
        "git": git_commit(),
        "versions": versions(),
        **({"tuned": run.tuned} if run.tuned else {}),
    }


def _check_settings(config: RunConfig, share: Share) -> None:
    """Refuse a crop of more frames than there are, and more processes than there is work for."""
    settings, frames = config.train, config.input
    if frames.random_crop > frames.num_frames:
        raise ValueError(
            f"input.random_crop: {frames.random_crop} frames cannot be cut from the "
            f"{frames.num_frames} of input.num_frames"
        )
    parts = settings.forward_batch_size, settings.batch_size % settings.forward_batch_size
    if any(0 < part < share.size for part in parts):
        raise ValueError(
            f"hardware.gpus_per_training: {share.size} processes cannot share parts of a batch of "
            f"{' and '.join(str(part) for part in parts if part)} samples; use fewer GPUs, or let "
            "train.forward_batch_size divide train.batch_size"
        )


def _load_splits(
    store: Store, config: RunConfig, device: torch.device, share: Share
) -> dict[str, Split]:
    """Return `training`, and in the process that evaluates `test`, and `validation` if there is one.

    Where training samples are fewer than a batch, it says so.
    """
    positions = split_positions(store, config)
    for name in ("training", "test"):
        if not len(getattr(positions, name)):
            raise ValueError(f"{store.path}: split {config.split} has no {name} samples")
    splits = {
        name: load_split(store, part, device)
        for name, part in positions._asdict().items()
        if len(part) and (name == "training" or share.rank == 0)
    }
    size, settings = len(splits["training"]) * config.train.passes, config.train
    if size < settings.batch_size:
        print(
            f"{store.path}: only {size} training samples an epoch, so a batch is all of them, "
            f"not train.batch_size {settings.batch_size}",
            file=sys.stderr,
        )
    return splits


def begin(
    config: RunConfig,
    store: Store,
    device: torch.device,
    share: Share = ALONE,
    parent: Path | None = None,
) -> Training:
    """Return a training at its beginning: weights and order follow from the seed, or weights from a checkpoint."""
    torch.manual_seed(config.seed)
    settings = {key: value for key, value in config.model.items() if key != "name"}
    model = build_model(
        config.model["name"],
        settings,
        store.layout,
        store.num_classes,
        in_channels=store.layout.num_coordinates,
        num_bodies=store.max_bodies,
    )
    tuned = take_weights(model, config, store.layout, parent)
    freeze(model, config.train.freeze)
    model = model.to(device)
    share.synchronize(model)
    return Training(
        model=model,
        optimizer=make_optimizer(model, config.train),
        generator=Generator().manual_seed(config.seed),
        share=share,
        tuned=tuned,
    )
