"""Run config: all that one run is made from, as frozen records, read from a config.yaml or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from dualhead.settings.defaults import EVALUATE, INPUT, TRAIN, Fields, without_untuned
from dualhead.settings.params import Settings, address
from dualhead.settings.schema import defaults_of, record

Section = TypeVar("Section", "InputSettings", "TrainSettings")


@dataclass(frozen=True)
class InputSettings:
    """The `input` section: which frames a sample shows, and how training changes them (`defaults.INPUT`)."""

    num_frames: int
    resample: str
    min_max: bool
    random_rotation: int
    random_scale: tuple[float, float]
    random_crop: int
    random_move: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> InputSettings:
        """Read the section; a setting that is newer than the file has its default, which changes nothing."""
        return _read(cls, settings, INPUT)


@dataclass(frozen=True)
class TrainSettings:
    """The `train` section: how a network is trained (`defaults.TRAIN`)."""

    epochs: int
    batch_size: int
    forward_batch_size: int
    passes: int
    learning_rate: float
    milestones: tuple[int, ...]
    warmup_epochs: int
    momentum: float
    weight_decay: float
    loss: str
    precision: str
    evaluate_every: int
    validation: float
    parent: str = ""  # `from`: the digest of a checkpoint
    freeze: tuple[str, ...] = ()
    head_learning_rate: float | None = None
    class_weights: str | tuple[float, ...] = "none"
    balanced_sampler: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> TrainSettings:
        """Read the section; a setting that is newer than the file has its default, which changes nothing."""
        parent = {"parent": settings["from"]} if "from" in settings else {}
        return _read(cls, {**settings, **parent}, TRAIN)

    def to_mapping(self) -> Settings:
        """Return the section as files hold it: without what came later and is not used."""
        plain = {key: _plain(value) for key, value in asdict(self).items()}
        parent, rate = plain.pop("parent"), plain.pop("head_learning_rate")
        plain |= {"from": parent} if parent else {}
        plain |= {} if rate is None else {"head_learning_rate": rate}
        return without_untuned(plain)


@dataclass(frozen=True)
class ScoreSettings:
    """The settings that a trained network scores recordings with.

    Attributes:
        modality: joint, bone, joint_motion or bone_motion.
        input: frames and their scale.
        precision: fp32, tf32 or bf16.
        fusion_weight: share of the coarse head in the mean of both (Eq. 14).
    """

    modality: str
    input: InputSettings
    precision: str
    fusion_weight: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ScoreSettings:
        """Read them from a checkpoint's `config`, which may be that of converted weights."""
        train = TrainSettings.of(settings.get("train", {}))
        return cls(
            settings["modality"],
            InputSettings.of(settings["input"]),
            train.precision,
            _fusion_weight(settings),
        )


@dataclass(frozen=True)
class RunConfig:
    """A run's complete settings; their hash is its address.

    Attributes:
        benchmark: name in `benchmarks`.
        variant: name in `variants`.
        modality: joint, bone, joint_motion or bone_motion.
        seed: seed of weights, sample order and augmentation.
        recipe: number of what the code computes in a run.
        dataset: name in `datasets`.
        kind: reader of the dataset.
        split: xsub, xview, ...
        store: address of the store.
        max_bodies: bodies of a recording, M.
        model: name of the network, and its settings.
        input: frames of a sample.
        train: the training.
        fusion_weight: share of the coarse head in the mean of both (Eq. 14).
    """

    benchmark: str
    variant: str
    modality: str
    seed: int
    recipe: int
    dataset: str
    kind: str
    split: str
    store: str
    max_bodies: int
    model: Settings
    input: InputSettings
    train: TrainSettings
    fusion_weight: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RunConfig:
        """Read the mapping that a config.yaml, a grid and a checkpoint hold, checked before (`formats.RUN`)."""
        own = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        own |= {
            "input": InputSettings.of(settings["input"]),
            "train": TrainSettings.of(settings["train"]),
            "fusion_weight": _fusion_weight(settings),
        }
        return cls(**own)

    def to_mapping(self) -> Settings:
        """Return the mapping that files hold."""
        plain = asdict(self)
        plain["input"]["random_scale"] = list(self.input.random_scale)
        plain["train"] = self.train.to_mapping()
        plain["evaluate"] = {"fusion_weight": plain.pop("fusion_weight")}
        return plain

    @property
    def address(self) -> str:
        """Return the eight hex digits that name the run's folder."""
        return address(self.to_mapping())

    @property
    def scoring(self) -> ScoreSettings:
        """Return the settings that its network scores recordings with."""
        return ScoreSettings(self.modality, self.input, self.train.precision, self.fusion_weight)


def _read(kind: type[Section], settings: Mapping[str, Any], schema: Fields) -> Section:
    """Return a section's record; what no field of it is named after is left out."""
    known = {**defaults_of(record(schema)), **settings}
    values = {field.name: known[field.name] for field in fields(kind) if field.name in known}
    return kind(**{key: _frozen(value) for key, value in values.items()})


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fusion_weight(settings: Mapping[str, Any]) -> float:
    own: Settings = defaults_of(record(EVALUATE)) | settings.get("evaluate", {})
    weight: float = own["fusion_weight"]
    return weight
