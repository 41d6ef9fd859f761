"""Strips and films of one recording."""

import sys

import numpy as np
import pytest
from PIL import Image

from dualhead.cli import main as cli
from dualhead.layout import LAYOUTS
from dualhead.report import drawing
from dualhead.report.drawing import LEFT, RIGHT, SIZE, Drawn, draw_recording, film
from tests.builders.tiny import write_tiny_store


def upright(layout=LAYOUTS["ntu25"], frames=3):
    """A recording of joints at random places around a spine, with a second body that is absent."""
    rng = np.random.default_rng(2)
    joints = rng.normal(0, 0.4, (3, frames, layout.num_joints, 2)).astype(np.float32)
    joints[..., 1] = 0
    return Drawn("walk $x$", joints, layout)


def drawn(color, picture):
    """Return where pixels of a color are, (rows, columns)."""
    own = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return np.nonzero((np.abs(np.asarray(picture).astype(int) - own) < 12).all(axis=-1))


def test_a_film_has_each_frame_once_and_shows_both_sides():
    frames = [*film(upright(frames=4))]
    assert len(frames) == 4 and {frame.size for frame in frames} == {(SIZE, SIZE)}
    assert all(len(drawn(color, frames[0])[0]) > 50 for color in (LEFT, RIGHT))
    assert len({frame.tobytes() for frame in frames}) == 4


def test_a_person_faces_the_viewer_and_half_a_turn_shows_the_back():
    layout = LAYOUTS["kinect20"]
    joints = np.zeros((3, 3, 20, 1), np.float32)
    places = {"spine": (0, 0.2), "shoulder": (0.2, 0.5), "elbow": (0.3, 0.3), "wrist": (0.4, 0.1)}
    for number, joint in enumerate(layout.joints):
        side = joint.startswith("right") - joint.startswith("left")
        x, z = next((place for key, place in places.items() if key in joint), (0, 0))
        joints[0, :, number], joints[2, :, number] = side * x, z
    front, *_, back = film(Drawn("", joints, layout), turns=0.5)
    middle = {side: [drawn(side, it)[1].mean() for it in (front, back)] for side in (LEFT, RIGHT)}
    assert middle[LEFT][0] > middle[RIGHT][0]
    assert middle[LEFT][1] < middle[RIGHT][1]


def test_a_gif_takes_as_long_as_the_recording(tmp_path):
    draw_recording(upright(frames=10), tmp_path / "walk.gif", fps=30, turns=0)
    with Image.open(tmp_path / "walk.gif") as picture:
        times = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            times.append(picture.info["duration"])
    assert len(times) == 10 and sum(times) == pytest.approx(333, abs=5)


def test_an_mp4_has_each_frame(tmp_path):
    from imageio_ffmpeg import count_frames_and_secs

    draw_recording(upright(frames=6), tmp_path / "walk.mp4", fps=12, turns=0)
    assert count_frames_and_secs(tmp_path / "walk.mp4") == (6, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


@pytest.mark.parametrize("name", ["openpose18", "ntu25"])
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_strip_is_drawn_the_same_each_time(ending, name, tmp_path):
    for copy in ("a", "b"):
        draw_recording(upright(LAYOUTS[name]), tmp_path / f"{copy}.{ending}", fps=30, turns=0)
    written = (tmp_path / f"a.{ending}").read_bytes()
    assert written == (tmp_path / f"b.{ending}").read_bytes() and len(written) > 2000


def test_a_recording_of_a_store_or_a_file_is_drawn(tmp_path):
    write_tiny_store(tmp_path / "store.h5", count=6)
    np.save(tmp_path / "walk.npy", upright(LAYOUTS["kinect20"]).joints[..., 0].transpose(1, 2, 0))
    for words in (
        ["store.h5", "--name", "S0003"],
        ["walk.npy", "--unit", "m", "--layout", "kinect20"],
    ):
        told = ["draw", str(tmp_path / words[0]), *words[1:], "--output", str(tmp_path / "x.png")]
        assert cli.main(told) == 0
        with Image.open(tmp_path / "x.png") as picture:
            assert min(picture.size) > 200
        (tmp_path / "x.png").unlink()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["store.h5", "--output", "x.png"],
            "6 recordings, such as S0000; say which one with --name",
        ),
        (["store.h5", "--name", "x", "--output", "x.png"], "expected one of 6 recordings"),
        (["store.h5", "--name", "S0001", "--output", "x.jpeg"], "found .jpeg; name the file so"),
        (["store.h5", "--name", "S0001", "--output", "x.mp4"], "pip install 'dualhead[video]'"),
        (["nothing.npy", "--output", "x.png"], "no such file"),
    ],
)
def test_a_refusal_is_one_line(words, told, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.chdir(tmp_path)
    write_tiny_store(tmp_path / "store.h5", count=6)
    assert cli.main(["draw", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dualhead draw: ") and told in line
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]


def test_a_recording_of_nobody_is_drawn_empty():
    layout = LAYOUTS["ntu25"]
    frames = [*film(Drawn("", np.zeros((3, 2, layout.num_joints, 1), np.float32), layout))]
    assert len(frames) == 2 and not len(drawn(drawing.LEFT, frames[0])[0])
