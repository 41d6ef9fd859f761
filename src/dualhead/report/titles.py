"""Titles of streams, variants, metrics, selections and benchmarks, as everything in a report prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from dualhead.settings.params import Settings


class StreamTitle(NamedTuple):
    """Names of one stream."""

    short: str  # as the paper abbreviates it in tables
    long: str  # in a sentence


class SelectionTitle(NamedTuple):
    """Names of one way to choose the epoch."""

    column: str
    legend: str
    explanation: str


STREAMS: Final[Mapping[str, StreamTitle]] = {
    "joint": StreamTitle("Js", "joint stream"),
    "bone": StreamTitle("Bs", "bone stream"),
    "joint_motion": StreamTitle("JMs", "joint motion stream"),
    "bone_motion": StreamTitle("BMs", "bone motion stream"),
    "two_stream": StreamTitle("2s", "two streams"),
    "two_stream_fitted": StreamTitle("2s fitted", "two streams, fitted weights"),
    "two_motions": StreamTitle("JMs + BMs", "both motion streams"),
    "four_stream": StreamTitle("4s", "four streams"),
    "four_stream_weighted": StreamTitle("4s weighted", "four streams, 0.6 and 0.4"),
    "four_stream_fitted": StreamTitle("4s fitted", "four streams, fitted weights"),
}
VARIANTS: Final[Mapping[str, str]] = {
    "dualhead": "DualHead-Net",
    "held_out": "DualHead-Net, subjects held out",
    "passes_21": "DualHead-Net, 21 passes",
    "ms_g3d": "MS-G3D",
    "no_attention": "no attention",
    "temporal_attention": "temporal attention only",
    "fine_full": "fine head, all channels",
    "fine_quarter": "fine head, 1/4 channels",
    "coarse_g3d_0": "coarse head without G3D",
    "coarse_g3d_2": "coarse head, 2 G3D",
    "subsample_1": "coarse head, all frames",
    "subsample_4": "coarse head, 1/4 frames",
    "self_temporal": "own temporal attention",
    "self_spatial": "own spatial attention",
}
DATASETS: Final[Mapping[str, str]] = {
    "ntu60": "NTU RGB+D 60",
    "ntu120": "NTU RGB+D 120",
    "kinetics": "Kinetics-Skeleton",
    "nw_ucla": "NW-UCLA",
    "utd_mhad": "UTD-MHAD",
    "synthetic": "Synthetic",
    "skeletons": "Own skeletons",
}
SPLITS: Final[Mapping[str, str]] = {
    **{"xsub": "X-sub", "xview": "X-view", "xset": "X-set"},
    **{"part": "as given", "subject": "by subject", "camera": "by camera", "share": "by chance"},
}
METRICS: Final[Mapping[str, str]] = {"top1": "Top-1", "top5": "Top-5", "mean_class": "Mean class"}
SELECTIONS: Final[Mapping[str, SelectionTitle]] = {
    "last": SelectionTitle(
        "Last epoch", "last epoch (ours)", "the last epoch (ours: chooses nothing)"
    ),
    "best_on_validation": SelectionTitle(
        "Best on validation",
        "best epoch on held-out subjects",
        "the best epoch on training people held out",
    ),
    "best_on_test": SelectionTitle(
        "Best on test",
        "best epoch on the test set",
        "the best epoch on the test set (the field's way; optimistic)",
    ),
}
PROTOCOLS: Final[Mapping[str, str]] = {
    "paper": "the paper\N{RIGHT SINGLE QUOTATION MARK}s",
    "authors": "that of the authors\N{RIGHT SINGLE QUOTATION MARK} code",
}


def stream_short(stream: str) -> str:
    """Return `Js`, `4s` and the like, or the stream's own name."""
    return STREAMS[stream].short if stream in STREAMS else stream.replace("_", " ")


def stream_title(stream: str) -> str:
    """Return `joint stream`, `four streams` and the like."""
    return STREAMS[stream].long if stream in STREAMS else f"{stream.replace('_', ' ')} stream"


def variant_title(variant: str) -> str:
    """Return a variant's name as it is printed."""
    return VARIANTS.get(variant, variant.replace("_", " "))


def dataset_title(kind: str) -> str:
    """Return a kind of dataset as it is printed."""
    return DATASETS.get(kind, kind.replace("_", " "))


def split_title(split: str) -> str:
    """Return a split as it is printed."""
    return SPLITS.get(split, split.replace("_", " "))


def benchmark_title(grid: Settings, benchmark: str) -> str:
    """Return `NTU RGB+D 60 X-sub` and the like."""
    entry = grid["benchmarks"][benchmark]
    kind = grid["datasets"][entry["dataset"]]["kind"]
    return f"{dataset_title(kind)} {split_title(entry['split'])}"
