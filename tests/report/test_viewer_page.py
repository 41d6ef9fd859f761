"""The page of recordings in a real browser: it turns, plays, filters, prints, and asks for nothing."""

import io
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from dualhead.layout import LAYOUTS
from dualhead.report.viewer import write_page
from dualhead.report.viewer.content import Network, Page, Recording, Seen, Windows
from dualhead.runs.scores import Attention
from tests.builders import browser
from tests.builders.browser import chromium

CLASSES = ("drink water", "sit down", "hand over")
NAMES = tuple(f"S{index:03d}" for index in range(9))
LABELS = np.arange(9) % 3
RINGED = """
(({ id, tagName }, ring) => [id || tagName, ring.outlineStyle])(
  document.activeElement, getComputedStyle(document.activeElement))
"""
"""The element that has the focus, and how that is shown."""
DRAWN = "document.querySelector('#{}').toDataURL()"
LIGHTNESS = """
(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const shade = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest("canvas, script, style, .unseen")) continue;
    const pair = [shade(numbers(getComputedStyle(element).color)), shade(ground(element))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""
"""Contrast of each text with what lies behind it (WCAG 2), the least first."""


def recordings(layout, count: int, rng: np.random.Generator) -> list[Recording]:
    """Return recordings that two networks saw, the first of them with attention and windows."""
    found = []
    times = np.arange(20)[None] % 30
    for name in NAMES[:count]:
        joints = rng.normal(0, 0.3, (3, 30, layout.num_joints, 2)).astype(np.float32)
        joints[..., 1] *= name == NAMES[0]
        maps = {
            "frames_1": rng.random((1, 2, 10)),
            "joints_1": 0.5 + 0.001 * rng.random((1, 2, layout.num_joints)),
        }
        maps["joints_2"] = rng.random((1, 2, layout.num_joints))
        attention = Attention(
            [name], times, {key: it.astype(np.float32) for key, it in maps.items()}
        )
        windows = Windows([(0, 9), (10, 19), (20, 29)], np.eye(3, dtype=np.float32))
        scores = {
            head: rng.dirichlet(np.ones(3)).astype(np.float32)
            for head in ("fusion", "coarse", "fine")
        }
        seen = [Seen(scores, windows, attention), Seen({"fusion": scores["fine"]})]
        found.append(Recording(name, joints, 30, seen))
    return found


def content(layout="ntu25", count: int = 4) -> Page:
    rng = np.random.default_rng(3)
    first = np.eye(3, dtype=np.float32)[LABELS] * 0.8 + 0.05
    first[1], first[4] = (0.1, 0.2, 0.7), (0.1, 0.2, 0.7)  # sit down taken for hand over, twice
    second = np.roll(first, 3, axis=0)
    second[0] = (0.1, 0.8, 0.1)
    return Page(
        "A page",
        [("Store", "tiny.h5")],
        LAYOUTS[layout],
        CLASSES,
        [Network("DualHead-Net", first), Network("MS-G3D", second)],
        NAMES,
        LABELS,
        recordings(LAYOUTS[layout], count, rng),
        "dualhead view makes one with them.",
    )


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    program = chromium()
    if program is None:
        assert "CI" not in os.environ, "no Chromium, though this is CI: apt-get install chromium"
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with browser.browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(content(), path)
    return path


@pytest.fixture
def opened(tab: browser.Page, written: Path) -> Iterator[browser.Page]:
    """The page, freshly opened; what it asks for or complains of in the test is a failure."""
    tab.open(written)
    yield tab
    assert tab.requests == [written.as_uri()]
    assert tab.complaints == []


def text(tab: browser.Page, selector: str) -> str:
    return str(tab.run(f"document.querySelector({selector!r}).innerText"))


def rows(tab: browser.Page) -> list[str]:
    return list(
        tab.run("[...document.querySelectorAll('#rows .row-name')].map((row) => row.textContent)")
    )


def choose(tab: browser.Page, selector: str, value: str) -> None:
    """Set a field as a person does."""
    tab.run(
        f"(() => {{ const field = document.querySelector({selector!r}); field.value = {value!r}; "
        "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true })); })()"
    )


def test_it_turns_by_mouse_and_by_keys_and_comes_nearer(opened: browser.Page) -> None:
    x, y = opened.middle("#stage")
    drawings = [opened.run(DRAWN.format("stage"))]
    opened.drag((x, y), (x + 120, y + 30))
    drawings.append(opened.run(DRAWN.format("stage")))
    for key in ("ArrowLeft", "ArrowUp", "+"):
        opened.press(key)
        drawings.append(opened.run(DRAWN.format("stage")))
    assert len(set(drawings)) == 5
    opened.press("0")
    assert opened.run(DRAWN.format("stage")) == drawings[0]


def test_a_finger_turns_it(opened: browser.Page) -> None:
    before = opened.run(DRAWN.format("stage"))
    x, y = opened.middle("#stage")
    for kind, at in (("touchStart", x), ("touchMove", x + 60), ("touchEnd", None)):
        points = [] if at is None else [{"x": at, "y": y}]
        opened.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert opened.run(DRAWN.format("stage")) != before


def test_it_plays_pauses_and_goes_to_a_frame(opened: browser.Page) -> None:
    assert text(opened, "#frame-text") == "frame 0 of 30 · 0.00 s"
    opened.press(" ")
    opened.wait("Number(document.querySelector('#scrubber').value) > 2")
    assert "Pause" in text(opened, "#play")
    opened.click("#play")
    at = opened.run("document.querySelector('#scrubber').value")
    assert (
        opened.run(
            "new Promise((done) => setTimeout(() => done(document.querySelector('#scrubber').value), 150))"
        )
        == at
    )
    choose(opened, "#scrubber", "12")
    opened.press(".")
    assert text(opened, "#frame-text") == "frame 13 of 30 · 0.43 s"


def test_it_filters_by_words_class_and_verdict(opened: browser.Page) -> None:
    assert rows(opened) == [*NAMES]
    choose(opened, "#search", "sit")
    assert rows(opened) == ["S001", "S004", "S007"]
    choose(opened, "#verdict-filter", "wrong 0")
    assert rows(opened) == ["S001", "S004"] and text(opened, "#count") == "2 of 9"
    choose(opened, "#search", "")
    choose(opened, "#verdict-filter", "differ")
    assert set(rows(opened)) == {"S000", "S001", "S007"}
    choose(opened, "#verdict-filter", "")
    choose(opened, "#class-filter", "2")
    assert rows(opened) == ["S002", "S005", "S008"]
    opened.run("document.querySelector('#shown-filter').click()")
    assert rows(opened) == ["S002"]


def test_a_cell_of_the_confusion_leads_to_its_recordings(opened: browser.Page) -> None:
    assert text(opened, "#pairs") == "sit down → hand over\n2 of 3"
    opened.click("#pairs button")
    assert rows(opened) == ["S001", "S004"]
    assert text(opened, "#name") == "S001" and "sit down → hand over" in text(
        opened, "#cell-filter"
    )
    opened.click("#cell-filter button")
    assert len(rows(opened)) == 9
    opened.run("document.querySelector('#matrix').focus()")
    for _ in range(2):
        opened.press("ArrowLeft")
    assert text(opened, "#matrix-text") == "sit down taken for drink water: 0 of 3 (0.0 %)"
    for key in ("ArrowRight", "Enter"):
        opened.press(key)
    assert rows(opened) == ["S007"]


def test_scores_of_both_networks_and_heads_are_shown(opened: browser.Page) -> None:
    own = content().recordings[0].seen
    first = opened.run("[...document.querySelectorAll('.bar-class')].map((one) => one.innerText)")[
        0
    ]
    assert first.startswith("drink water true class")
    said = opened.run(
        "[...document.querySelectorAll('.bar .unseen')].map((one) => one.textContent)"
    )
    heads = ", ".join(
        f"{head} {own[0].heads[head][0]:.2f}" for head in ("fusion", "coarse", "fine")
    )
    assert said[0] == f"DualHead-Net: {heads}"
    assert said[1] == f"MS-G3D: fusion {own[1].heads['fusion'][0]:.2f}"
    verdicts = text(opened, "#verdicts")
    assert "✓ right" in verdicts and "✗ wrong" in verdicts


def test_windows_are_there_to_be_gone_to(opened: browser.Page) -> None:
    opened.run("document.querySelector('#over-time details').open = true")
    assert "drink water 1.00; sit down 0.00; hand over 0.00" in text(opened, ".window-rows")
    opened.click(".window-rows tr:nth-child(2) button")
    assert text(opened, "#frame-text").startswith("frame 10 ")
    assert opened.run("document.querySelector('.window-rows [aria-current]').dataset.first") == "10"


def test_attention_is_ranked_with_its_range_and_inert_attention_said_to_be_so(
    opened: browser.Page,
) -> None:
    maps = content().recordings[0].seen[0].attention.maps
    mean = (maps["joints_1"][0] + maps["joints_2"][0]) / 2
    said = text(opened, "#attention .say")
    assert f"between {mean.min():.3f} and {mean.max():.3f}" in said and "inert" not in said
    first = opened.run("document.querySelector('.ranks li').innerText").split("\n")
    body, joint = np.unravel_index(mean.argmax(), mean.shape)
    name = LAYOUTS["ntu25"].joints[joint].replace("_", " ")
    assert first == ["1", f"{name} (body {body + 1})", f"{mean.max():.3f}"]
    choose(opened, "[aria-label='Attention shown on the joints']", "joints_1")
    assert "it is inert" in text(opened, "#attention .say")


def test_a_recording_without_skeletons_says_so(opened: browser.Page) -> None:
    for _ in range(8):
        opened.press("j")
    assert text(opened, "#name") == "S008"
    assert "not in this page. dualhead view makes one" in text(opened, "#stage-note")
    assert "hand over" in text(opened, "#verdicts") and opened.run(
        "document.querySelector('#play').disabled"
    )


def test_it_prints_poses_scores_and_confusion_on_white(opened: browser.Page) -> None:
    printed = PdfReader(io.BytesIO(opened.pdf()))
    told = " ".join(" ".join(page.extract_text() for page in printed.pages).split())
    for expected in ("A page", "S000", "drink water", "sit down → hand over", "Confused most"):
        assert expected in told
    assert "Search" not in told and "Speed" not in told
    assert opened.run("document.querySelector('#strip').width") == 1600
    assert len(printed.pages) <= 2


@pytest.mark.parametrize(("dark", "width"), [*product((False, True), (1440, 390))])
def test_every_text_stands_out_and_the_page_fits(
    tab: browser.Page, written: Path, dark: bool, width: int
) -> None:
    tab.open(written, dark=dark, width=width)
    least = tab.run(LIGHTNESS)
    assert len(least) > 40
    assert least[0][0] >= 4.5, least[:3]
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")


def test_the_theme_is_the_readers_choice(opened: browser.Page) -> None:
    seen = []
    for _ in range(3):
        opened.click("#theme-button")
        seen.append(
            (text(opened, "#theme-button"), opened.run("document.documentElement.dataset.theme"))
        )
    assert seen == [("Theme: light", "light"), ("Theme: dark", "dark"), ("Theme: system", "light")]


def test_all_that_can_be_used_is_reached_by_tab_and_shows_it(opened: browser.Page) -> None:
    reached, rings = set(), []
    for _ in range(60):
        opened.press("Tab")
        name, ring = opened.run(RINGED)
        reached.add(name)
        rings += [name] if ring == "none" and name != "BODY" else []
    expected = (
        "stage scrubber play back ahead speed reset search class-filter verdict-filter matrix"
    )
    assert set(expected.split()) <= reached and rings == []


def test_every_field_and_drawing_has_a_name(opened: browser.Page) -> None:
    unnamed = opened.run(
        "[...document.querySelectorAll('button, input, select, canvas:not([aria-hidden])')].filter((one) => "
        "!(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).map((one) => one.outerHTML)"
    )
    assert unnamed == []


def test_keys_open_their_own_help(opened: browser.Page) -> None:
    opened.press("?")
    assert opened.run("document.querySelector('#keys').open") is True
    opened.press("Escape")
    assert opened.run("document.querySelector('#keys').open") is False


def test_a_picture_does_not_turn_but_comes_nearer(tab: browser.Page, tmp_path: Path) -> None:
    write_page(content("openpose18"), tmp_path / "flat.html")
    tab.open(tmp_path / "flat.html")
    tab.run("document.querySelector('#stage').focus()")
    before = tab.run(DRAWN.format("stage"))
    tab.press("ArrowLeft")
    assert tab.run(DRAWN.format("stage")) == before
    tab.press("+")
    assert tab.run(DRAWN.format("stage")) != before
    assert tab.complaints == []


def test_foreign_names_run_nothing(tab: browser.Page, tmp_path: Path) -> None:
    bad = '</script><img src=x onerror="document.title=1"><b>x'
    page = content()._replace(title=bad, names=(bad, *NAMES[1:]), class_names=(bad, *CLASSES[1:]))
    write_page(
        page._replace(recordings=[page.recordings[0]._replace(name=bad)]), tmp_path / "bad.html"
    )
    tab.open(tmp_path / "bad.html")
    assert text(tab, "#title") == text(tab, "#name") == bad
    assert tab.run("document.querySelectorAll('img, b:not([class]) > b').length") == 0
    assert tab.requests == [(tmp_path / "bad.html").as_uri()] and tab.complaints == []


def test_the_policy_stops_a_foreign_script(
    tab: browser.Page, written: Path, tmp_path: Path
) -> None:
    html = written.read_text().replace("</body>", "<script>document.title = 'run';</script></body>")
    assert re.search(r"script-src 'sha256-", html)
    (tmp_path / "edited.html").write_text(html)
    tab.open(tmp_path / "edited.html")
    assert tab.run("document.title") == "A page"
    assert any("Content Security Policy" in line for line in tab.complaints)
