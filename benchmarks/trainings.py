"""Many trainings side by side on one device, for as long as it is lent: on a rented GPU for ten minutes, say.

    python -m benchmarks.trainings CONFIG... --store STORE --seconds 540

Each CONFIG is a run's `config.yaml`, as `snakemake` writes it (`results/runs/*/*/*/*/config.yaml`), the most
important first. It is trained and evaluated in its own folder by the commands that the workflow uses, so that a
workspace takes the results as its own; neither Snakemake nor DVC is needed where this runs. What is done already is
left out, and a training that was stopped goes on: the same command does the rest. Results so far are packed into
OUTPUT each time that a run ends. If a network has not begun to learn by `--by-epoch`, all ends at once, with code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import DEFAULT_MALLOC, environment
from benchmarks.timing import say
from dualhead.data.store import Store
from dualhead.files import replacing

RESULTS = ("config.yaml", "history.csv", "scores.h5", "metrics.json", "classes.csv")
LOG = "trainings.log"
STATE = "state.pt"
SAVING_SECONDS = 15  # that trainings have to save their state in
POLL_SECONDS = 0.5
UNFINISHED = 75
"""Exit code if the time was up before all was done; that of `dualhead train`, for the same reason."""
BETTER_THAN_CHANCE = 1.5
EPOCH = re.compile(r"^epoch (\d+)/\d+  lr \S+  loss (\S+)  train (\S+)", re.MULTILINE)


class Gate(NamedTuple):
    """Least that a network must have learned by an epoch."""

    epoch: int
    loss: float | None  # that its loss must be below; None: that of its first epoch
    train_top1: float  # percent of the training samples that it must recognize

    def is_passed(self, log: str) -> bool:
        """Return whether a training with this log has reached the epoch, and has learned."""
        reached = max((int(epoch) for epoch, *_ in EPOCH.findall(log)), default=0) >= self.epoch
        return reached and not self.refusal(log)

    def refusal(self, log: str) -> str:
        """Return why a training with this log has not learned, or nothing while it has, or may yet."""
        found = {int(epoch): (float(loss), float(top1)) for epoch, loss, top1 in EPOCH.findall(log)}
        if self.epoch not in found:
            return ""
        loss, top1 = found[self.epoch]
        limit = self.loss if self.loss is not None else found.get(1, (float("inf"), 0))[0]
        if loss < limit and top1 > self.train_top1:
            return ""
        return (
            f"epoch {self.epoch}: expected a loss below {limit:g} and more than {self.train_top1:g} % of the "
            f"training samples, found {loss:g} and {top1:g} %"
        )


def commands(options: argparse.Namespace, config: Path) -> list[list[str]]:
    """Return the arguments of `dualhead` that train and evaluate a run."""
    beside = config.with_name
    where = ["--store", options.store, "--device", options.device, "--threads", options.threads]
    where += ["--trainings-per-gpu", options.at_once]
    size, checkpoint = options.evaluate_batch_size, beside("checkpoint.pt")
    train = ["train", "--config", config, "--output", checkpoint, "--evaluate-batch-size", size]
    evaluate = ["evaluate", "--checkpoint", checkpoint, "--batch-size", size]
    evaluate += ["--scores", beside("scores.h5"), "--metrics", beside("metrics.json")]
    evaluate += ["--classes", beside("classes.csv")]
    todo = [evaluate] if checkpoint.exists() else [train, evaluate]
    return [[str(word) for word in [*command, *where]] for command in todo]


RUN = """
import json, sys
from dualhead.cli.main import main
for command in json.loads(sys.argv[1]):
    if code := main(command):
        sys.exit(code)
"""
"""Program of a run's process; evaluation finds what the training has compiled."""


