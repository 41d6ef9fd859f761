"""One recording as a strip of poses, or as a film of its skeletons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from dualhead.arrays import Array, Mask
from dualhead.files import replacing
from dualhead.layout import SkeletonLayout
from dualhead.report.figures.poses import Seen, draw_poses
from dualhead.report.figures.style import GRAY, INK, new_figure, styled
from dualhead.report.skeletons import is_flat, stand, visible

PICTURES: Final = (".png", ".svg", ".pdf")
FILMS: Final = (".gif", ".mp4")
LEFT: Final = "#A1487A"
RIGHT: Final = "#17766F"
"""Colors of a body's sides, as in the page of recordings."""
YAW, PITCH = -0.42, 0.16
"""Angles that a film's viewer looks from, in radians."""
FAR = 4.2
"""Distance of the viewer, by half the extent of the recording."""
MARGIN = 0.94  # of a film that its recording fills
SIZE = 480  # pixels of a film, each way
STRIP = 1.6  # inches that a strip is high
DPI = 200


class Drawn(NamedTuple):
    """A recording that is drawn."""

    title: str
    joints: Array  # (C, T, V, M)
    layout: SkeletonLayout


def draw_recording(drawn: Drawn, output: Path, *, fps: float, turns: float) -> None:
    """Draw a recording: a strip of poses, or a film, by the ending of the file.

    Args:
        drawn: the recording.
        output: .png, .svg or .pdf for a strip, .gif or .mp4 for a film.
        fps: frames of the recording a second, in a film.
        turns: full turns around the upright axis during a film.

    Raises:
        ValueError: for another ending.
    """
    ending = output.suffix.lower()
    if ending in PICTURES:
        _draw_strip(drawn, output, ending)
    elif ending in FILMS:
        frames = film(drawn, turns)
        (_write_gif if ending == ".gif" else _write_mp4)(output, frames, fps)
    else:
        raise ValueError(
            f"{output}: expected the ending of a picture ({', '.join(PICTURES)}) or of a film "
            f"({', '.join(FILMS)}), found {ending or 'none'}; name the file so"
        )


def _draw_strip(drawn: Drawn, output: Path, ending: str) -> None:
    present = np.asarray(drawn.joints.any(axis=(0, 1, 2)))
    with styled(), replacing(output) as temporary:
        figure = new_figure(STRIP)
        draw_poses(figure.subplots(), Seen(drawn.joints, present), drawn.layout, drawn.title)
        dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        figure.savefig(
            temporary, format=ending[1:], dpi=DPI, metadata=dates.get(ending), bbox_inches="tight"
        )


def film(drawn: Drawn, turns: float = 0.0) -> Iterator[Image.Image]:
    """Yield each frame of a recording as a picture, `SIZE` pixels each way.

    Args:
        drawn: the recording.
        turns: full turns around the upright axis from the first frame to the last.
    """
    places = _on_screen(drawn, turns)  # (2, T, V, M)
    seen = visible(drawn.joints, drawn.layout)
    colors = _bone_colors(drawn.layout)
    with styled():
        figure = Figure(figsize=(SIZE / 100, SIZE / 100), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 0.93), xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
        axes.axis("off")
        figure.text(0.02, 0.95, drawn.title, fontsize=10, parse_math=False)
        number = figure.text(0.98, 0.95, "", ha="right", fontsize=10)
        bodies = [
            LineCollection([], colors=GRAY if body else colors, linewidths=3, capstyle="round")
            for body in range(drawn.joints.shape[3])
        ]
        for lines in reversed(bodies):
            axes.add_collection(lines)
        for time in range(drawn.joints.shape[1]):
            for body, lines in enumerate(bodies):
                points = np.where(seen[time, :, body], places[:, time, :, body], np.nan).T
                lines.set_segments([points[[a, b]] for a, b in drawn.layout.edges])
            number.set_text(f"{time}")
            canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's own gap
            pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # likewise
            yield Image.fromarray(pixels[..., :3])


def _bone_colors(layout: SkeletonLayout) -> list[str]:
    """Return a color for each bone: by its side, or that of the middle."""
    sides = [[layout.joints[joint].partition("_")[0] for joint in edge] for edge in layout.edges]
    return [LEFT if "left" in side else RIGHT if "right" in side else INK for side in sides]


def _on_screen(drawn: Drawn, turns: float) -> Array:
    """Return each joint's place on the screen, (2, T, V, M), within -1..1 in all frames."""
    seen: Mask = visible(drawn.joints, drawn.layout)
    placed = stand(drawn.joints, drawn.layout)
    own = placed[:, seen]
    if not own.size:
        return np.zeros_like(placed[:2])
    placed = placed - ((own.min(axis=1) + own.max(axis=1)) / 2)[:, None, None, None]
    at = placed[:2] if is_flat(drawn.layout) else _from_afar(placed, seen, turns)
    within: Array = at * (MARGIN / max(float(np.abs(at[:, seen]).max()), 1e-6))
    return within


def _from_afar(placed: Array, seen: Mask, turns: float) -> Array:
    """Return joints (3, T, V, M) as a viewer sees them who goes around them, (2, T, V, M)."""
    x, y, z = placed / max(float(np.linalg.norm(placed[:, seen], axis=0).max()), 1e-6)
    angle = YAW + 2 * np.pi * turns * np.linspace(0, 1, x.shape[0], dtype=np.float32)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    across, depth = x * cos + z * sin, z * cos - x * sin
    up, near = y * np.cos(PITCH) - depth * np.sin(PITCH), y * np.sin(PITCH) + depth * np.cos(PITCH)
    seen_at: Array = np.stack([across, up]) / (FAR - near)
    return seen_at


def _write_gif(output: Path, frames: Iterator[Image.Image], fps: float) -> None:
    """Write a film that begins anew when it ends; a GIF counts hundredths of a second."""
    pictures = [frame.quantize(32) for frame in frames]
    ends = np.rint(np.arange(1, len(pictures) + 1) * 100 / fps).astype(int)
    durations = (np.maximum(np.diff(ends, prepend=0), 2) * 10).tolist()
    with replacing(output) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
        )


def _write_mp4(output: Path, frames: Iterator[Image.Image], fps: float) -> None:
    from imageio_ffmpeg import write_frames

    with replacing(output) as temporary:
        writer = write_frames(
            str(temporary),
            (SIZE, SIZE),
            fps=fps,
            output_params=["-f", "mp4"],
            ffmpeg_log_level="error",
        )
        writer.send(None)
        for frame in frames:
            writer.send(frame.tobytes())
        writer.close()
