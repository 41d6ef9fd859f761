"""Every setting of a params.yaml: what it may be, its default, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from dualhead.settings.params import MODALITY_NAMES, Settings
from dualhead.settings.schema import (
    FLAG,
    NAME,
    TEXT,
    Field,
    Kind,
    choice,
    either,
    list_of,
    number,
    record,
    table_of,
    tagged,
    whole,
)

Fields: TypeAlias = Mapping[str, Field]
FITTED: Final = "fitted"
"""In place of an ensemble's weights: those that do best on held-out subjects."""
METRIC_NAMES: Final = ("top1", "top5", "mean_class")
DENOISE: Final = ("energy", "ctr_gcn")
NORMALIZE: Final = ("rotate", "first_frame", "none")
FORMATS: Final = (
    *("ntu", "kinect", "azure_kinect", "nw_ucla", "kinetics", "openpose", "alphapose", "mmpose"),
    *("yolo", "mediapipe", "csv", "numpy", "bvh", "trc", "c3d"),
)
UNITS: Final = ("m", "cm", "mm", "inch", "pixel", "fraction")
DEVICES: Final = ("auto", "cpu", "cuda")
ATTENTION: Final = choice("cross", "self", "none")
FUSION: Final = choice("softmax", "logits")
CHANNELS: Final = list_of(whole(1), length=3)
WINDOWS: Final = list_of(whole(1, odd=True))
DILATIONS: Final = list_of(whole(1), least=1)
SCALE_RANGE: Final = list_of(number(above=True), length=2, rising=True)
FRAME_RANGE: Final = list_of(whole(1), length=2, rising=True)