def start(options: argparse.Namespace, config: Path) -> subprocess.Popen[bytes]:
    """Start to train and evaluate a run."""
    say(f"trainings: {config.parent}")
    with config.with_name(LOG).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(commands(options, config))],
            env=environment(options.threads, DEFAULT_MALLOC),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def run(options: argparse.Namespace, gate: Gate) -> int:
    """Train runs, so many at once, until all are done or the time is up; return the exit code."""
    end = time.monotonic() + options.seconds - SAVING_SECONDS
    todo = [config for config in options.configs if not config.with_name("metrics.json").exists()]
    say(f"trainings: {len(todo)} of {len(options.configs)} to do")
    running: dict[Path, subprocess.Popen[bytes]] = {}
    failed = False
    try:
        while (todo or running) and time.monotonic() < end:
            while todo and len(running) < options.at_once:
                config = todo.pop(0)
                running[config] = start(options, config)
            time.sleep(POLL_SECONDS)
            for config, process in list(running.items()):
                ended = process.poll() is not None
                log = log_of(config)
                if refusal := gate.refusal(log):
                    say(f"trainings: {config.parent}: it does not learn: {refusal}; all end")
                    give_up(running, gate)
                    return 1
                if ended:
                    del running[config]
                    failed |= process.returncode != 0
                    _say_end(config, process.returncode, log)
                    pack(options)
    finally:
        stop(running)
        pack(options)
    left = [config for config in options.configs if not config.with_name("metrics.json").exists()]
    say(f"trainings: {len(options.configs) - len(left)} of {len(options.configs)} are done")
    return int(failed) or (UNFINISHED if left else 0)


def log_of(config: Path) -> str:
    """Return what a run's process has said."""
    return config.with_name(LOG).read_text(errors="replace")


def _say_end(config: Path, code: int, log: str) -> None:
    last = "" if not code else f" with {code}: {' '.join(log.strip().splitlines()[-1:])}"
    say(f"trainings: {config.parent}: ended{last}")


def give_up(running: dict[Path, subprocess.Popen[bytes]], gate: Gate) -> None:
    """End trainings at once; remove the states of those that have not shown that they learn, so that none goes on."""
    for config, process in running.items():
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not gate.is_passed(log_of(config)):
            config.with_name(STATE).unlink(missing_ok=True)
    running.clear()


def stop(running: dict[Path, subprocess.Popen[bytes]]) -> None:
    """Let trainings save their states and end; end those that take too long."""
    for config, process in running.items():
        say(f"trainings: {config.parent}: stopped; the same command goes on")
        process.terminate()
    end = time.monotonic() + SAVING_SECONDS - 3
    for process in running.values():
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def pack(options: argparse.Namespace) -> None:
    """Pack results, logs, and what `--also` names; unpacked in the folder of the command they lie in their places."""
    with replacing(options.output) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for config in options.configs:
            for path in map(config.with_name, (*RESULTS, LOG, *options.also)):
                if path.exists():
                    archive.add(path)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trainings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("configs", nargs="+", type=Path, metavar="CONFIG", help="config.yaml of a run")
    add("--store", type=Path, required=True, help="the dataset of all of them")
    add("--seconds", type=float, required=True, help="after which all has ended")
    add("--at-once", type=int, default=4, help="trainings that share the device (default: 4)")
    add("--output", type=Path, default=Path("trainings.tar.gz"), help="(default: trainings.tar.gz)")
    add("--also", nargs="*", default=[], help=f"files to pack, too: checkpoint.pt {STATE}")
    add("--device", default="auto", help="auto | cpu | cuda (default: auto)")
    add("--threads", type=int, default=1, help="CPU threads of each (default: 1)")
    add("--evaluate-batch-size", type=int, default=64, help="(default: 64)")
    add("--by-epoch", type=int, default=3, help="epoch by which a network learns (default: 3)")
    add("--loss-below", type=float, help="loss then (default: that of epoch 1)")
    text = f"percent of training samples then (default: {BETTER_THAN_CHANCE} times chance)"
    add("--train-above", type=float, help=text)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse(arguments)
    try:
        for config in options.configs:
            if not config.is_file():
                raise ValueError(f"{config}: no such file; `snakemake` writes it before a training")
        with Store(options.store) as store:
            chance = 100 / len(store.class_names)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    least = options.train_above
    gate = Gate(
        options.by_epoch,
        options.loss_below,
        BETTER_THAN_CHANCE * chance if least is None else least,
    )
    return run(options, gate)


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # after states are saved
    sys.exit(main())
