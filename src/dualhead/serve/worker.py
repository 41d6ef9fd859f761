"""A process that holds networks and answers for recordings; it is ended when it takes too long."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import threading
import zipfile
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dualhead.files import FOREIGN
from dualhead.settings.params import Settings

if TYPE_CHECKING:  # torch is for the other process
    from dualhead.runs.predict import Ensemble

STARTING = 600.0
"""Seconds that networks may take to be loaded."""
UNPACKED = 20
"""Times its own size that an archive may hold."""
MEMBERS = 10_000
"""Files that an archive may hold: frames of one recording."""


class Refused(ValueError):
    """Refusal of a recording, in one line."""


class Late(Exception):
    """A recording that took longer than it may, or came while another was answered for."""


class Ended(Exception):
    """The end of the process while it answered."""


class Limits(NamedTuple):
    """Bounds of one question."""

    megabytes: float  # of a recording's file
    seconds: float  # of answering; of waiting for others, as many

    @property
    def num_bytes(self) -> int:
        """Bytes of a recording's file."""
        return int(self.megabytes * 1e6)


class Computing(NamedTuple):
    """Networks, and what they compute on."""

    checkpoints: tuple[Path, ...]  # one, or several whose scores are averaged
    device: str  # `auto`, `cpu`, `cuda`, `cuda:1`
    threads: int | None = None  # of torch, on the CPU; None: its own choice


class Worker:
    """One process with the networks, started anew after it was ended.

    Attributes:
        facts: input and classes of its networks, by `_facts`.
    """

    def __init__(self, computing: Computing, limits: Limits) -> None:
        """Start the process and wait until its networks are loaded.

        Raises:
            ValueError: if they cannot be.
        """
        self._arguments = (computing, limits.num_bytes)
        self._limits = limits
        self._turn = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self.facts = self._start()

    def _start(self) -> Settings:
        context = multiprocessing.get_context("spawn")
        self._pipe, its_end = context.Pipe()
        self._process = context.Process(target=_work, args=(its_end, *self._arguments), daemon=True)
        self._process.start()
        its_end.close()
        facts = self._receive(STARTING)
        if facts is None:
            self.stop()
            raise ValueError(f"the networks were not loaded within {STARTING:g} seconds")
        loaded: Settings = _of(facts)
        return loaded

    def ask(self, content: bytes, name: str, said: Settings) -> list[Settings]:
        """Return the rows that `dualhead predict --json` writes for a file.

        Args:
            content: the file's.
            name: the file's, by whose ending it is read.
            said: settings of it, and `window` and `stride`.

        Raises:
            Refused: if it cannot be answered for.
            Late: if the time is over.
            Ended: if the process ended meanwhile.
        """
        if not self._turn.acquire(timeout=self._limits.seconds):
            raise Late("others are being answered for; ask again")
        try:
            if self._process is None or not self._process.is_alive():
                self.stop()
                self._start()
            self._send(json.dumps({"name": name, "said": said}).encode(), content)
            answer = self._receive(self._limits.seconds)
            if answer is None:
                self.stop()
                raise Late(
                    f"{name}: no answer within {self._limits.seconds:g} seconds; send a shorter "
                    "recording, or serve with more --seconds"
                )
        finally:
            self._turn.release()
        rows: list[Settings] = _of(answer)
        return rows

    def _send(self, *messages: bytes) -> None:
        assert self._pipe is not None, "started"
        try:
            for message in messages:
                self._pipe.send_bytes(message)
        except OSError as error:
            raise self._end() from error

    def _end(self) -> Ended:
        """Return the reason for which a process ended by itself, once nothing of it is left."""
        self.stop()
        return Ended("answering failed, and what is printed beside the server says why")

    def _receive(self, seconds: float) -> Settings | None:
        """Return the process's next message; None if there is none in time.

        Raises:
            Ended: if the process ended instead.
        """
        assert self._pipe is not None, "started"
        if not self._pipe.poll(seconds):
            return None
        try:
            found: Settings = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._end() from error
        return found

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _of(message: Settings) -> Any:
    """Return the content of a message.

    Raises:
        Refused: if that is a refusal.
    """
    if "refused" in message:
        raise Refused(message["refused"])
    return message["answer"]


def _work(pipe: Connection, computing: Computing, num_bytes: int) -> None:
    """Answer questions until nobody asks any more."""
    from dualhead.runs.inference import use_cpu
    from dualhead.runs.predict import load_ensemble

    def tell(**message: object) -> None:
        pipe.send_bytes(json.dumps(message).encode())

    try:
        use_cpu(computing.threads)
        ensemble = load_ensemble(computing.checkpoints, computing.device)
        tell(answer=_facts(ensemble))
    except FOREIGN as error:
        tell(refused=_one_line(error))
        return
    while True:
        try:
            question = json.loads(pipe.recv_bytes())
            content = pipe.recv_bytes()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            tell(answer=_answer(ensemble, content, num_bytes, **question))
        except FOREIGN as error:
            tell(refused=_one_line(error))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _facts(ensemble: Ensemble) -> Settings:
    """Return the input and the classes of networks."""
    first = ensemble.networks[0].content
    return {
        "checkpoints": [network.path.name for network in ensemble.networks],
        "modalities": [network.content["config"]["modality"] for network in ensemble.networks],
        "layout": ensemble.layout.name,
        "joints": [*ensemble.layout.joints],
        "classes": [*ensemble.class_names],
        "num_classes": ensemble.num_classes,
        "preparation": first["preparation"],
    }


def _answer(
    ensemble: Ensemble, content: bytes, num_bytes: int, *, name: str, said: Settings
) -> list[dict[str, object]]:
    from dualhead.runs.answers import row_of
    from dualhead.runs.predict import answer_recordings
    from dualhead.runs.recordings import Windows

    recordings = {key: value for key, value in said.items() if key not in ("window", "stride")}
    length = said.get("window", 0)
    windows = Windows(length, said.get("stride") or length // 2 or 1)
    with tempfile.TemporaryDirectory(prefix="dualhead-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        _refuse_large(path, UNPACKED * num_bytes)
        try:
            answers = answer_recordings(ensemble, [path], recordings, windows)
        except FOREIGN as error:
            raise ValueError(_one_line(error).replace(f"{folder}/", "")) from None
    return [row_of(answer, ensemble.class_names, windowed=length > 0) for answer in answers]


def _refuse_large(path: Path, num_bytes: int) -> None:
    """Refuse an archive that holds much more than its own size, before it is unpacked."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    total = sum(member.file_size for member in members)
    if total > num_bytes or len(members) > MEMBERS:
        raise ValueError(
            f"{path.name}: expected an archive of at most {num_bytes / 1e6:g} MB and {MEMBERS} files, found "
            f"{total / 1e6:g} MB in {len(members)}; send its recordings one by one"
        )
