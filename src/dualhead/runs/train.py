"""Training: one plain loop, which can be killed anywhere and ends in the same bits.

Everything that changes while it runs is in `Training`, and all of that is in the state file,
written whole after every epoch, every ten minutes, and when the process is asked to end. The state
lies beside the declared outputs and goes when they are there.
"""

from __future__ import annotations

import io
import pickle
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from dualhead.data.store import Store
from dualhead.files import replacing, write_csv
from dualhead.models import build_model
from dualhead.models.checkpoint import save_checkpoint
from dualhead.models.complexity import count_macs, count_parameters
from dualhead.params import Settings, address
from dualhead.progress import duration, progress
from dualhead.runs.distributed import ALONE, STOP_SIGNALS, Requested, Share
from dualhead.runs.evaluate import score_split
from dualhead.runs.inference import (
    autocast,
    choose_device,
    head_logits,
    memory_error,
    precision,
    use_cpu,
)
from dualhead.runs.loader import (
    Split,
    check_store,
    epoch_order,
    load_split,
    make_batch,
    send,
    split_positions,
)
from dualhead.runs.metrics import top_k_accuracy

REQUEUE = 75
"""Exit code of a training that was asked to end and has saved its state; run it again to go on.

It is EX_TEMPFAIL of sysexits.h; a scheduler may requeue on it."""

STATE_FORMAT = 2
SAVE_SECONDS = 600.0
CHECK_STEPS = 50  # between two looks at the loss, each of which waits for the device
PLAIN_STATE = (
    "epoch",
    "order",
    "history",
    "best",
    "seconds",
    "all_seconds",
    "samples",
    "peak_memory",
)
EVALUATED = ("test", "validation")  # what is looked at after an epoch; no gradient ever is of it


@dataclass
class Training:
    """Everything that changes while a network is trained.

    Attributes:
        model: the network.
        optimizer: with its momentum.
        generator: of sample order and augmentation, on the CPU.
        epoch: finished epochs.
        order: (batches, batch size), the samples of the running epoch; empty between two.
        records: of each finished step of the running epoch, scalars on the device.
        history: a row of history.csv for each finished epoch.
        best: selection -> `epoch`, `top1` and `model` where that accuracy was highest so far.
        samples: trained on so far.
        seconds: spent on that, over all processes.
        all_seconds: spent altogether, evaluation included.
        peak_memory: megabytes.
        counted_at: up to when `all_seconds` counts, by time.monotonic.
        saved_at: when the state was last written, by time.monotonic.
        share: which part of each batch this process computes.
    """

    model: nn.Module
    optimizer: torch.optim.SGD
    generator: Generator
    epoch: int = 0
    order: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))
    records: list[dict[str, Tensor]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Settings] = field(default_factory=dict)
    samples: int = 0
    seconds: float = 0.0
    all_seconds: float = 0.0
    peak_memory: float = 0.0
    counted_at: float = field(default_factory=time.monotonic)
    saved_at: float = field(default_factory=time.monotonic)
    share: Share = ALONE


