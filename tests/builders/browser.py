"""A headless Chromium, spoken to through a pipe: no driver, no port, no package."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
"""Seconds for one answer, on a busy machine."""
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio"),
    *("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-extensions", "--remote-debugging-pipe"),
)
BEGIN = """
import os, sys
for to, given in ((3, 1), (4, 2)):
    os.dup2(int(sys.argv[given]), to)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Gives Chromium its pipe at the two numbers that it expects."""
KEYS = {" ": "Space", "Enter": "Enter", "Tab": "Tab"}
TEXTS = {"Enter": "\r", "Tab": ""}


def chromium() -> str | None:
    """Return the path of Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """A tab, and all that its page asked for or complained of."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing, self._buffer = reading, writing, b""
        self._numbers = itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command to the tab and return the answer."""
        return self._ask(method, session=self._session, **parameters)

    def _ask(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, (method, found["error"])
                return dict(found["result"])

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            assert select.select([self._reading], [], [], end - time.monotonic())[0], "no answer"
            self._buffer += os.read(self._reading, 1 << 20)
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = dict(json.loads(line))
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, facts = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(facts["exceptionDetails"])[:600])
        if method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(facts["args"])[:600])
        if method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.complaints.append(facts["entry"]["text"])

    def open(
        self, path: Path, *, width: int = 1440, height: int = 1000, dark: bool = False
    ) -> None:
        """Open a file in a window of a size, in a system of light or dark colors."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.requests.clear()
        self.complaints.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 20.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key."""
        named = len(key) > 1
        facts = {
            "key": key,
            "code": KEYS.get(key, key if named else ""),
            "windowsVirtualKeyCode": _code(key),
        }
        text = TEXTS.get(key, "" if named else key)
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.ask("Input.dispatchKeyEvent", **down, **facts)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **facts)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at a place, move it, and let go at another."""
        places = [("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, (x, y) in places:
            self.ask(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=y, button="left", buttons=int(kind != "mouseReleased"), clickCount=1,
            )  # fmt: skip

    def click(self, selector: str) -> None:
        """Click on the middle of the first element that a selector finds."""
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        x, y = self.middle(selector)
        self.drag((x, y), (x, y))

    def middle(self, selector: str) -> tuple[float, float]:
        """Return the middle of an element in the window."""
        box = self.run(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of the window, or of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """Ask Chromium to end."""
        self._ask("Browser.close")

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=False)["data"])


def _code(key: str) -> int:
    arrows = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
    return arrows.get(key) or {"Enter": 13, "Tab": 9, "Escape": 27}.get(key) or ord(key[0].upper())


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Page]:
    """Start Chromium with an empty profile; yield a tab of it, and stop it at the end."""
    pipes = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for pair in (os.pipe(), os.pipe()) for fd in pair]
    its_input, writing, reading, its_output = pipes
    words = [sys.executable, "-c", BEGIN, str(its_input), str(its_output), program, *FLAGS]
    process = subprocess.Popen(
        [*words, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(its_input, its_output),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(its_input)
    os.close(its_output)
    try:
        page = Page(reading, writing)
        yield page
        page.close()
    finally:
        stop(process)
        os.close(writing)
        os.close(reading)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Wait for Chromium's end; end it and its children where it does not."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
