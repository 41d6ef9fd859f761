"""Signals that ask a training to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

Requested = Callable[[], int]
"""Returns the signal that asks to end, or 0."""


@contextmanager
def stop_requests(told: Requested | None = None) -> Iterator[Requested]:
    """Yield a callable returning the first stop signal received, or 0; a second signal has its default effect.

    A signal that is ignored stays so: under `nohup`, SIGHUP ends nothing.

    Args:
        told: the callable of another process, which receives the signals; this one then leaves them alone.
    """
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    before = {
        number: kept for number, kept in handlers.items() if kept not in (signal.SIG_IGN, None)
    }
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
    for number in before:
        signal.signal(number, note)
    try:
        yield first
    finally:
        restore()