def train(
    config: Settings,
    store: Path,
    output: Path,
    *,
    history: Path,
    state: Path,
    device: str,
    evaluate_batch_size: int,
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
        state: where to keep what a later process needs to go on; removed at the end.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        evaluate_batch_size: samples in memory at once where they are only scored.
        threads: of torch on the CPU; None leaves torch's own choice.
        share: of each batch, where several processes train together (`distributed.run_shared`).
        requested: says which signal asked to end; None notes this process's own signals.

    Returns:
        0, or `REQUEUE` if SIGTERM or SIGUSR1 came and the state was saved.

    Raises:
        ValueError: for a wrong store or state, a loss that is not finite, or too little memory.
        KeyboardInterrupt: after SIGINT; the state was saved.
    """
    use_cpu(threads)
    _check_settings(config, share)
    where = choose_device(device)
    with Store(store) as source:
        check_store(source, config, store)
        splits = _load_splits(source, config, where, share)
        run = begin(config, source, where, share)
        resume(run, state, config, where)
        share.wait()  # for all to have read the state
        with precision(config["train"]["precision"]), stop_requests(requested) as stop:
            size = evaluate_batch_size
            finished = _train_epochs(run, config, splits, size, state=state, stop=stop)
            if not finished:
                return _stopped(run, state, stop())
        if share.rank == 0:
            _write_results(run, config, source, output, history)
            state.unlink(missing_ok=True)
    return 0


def _write_results(
    run: Training, config: Settings, store: Store, output: Path, history: Path
) -> None:
    save_checkpoint(
        output,
        config=config,
        layout=store.layout.name,
        num_classes=store.num_classes,
        selections=_selections(run),
        training=_facts(run, config, store),
    )
    header = list(run.history[-1])
    write_csv(history, header, ([row.get(key, "") for key in header] for row in run.history))


def _stopped(run: Training, state: Path, number: int) -> int:
    if run.share.rank == 0:
        saved = f"{state}: saved in epoch {run.epoch + 1}; the same command goes on"
        print(saved, file=sys.stderr, flush=True)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    return REQUEUE


def _check_settings(config: Settings, share: Share) -> None:
    """Refuse numbers that make no training, and more processes than there is work for."""
    settings, frames = config["train"], config["input"]
    for key in ("epochs", "batch_size", "forward_batch_size", "passes", "evaluate_every"):
        if settings[key] < 1:
            raise ValueError(f"train.{key}: expected 1 or more, found {settings[key]}")
    if frames["random_crop"] > frames["num_frames"]:
        raise ValueError(
            f"input.random_crop: {frames['random_crop']} frames cannot be cut from the "
            f"{frames['num_frames']} of input.num_frames"
        )
    parts = settings["forward_batch_size"], settings["batch_size"] % settings["forward_batch_size"]
    if any(0 < part < share.size for part in parts):
        raise ValueError(
            f"hardware.gpus_per_training: {share.size} processes cannot share parts of a batch of "
            f"{' and '.join(str(part) for part in parts if part)} samples; use fewer GPUs, or let "
            "train.forward_batch_size divide train.batch_size"
        )


def _load_splits(
    store: Store, config: Settings, device: torch.device, share: Share
) -> dict[str, Split]:
    """Return `training`, and in the process that evaluates `test`, and `validation` if there is one.

    Where training samples are fewer than a batch, it says so.
    """
    positions = split_positions(store, config)
    for name in ("training", "test"):
        if not len(getattr(positions, name)):
            raise ValueError(f"{store.path}: split {config['split']} has no {name} samples")
    splits = {
        name: load_split(store, part, device)
        for name, part in positions._asdict().items()
        if len(part) and (name == "training" or share.rank == 0)
    }
    size, settings = len(splits["training"]) * config["train"]["passes"], config["train"]
    if size < settings["batch_size"]:
        print(
            f"{store.path}: only {size} training samples an epoch, so a batch is all of them, "
            f"not train.batch_size {settings['batch_size']}",
            file=sys.stderr,
        )
    return splits


def begin(config: Settings, store: Store, device: torch.device, share: Share = ALONE) -> Training:
    """Return a training at its beginning, which the seed decides."""
    torch.manual_seed(config["seed"])
    settings = {key: value for key, value in config["model"].items() if key != "name"}
    model = build_model(
        config["model"]["name"],
        settings,
        store.layout,
        store.num_classes,
        in_channels=store.layout.num_coordinates,
        num_bodies=store.max_bodies,
    ).to(device)
    share.synchronize(model)
    return Training(
        model=model,
        optimizer=make_optimizer(model, config["train"]),
        generator=Generator().manual_seed(config["seed"]),
        share=share,
    )


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.SGD:
    """Return SGD with Nesterov momentum, and weight decay on every parameter as the authors do."""
    return torch.optim.SGD(
        model.parameters(),
        lr=settings["learning_rate"],
        momentum=settings["momentum"],
        nesterov=settings["momentum"] > 0,
        weight_decay=settings["weight_decay"],
    )


def learning_rate(epoch: int, settings: Settings) -> float:
    """Return the learning rate of an epoch, counted from 0.

    It grows linearly over the warm-up epochs and is divided by 10 after each milestone: with
    milestone 40, the 41st epoch is the first slower one.
    """
    base: float = settings["learning_rate"]
    warmup: int = settings["warmup_epochs"]
    if epoch < warmup:
        return base * (epoch + 1) / warmup
    passed = sum(epoch >= milestone for milestone in settings["milestones"])
    return base / float(10**passed)


def training_step(
    run: Training, split: Split, index: Tensor, config: Settings
) -> dict[str, Tensor]:
    """Take one step on the samples `index`; return its loss, each head's, and the percentage right.

    Gradients are accumulated over parts of `forward_batch_size`, weighted by their share of the
    batch; batch statistics are those of a part. Of each part every process makes the whole batch,
    so that all draw the same numbers, and computes its share.
    """
    settings = config["train"]
    run.optimizer.zero_grad()
    total: dict[str, Tensor] = {}
    for part in torch.split(index, settings["forward_batch_size"]):
        own = run.share.own(len(part))
        batch = make_batch(
            split,
            part,
            modality=config["modality"],
            settings=config["input"],
            generator=run.generator,
        )[own]
        labels = send(split.labels[part[own]], split.device)
        with autocast(settings["precision"], split.device):
            logits = head_logits(run.model, batch)
        record = _losses(logits, labels, settings["loss"])
        weight = len(labels) / len(index)
        (weight * record["loss"]).backward()  # type: ignore[no-untyped-call]
        record["train_top1"] = _accuracy(logits, labels, config["evaluate"]["fusion_weight"])
        total = {key: total.get(key, 0) + weight * value.detach() for key, value in record.items()}
    gradients = [weight.grad for weight in run.model.parameters() if weight.grad is not None]
    run.share.add_up([*gradients, *total.values()])
    run.optimizer.step()
    return total


def _losses(logits: Mapping[str, Tensor], labels: Tensor, kind: str) -> dict[str, Tensor]:
    """Return each head's cross entropy, and their sum (Sec. 3.6) or mean (official code)."""
    losses = {f"loss_{head}": cross_entropy(values, labels) for head, values in logits.items()}
    total = torch.stack(list(losses.values())).sum()
    return {"loss": total / len(losses) if kind == "mean" else total, **losses}


def _accuracy(logits: Mapping[str, Tensor], labels: Tensor, weight: float) -> Tensor:
    """Return the percentage of a batch that the fused softmax gets right."""
    scores = {head: softmax(values.detach(), dim=-1) for head, values in logits.items()}
    if "fusion" not in scores:
        scores["fusion"] = weight * scores["coarse"] + (1 - weight) * scores["fine"]
    return 100 * (scores["fusion"].argmax(-1) == labels).float().mean()


def _train_epochs(
    run: Training,
    config: Settings,
    splits: dict[str, Split],
    evaluate_batch_size: int,
    *,
    state: Path,
    stop: Requested,
) -> bool:
    """Train until the last epoch is done; False if a stop was asked for, with the state saved."""
    settings = config["train"]
    while run.epoch < settings["epochs"]:
        if _train_epoch(run, splits["training"], config, state=state, stop=stop):
            save_state(run, state, config)
            return False
        _finish_epoch(run, splits, config, evaluate_batch_size)
        save_state(run, state, config)
        if run.share.rank == 0:
            print(_epoch_line(run, settings), file=sys.stderr, flush=True)
    return True


def _epochs_done(run: Training) -> float:
    return run.epoch + len(run.records) / max(len(run.order), 1)


def _train_epoch(
    run: Training,
    split: Split,
    config: Settings,
    *,
    state: Path,
    stop: Requested,
) -> bool:
    """Take the remaining steps of the running epoch, or those up to a stop; say whether one came."""
    settings = config["train"]
    if not len(run.order):
        sizes = len(split), settings["batch_size"], settings["passes"]
        run.order = epoch_order(*sizes, run.generator)
    rate = learning_rate(run.epoch, settings)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.model.train()
    _count_time(run)
    stopped = False
    with memory_error(split.device, _memory_advice(settings)):
        for index in _show(run, settings):
            run.records.append(training_step(run, split, index, config))
            run.samples += len(index)
            run.seconds += _count_time(run)
            if len(run.records) % CHECK_STEPS == 0:
                refuse_divergence(run)
            if time.monotonic() - run.saved_at > SAVE_SECONDS:
                save_state(run, state, config)
            if stopped := run.share.any(bool(stop())):
                break
    refuse_divergence(run)
    run.seconds += _count_time(run)
    return stopped


def _seconds_left(run: Training, settings: Settings) -> float:
    """Return how long the rest takes if it goes on as it went so far."""
    return run.all_seconds * (float(settings["epochs"]) / _epochs_done(run) - 1)


def _show(run: Training, settings: Settings) -> Iterator[Tensor]:
    """Yield the remaining batches of the running epoch, with a progress bar."""
    steps = run.order[len(run.records) :]
    if run.share.rank:
        return iter(steps)
    return progress(
        steps,
        total=len(steps),
        label=f"epoch {run.epoch + 1}/{settings['epochs']}",
        unit="samples",
        scale=run.order.shape[1],
        describe=lambda: (
            f"loss {float(run.records[-1]['loss']):.3f}, all epochs: "
            f"{duration(_seconds_left(run, settings))}"
        ),
    )


def _memory_advice(settings: Settings) -> str:
    return (
        f"lower train.forward_batch_size, now {settings['forward_batch_size']}; gradients are "
        f"accumulated, so the effective train.batch_size stays {settings['batch_size']}"
    )


def refuse_divergence(run: Training) -> None:
    """Stop at the first loss that is not finite.

    Raises:
        ValueError: if there is one in the running epoch.
    """
    losses = torch.stack([record["loss"] for record in run.records])
    bad = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
    if bad:
        rate = run.optimizer.param_groups[0]["lr"]
        raise ValueError(
            f"the loss is {float(losses[bad[0]])} in epoch {run.epoch + 1}, step {bad[0] + 1} of "
            f"{len(run.order)}, at learning rate {rate:g}; try a lower train.learning_rate, "
            "train.warmup_epochs, or train.precision fp32"
        )


def _count_time(run: Training) -> float:
    """Add the time since the last call to the run's; return it."""
    passed = time.monotonic() - run.counted_at
    run.counted_at += passed
    run.all_seconds += passed
    return passed


def _finish_epoch(
    run: Training, splits: dict[str, Split], config: Settings, batch_size: int
) -> None:
    """Evaluate where it is due, and write the epoch's row of the history."""
    settings = config["train"]
    means = {
        key: float(torch.stack([record[key] for record in run.records]).double().mean())
        for key in run.records[0]
    }
    rate = float(run.optimizer.param_groups[0]["lr"])
    run.epoch += 1
    row = {"epoch": run.epoch, "learning_rate": rate, **means}
    due = run.epoch % settings["evaluate_every"] == 0 or run.epoch == settings["epochs"]
    if due and run.share.rank == 0:
        for part in [part for part in EVALUATED if part in splits]:
            row |= _accuracies(run.model, splits[part], part, config, batch_size)
            _keep_best(run, f"best_on_{part}", row[f"{part}_fusion_top1"])
    _count_time(run)
    spent = sum(earlier["seconds"] for earlier in run.history)
    run.history.append({**row, "seconds": round(run.all_seconds - spent, 3)})
    run.order, run.records = run.order[:0], []
    run.peak_memory = max(run.peak_memory, _peak_memory(splits["training"].device))


def _accuracies(
    model: nn.Module, split: Split, part: str, config: Settings, batch_size: int
) -> dict[str, float]:
    """Return `<part>_<head>_top1` of each head and of the fused softmax scores, in percent."""
    labels = split.labels.numpy()
    return {
        f"{part}_{head}_top1": top_k_accuracy(kinds["softmax"], labels, 1)
        for head, kinds in score_split(model, split, config, batch_size).items()
    }


def _keep_best(run: Training, selection: str, top1: float) -> None:
    """Keep the weights of the finished epoch if no epoch before was as good."""
    if top1 > run.best.get(selection, {}).get("top1", -1.0):
        run.best[selection] = {"epoch": run.epoch, "top1": top1, "model": _weights(run)}


def _weights(run: Training) -> dict[str, Tensor]:
    """Return a copy of the network's weights and statistics, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in run.model.state_dict().items()}


def _epoch_line(run: Training, settings: Settings) -> str:
    """Return an epoch as the log shows it."""
    row = run.history[-1]
    evaluated = [_evaluated_text(row, part) for part in EVALUATED if f"{part}_fusion_top1" in row]
    return "  ".join(
        [
            f"epoch {run.epoch}/{settings['epochs']}",
            f"lr {row['learning_rate']:g}",
            f"loss {row['loss']:.4f}",
            f"train {row['train_top1']:.2f}",
            *evaluated,
            f"{run.samples / run.seconds:.1f} samples/s",
            f"{duration(_seconds_left(run, settings))} left",
        ]
    )


def _evaluated_text(row: dict[str, float], part: str) -> str:
    """Return `test coarse 81.20 fine 82.00 fusion 83.10`."""
    heads = {key.split("_")[1]: value for key, value in row.items() if key.startswith(f"{part}_")}
    return " ".join([part, *(f"{head} {value:.2f}" for head, value in heads.items())])


@contextmanager
def stop_requests(told: Requested | None = None) -> Iterator[Requested]:
    """Yield what returns the SIGTERM, SIGUSR1 or SIGINT that came, or 0; a second one acts as ever.

    Where it is `told` by others, the signals are left alone.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    received: list[int] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: object) -> None:
        received.append(number)
        restore()

    def first() -> int:
        return received[0] if received else 0

    if told or threading.current_thread() is not threading.main_thread():
        yield told or first  # only the main thread may handle signals
        return
    for number in STOP_SIGNALS:
        signal.signal(number, note)
    try:
        yield first
    finally:
        restore()


