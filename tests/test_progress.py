import io
import sys

import pytest

from dualhead import progress as progress_module
from dualhead.progress import duration, progress, terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_plain_lines_with_rate_and_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    items = progress(range(4), total=4, label="epoch 1/2", unit="samples", scale=16)
    assert list(items) == [0, 1, 2, 3]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("epoch 1/2: 32/64 samples, ")
    assert lines[1].endswith("left")
    assert "\r" not in "".join(lines)


def test_a_short_loop_says_nothing_in_a_log(capsys):
    assert list(progress(range(4), total=4, label="short")) == [0, 1, 2, 3]
    assert capsys.readouterr().err == ""


def test_a_person_gets_a_bar_with_the_description(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    items = progress([1, 2], total=2, label="epoch 1/2", scale=8, describe=lambda: "loss 2.31")
    assert list(items) == [1, 2]
    assert "epoch 1/2" in terminal.getvalue()
    assert "16" in terminal.getvalue()


def test_leaving_the_loop_early_closes_the_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    for item in progress(range(10), total=10, label="early"):
        if item == 3:
            break
    assert item == 3


@pytest.mark.parametrize(("seconds", "text"), [(95.0, "01:35"), (3695.0, "1:01:35")])
def test_durations_are_read_as_a_clock(seconds, text):
    assert text == duration(seconds)


@pytest.mark.parametrize(("name", "colored"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_colors_need_a_terminal_and_no_wish_against_them(monkeypatch, name, colored):
    for variable in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv(name, "1")
    console = terminal()
    with console.capture() as told:
        console.print("[red]below[/]", end="")
    assert ("\x1b[31m" in told.get()) == colored


def test_a_file_gets_wide_plain_lines(monkeypatch, capsys):
    for variable in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    terminal().print("[red]" + "word " * 38 + "[/]")
    assert capsys.readouterr().out == "word " * 38 + "\n"


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text):
        raise BrokenPipeError


def test_a_reader_that_leaves_is_told_as_print_tells_it(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(BrokenPipeError):
        terminal().print("all runs are done")