PREPARE: Final[Fields] = {
    "recipe": Field(whole(1), "raise it when the code prepares otherwise: stores are made anew", 1),
    "denoise": Field(
        choice(*DENOISE), "how bodies are chosen: the authors' energy, or CTR-GCN's rules", "energy"
    ),
    "normalize": Field(
        choice(*NORMALIZE),
        "rotate: pad, center each frame, two rotations, as the authors do; first_frame: center on the first frame",
        "rotate",
    ),
    "max_bodies": Field(whole(1), "bodies kept of each recording", 2),
}
INPUT: Final[Fields] = {
    "num_frames": Field(whole(1), "frames of a sample", 300),
    "resample": Field(
        choice("none", "uniform"),
        "none: loop-pad or cut to num_frames; uniform: sorted random frames in training, even ones in the test",
        "none",
    ),
    "min_max": Field(FLAG, "scale each coordinate over the whole recording to -1..1", False),
    "random_rotation": Field(
        whole(0, 360), "training: whole degrees about x and about y, uniform in +-this", 0
    ),
    "random_scale": Field(
        SCALE_RANGE, "training: one factor a sample, uniform in this range", [1.0, 1.0]
    ),
    "random_crop": Field(
        whole(), "training: frames kept from a random start (2s-AGCN's random_choose); 0: all", 0
    ),
    "random_move": Field(
        FLAG, "training: 2s-AGCN's slow drift of the whole skeleton (Kinetics)", False
    ),
}
DUALHEAD: Final[Fields] = {
    "gcn_scales": Field(
        whole(1), "K of MS-GCN; the paper is silent, the authors' configuration says 9", 9
    ),
    "g3d_scales": Field(whole(1), "K of MS-G3D", 6),
    "coarse_channels": Field(
        CHANNELS, "of the backbone, coarse block 2, coarse block 3", [96, 192, 384]
    ),
    "fine_channels": Field(CHANNELS, "of the embedding, fine block 2, fine block 3", [48, 96, 192]),
    "coarse_windows": Field(
        WINDOWS, "MS-G3D pathways of the coarse head; []: factorized only", [3]
    ),
    "fine_windows": Field(WINDOWS, "MS-G3D pathways of the fine head and the backbone", [3, 5]),
    "coarse_dilations": Field(DILATIONS, "of the coarse head's MS-TCNs", [1, 2]),
    "fine_dilations": Field(
        DILATIONS, "of the MS-TCNs of the fine head and the backbone", [1, 2, 3, 4]
    ),
    "subsample": Field(whole(1), "alpha of Sec. 3.4: the coarse head sees every so many frames", 2),
    "temporal_attention": Field(ATTENTION, "whose frames weigh a head's frames", "cross"),
    "spatial_attention": Field(ATTENTION, "whose joints weigh a head's joints", "cross"),
    "attention_kernel": Field(whole(1, odd=True), "of the temporal attention's 1D convolution", 9),
}
MS_G3D: Final[Fields] = {
    "gcn_scales": Field(whole(1), "K of MS-GCN", 13),
    "g3d_scales": Field(whole(1), "K of MS-G3D", 6),
    "channels": Field(CHANNELS, "of the three blocks", [96, 192, 384]),
    "windows": Field(WINDOWS, "MS-G3D pathways", [3, 5]),
    "dilations": Field(DILATIONS, "of the MS-TCNs", [1, 2, 3, 4]),
}
TRAIN: Final[Fields] = {
    "epochs": Field(whole(1), "epochs of a training", 80),
    "batch_size": Field(whole(1), "samples of a step, whatever the hardware", 64),
    "forward_batch_size": Field(
        whole(1), "samples in memory at once; fewer: gradients are accumulated", 64
    ),
    "passes": Field(whole(1), "passes over the training set in one epoch", 1),
    "learning_rate": Field(number(above=True), "at the beginning, after the warm-up", 0.1),
    "milestones": Field(
        list_of(whole()), "epochs after which the learning rate is divided by 10", [40, 60]
    ),
    "warmup_epochs": Field(whole(), "epochs in which the learning rate grows", 0),
    "momentum": Field(number(0, 1, below=True), "Nesterov momentum of SGD", 0.9),
    "weight_decay": Field(number(), "of every parameter", 0.0005),
    "loss": Field(
        choice("sum", "mean"),
        "of the heads' cross entropies; mean: weighed by mu = 0.5 (Sec. 3.6), as in the authors' code",
        "mean",
    ),
    "precision": Field(choice("fp32", "tf32", "bf16"), "of products", "fp32"),
    "evaluate_every": Field(
        whole(1), "epochs between two looks at the test set, which choose nothing of ours", 1
    ),
    "validation": Field(
        number(0, 1, below=True),
        "share of the training split's subjects held out of training, to choose epoch and weights without the test "
        "set; 0: train on all, as the paper does",
        0.0,
    ),
    "from": Field(
        TEXT,
        "a checkpoint whose weights, all but the classifiers', a training begins with; {modality} is the run's own",
        optional=True,
    ),
    "freeze": Field(
        list_of(TEXT),
        "parts of the network whose weights stay as they begin: backbone, fine.0, ...; their statistics go on moving",
        optional=True,
    ),
    "head_learning_rate": Field(
        number(above=True), "of the classifiers (default: learning_rate)", optional=True
    ),
    "class_weights": Field(
        either(choice("none", "balanced"), list_of(number(above=True), least=1)),
        "of the loss, one a class; balanced: all classes count alike (default: none)",
        optional=True,
    ),
    "balanced_sampler": Field(
        FLAG, "draw all classes equally often, with repetition (default: false)", optional=True
    ),
}
UNTUNED: Final = {"freeze": [], "class_weights": "none", "balanced_sampler": False}
"""Values of the later settings of `train` where nothing is said: a run that states them has the address of one
that does not."""
EVALUATE: Final[Fields] = {
    "fusion": Field(
        FUSION, "softmax (Eqs. 12-14) or logits: what is averaged over heads", "softmax"
    ),
    "fusion_weight": Field(number(0, 1), "mu of Eq. 14, the coarse head's share", 0.5),
}
HARDWARE: Final[Fields] = {
    "device": Field(choice(*DEVICES), "auto takes a GPU where there is one", "auto"),
    "evaluate_batch_size": Field(whole(1), "samples at once in a test", 64),
    "trainings_per_gpu": Field(whole(1), "on one machine; two small ones may share a GPU", 1),
    "gpus_per_training": Field(
        whole(1), "each computes its share of every batch; the result is the same", 1
    ),
    "tensorboard": Field(
        FLAG,
        "write what history.csv holds for TensorBoard, too, below results/tensorboard",
        optional=True,
    ),
}
WEIGHTS: Final = table_of(either(number(), choice(FITTED)), keys=choice(*MODALITY_NAMES), least=1)
ENSEMBLE: Final[Fields] = {
    "fusion": Field(
        FUSION, "softmax (Sec. 3.7) or logits: what is summed over modalities", "softmax"
    ),
    "streams": Field(
        table_of(WEIGHTS),
        "modality: weight; `fitted`: those that do best on held-out subjects (train.validation)",
        {},
    ),
}
SECTIONS: Final[Mapping[str, Fields]] = {
    "prepare": PREPARE,
    "input": INPUT,
    "dualhead": DUALHEAD,
    "ms_g3d": MS_G3D,
    "train": TRAIN,
    "evaluate": EVALUATE,
    "hardware": HARDWARE,
    "ensemble": ENSEMBLE,
}
"""Every section of settings, of which each setting has a default."""
MERGED: Final = (*SECTIONS, "variants", "protocols")
"""Sections that are merged key by key; every other one is replaced whole."""
OVERRIDABLE: Final = tuple(name for name in SECTIONS if name not in ("prepare", "hardware"))
"""Sections that a protocol, a benchmark or a variant may change."""
MODELS: Final = {"dualhead": DUALHEAD, "ms_g3d": MS_G3D}
PROTOCOL: Final = choice("paper", "authors")
CHANGES: Final = {name: record(SECTIONS[name], partial=True) for name in OVERRIDABLE}
LAYER: Final[Fields] = {
    name: Field(replace(changes, json={"$ref": f"#/definitions/{name}"}), optional=True)
    for name, changes in CHANGES.items()
}
SYNTHESIZE: Final[Fields] = {
    "classes": Field(whole(1, 12), "actions", optional=True),
    "subjects": Field(whole(1, 999), "people", optional=True),
    "cameras": Field(whole(1, 3), "views of each performance", optional=True),
    "setups": Field(whole(1, 99), "setups, alternating over the subjects", optional=True),
    "repetitions": Field(whole(1, 99), "of each action by each person", optional=True),
    "seed": Field(whole(), "the same seed writes the same files", optional=True),
    "frames": Field(FRAME_RANGE, "shortest and longest recording", optional=True),
}
NUMBERS: Final = list_of(whole(), least=1, distinct=True)
RECORDINGS: Final[Fields] = {
    "format": Field(choice(*FORMATS), "of the files (default: told by content)", optional=True),
    "layout": Field(TEXT, "of their joints: a name, or a layout's YAML file", optional=True),
    "to_layout": Field(TEXT, "that the joints are converted to", optional=True),
    "joints": Field(
        TEXT, "YAML: a joint of to_layout -> the joints that it is the mean of", optional=True
    ),
    "unit": Field(choice(*UNITS), "of their coordinates", optional=True),
    "picture": Field(list_of(whole(1), length=2), "width and height in pixels", optional=True),
    "fps": Field(number(above=True), "frames a second of the recordings", optional=True),
    "to_fps": Field(number(above=True), "that they are converted to", optional=True),
    "train_share": Field(
        number(0, 1, above=True, below=True),
        "of each class in split `share`, of people in `subject`, of cameras in `camera` (default: 0.7)",
        optional=True,
    ),
    "split_seed": Field(whole(), "who these are (default: 1)", optional=True),
    "train_subjects": Field(NUMBERS, "who trains in split `subject`", optional=True),
    "train_cameras": Field(NUMBERS, "which train in split `camera`", optional=True),
}
DATASET: Final[Fields] = {
    "kind": Field(TEXT, "which reader, of dualhead/data/datasets"),
    "raw": Field(
        list_of(TEXT), "where the downloads lie, below the workspace; a zip is read in place"
    ),
    "recordings": Field(
        record(RECORDINGS), "of kind skeletons: what they are, and what they become", optional=True
    ),
    "partial": Field(FLAG, "accept a subset of the dataset; the report says so", optional=True),
    "release": Field(
        whole(1), "raise it when the raw files themselves have changed", optional=True
    ),
    "reuse": Field(NAME, "a dataset whose store this one takes samples from", optional=True),
    "prepare": Field(
        record(PREPARE, partial=True), "what this dataset changes of `prepare`", optional=True
    ),
    "synthesize": Field(
        record(SYNTHESIZE), "write the recordings with `dualhead synthesize`", optional=True
    ),
}
BENCHMARK: Final[Fields] = {
    "dataset": Field(NAME, "of `datasets`"),
    "split": Field(TEXT, "of the dataset: xsub, xview, xset, val, ..."),
    **LAYER,
}
VARIANT: Final[Fields] = {
    "model": Field(choice(*MODELS), "the network"),
    **LAYER,
}
SEED: Final = whole(0, 2**63 - 1)
SEEDS: Final = list_of(SEED, least=1, distinct=True)
NAMES: Final = list_of(NAME, least=1)
METRICS: Final = list_of(choice(*METRIC_NAMES), least=1, distinct=True)
TABLES: Final[Mapping[str, Fields]] = {
    "comparison": {
        "title": Field(TEXT, "above the table", optional=True),
        "benchmarks": Field(NAMES, "a column each"),
        "variant": Field(NAME, "the network of all rows (default: dualhead)", optional=True),
        "variants": Field(NAMES, "or several, one below the other", optional=True),
        "streams": Field(NAMES, "a row each: a modality, or a name of ensemble.streams"),
        "metrics": Field(METRICS, "a column each (default: top1)", optional=True),
        "published": Field(FLAG, "false leaves the rows of published methods out", optional=True),
    },
    "ablation": {
        "title": Field(TEXT, "above the table", optional=True),
        "benchmark": Field(NAME, "of all rows"),
        "stream": Field(NAME, "of all rows: a modality, or a name of ensemble.streams"),
        "rows": Field(NAMES, "variants, a row each"),
    },
}
FIGURES: Final[Fields] = {
    "benchmark": Field(NAME, "that figures show"),
    "variant": Field(NAME, "that figures show"),
    "baseline": Field(NAME, "the variant it is compared with"),
    "stream": Field(NAME, "that figures show"),
}
PARAMS: Final[Fields] = {
    "extends": Field(
        TEXT,
        "`paper`, or a params file below this one: what is not said here is as there",
        optional=True,
    ),
    "recipe": Field(
        whole(1), "raise it when the code changes what a run computes: every run is then made anew"
    ),
    "protocol": Field(
        PROTOCOL, "of `protocols`: whose word counts where the paper and the authors' code disagree"
    ),
    "seeds": Field(SEEDS, "a training each"),
    **{name: Field(record(fields)) for name, fields in SECTIONS.items()},
    "variants": Field(
        table_of(record(VARIANT)), "networks, and how they differ from the sections above"
    ),
    "protocols": Field(table_of(record(LAYER), keys=PROTOCOL), "changes of the sections above"),
    "datasets": Field(table_of(record(DATASET)), "raw recordings"),
    "benchmarks": Field(table_of(record(BENCHMARK)), "a dataset and a split, and what they change"),
    "tables": Field(
        table_of(tagged("kind", TABLES), least=1), "what is reported decides what is trained"
    ),
    "figures": Field(record(FIGURES), "of runs that the tables ask for"),
}
SCHEMA: Final[Kind] = record(PARAMS)


def without_untuned(train: Mapping[str, Any]) -> Settings:
    """Return the `train` section without settings that came later and say what holds anyway."""
    return {
        key: value for key, value in train.items() if key not in UNTUNED or value != UNTUNED[key]
    }


def editor_schema() -> dict[str, object]:
    """Return the JSON Schema of a params.yaml, which says only what differs from what it extends."""
    variants = Field(table_of(record(VARIANT, partial=True)), PARAMS["variants"].text)
    fields = {**PARAMS, "variants": variants}
    about = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "params.yaml of DualHead",
    }
    definitions = {name: changes.json for name, changes in CHANGES.items()}
    return {**about, "definitions": definitions, **record(fields, partial=True).json}