def save_state(run: Training, path: Path, config: Settings) -> None:
    """Write all that a later process needs to go on in the same bits, whole or not at all."""
    if run.share.rank:
        return  # the first process has the same
    if run.records:
        refuse_divergence(run)
    _count_time(run)
    content = {
        "format": STATE_FORMAT,
        "config": address(config),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "generator": run.generator.get_state(),
        "torch_generator": torch.get_rng_state(),
        "records": run.records,
        **{name: getattr(run, name) for name in PLAIN_STATE},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    run.saved_at = time.monotonic()


def resume(run: Training, path: Path, config: Settings, device: torch.device) -> None:
    """Put a training where its state file left it, if there is one.

    Raises:
        ValueError: if the file is unreadable or another run's.
    """
    if not path.exists():
        return
    content = _read_state(path)
    if content.get("format") != STATE_FORMAT or content["config"] != address(config):
        raise ValueError(
            f"{path}: expected the state of run {address(config)}, format {STATE_FORMAT}; found "
            f"{content.get('config')}, format {content.get('format')}. Remove it to train anew"
        )
    run.model.load_state_dict(content["model"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.generator.set_state(content["generator"])
    torch.set_rng_state(content["torch_generator"])
    run.records = [
        {key: value.to(device) for key, value in record.items()} for record in content["records"]
    ]
    for name in PLAIN_STATE:
        setattr(run, name, content[name])
    print(f"{path}: going on after {_epochs_done(run):.2f} epochs", file=sys.stderr, flush=True)


def _read_state(path: Path) -> Settings:
    try:
        content: Settings = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path}: not a training's state ({error}); remove it to train from the beginning"
        ) from error
    return content


def _selections(run: Training) -> dict[str, Settings]:
    """Return the weights that are kept: the last epoch's, and those that did best.

    The authors report those that did best on the test set, chosen by looking at it; ours are the
    last. Best on held-out subjects is what one could choose without looking.
    """
    best = {
        selection: {key: kept[key] for key in ("epoch", "model")}
        for selection, kept in run.best.items()
    }
    return {"last": {"epoch": run.epoch, "model": _weights(run)}, **best}


def _facts(run: Training, config: Settings, store: Store) -> Settings:
    """Return what the checkpoint tells of its training."""
    device = next(run.model.parameters()).device
    frames, layout = config["input"]["num_frames"], store.layout
    shape = (1, layout.num_coordinates, frames, layout.num_joints, store.max_bodies)
    return {
        "epochs": run.epoch,
        "seconds": round(run.all_seconds, 3),
        "samples_per_second": round(run.samples / run.seconds, 3),
        "final_loss": run.history[-1]["loss"],
        "device": _device_name(device, run.share),
        "peak_memory_mb": round(run.peak_memory, 1),
        "parameters": count_parameters(run.model),
        "gmacs": count_macs(run.model, shape) / 1e9,
        "data": {key: store.attributes[key] for key in ("fingerprint", "settings")},
        "git": _git_commit(),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    }


def _device_name(device: torch.device, share: Share) -> str:
    on_gpu = device.type == "cuda"
    cpu = f"CPU, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if on_gpu else cpu
    return name if share.size == 1 else f"{share.size} x {name}"


def _peak_memory(device: torch.device) -> float:
    """Return the most memory this process has held, in megabytes: of the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux counts in KiB


def _git_commit() -> str:
    """Return the commit of the code, marked if it was changed since; empty outside a repository."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
