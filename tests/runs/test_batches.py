"""Batches against the same thing done one sample at a time."""

import warnings

import numpy as np
import pytest
import torch

from dualhead.data.modalities import MODALITIES
from dualhead.data.store import Store
from dualhead.layout import LAYOUTS
from dualhead.runs import augment, batches
from dualhead.runs.batches import (
    epoch_order,
    load_split,
    make_batch,
    ordered_batches,
    present_bodies,
    send,
)
from dualhead.settings.run import InputSettings
from tests.builders.tiny import tiny_config, write_tiny_store

CPU = torch.device("cpu")


def settings(**changes):
    return InputSettings.of({**tiny_config()["input"], **changes})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def store(tmp_path):
    with Store(write_tiny_store(tmp_path / "store.h5")) as store:
        yield store


@pytest.fixture
def split(store):
    return load_split(store, np.arange(len(store)), CPU)


def whole(split, generator=None, modality="joint", **changes):
    """Return all samples as one batch, as numpy."""
    index = torch.arange(len(split))
    batch = make_batch(
        split, index, modality=modality, settings=settings(**changes), generator=generator
    )
    return batch.numpy()


def recording(store, position):
    """Return the real frames of one recording, (C, T, V, M)."""
    return store.padded(position, num_frames=max(1, int(store.num_frames[position])))


def slow_min_max(joints):
    """Scale x, y and z of the present bodies of (C, T, V, M) to -1..1, one at a time."""
    joints = joints.astype(np.float64)
    present = np.abs(joints).sum((0, 1, 2)) > 0
    for c in range(3):
        values = joints[c][..., present]
        if values.size:
            spread = values.max() - values.min()
            joints[c][..., present] = (values - values.min()) / spread * 2 - 1 if spread else 0
    return joints


@pytest.mark.parametrize("padding", ["loop", "zero"])
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("num_frames", [1, 12, 50])
def test_a_batch_is_the_padded_samples(tmp_path, padding, modality, num_frames):
    path = write_tiny_store(tmp_path / "store.h5", padding=padding)
    with Store(path) as store:
        split = load_split(store, np.arange(len(store)), CPU)
        batch = whole(split, modality=modality, num_frames=num_frames)
        for position, found in enumerate(batch):
            padded = store.padded(position, num_frames=num_frames)
            np.testing.assert_array_equal(MODALITIES[modality](padded, store.layout), found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_has_the_shape_of_the_layout(tmp_path, layout):
    with Store(write_tiny_store(tmp_path / "store.h5", layout=LAYOUTS[layout])) as store:
        split = load_split(store, np.arange(5), CPU)
        assert (5, 3, 12, LAYOUTS[layout].num_joints, 2) == whole(split).shape


def test_samples_come_in_the_order_asked_for(store):
    positions = np.array([7, 2, 11])
    split = load_split(store, positions, CPU)
    assert [store.names[position] for position in positions] == split.names
    assert store.labels[positions].tolist() == split.labels.tolist()
    batch = make_batch(
        split, torch.tensor([2, 0]), modality="joint", settings=settings(), generator=None
    )
    np.testing.assert_array_equal(store.padded(11, num_frames=12), batch[0])
    np.testing.assert_array_equal(store.padded(7, num_frames=12), batch[1])


def test_a_split_of_absent_bodies_is_zero(store):
    split = load_split(store, np.array([0, 4, 8]), CPU)
    assert not whole(split).any()
    assert not whole(split, min_max=True, resample="uniform").any()


def test_ordered_batches_cover_the_split_in_order(split):
    made = list(ordered_batches(split, 7, modality="bone", settings=settings()))
    assert [len(batch) for batch in made] == [7, 7, 7, 3]
    np.testing.assert_array_equal(whole(split, modality="bone"), torch.cat(made).numpy())


def test_uniform_resampling_in_the_test_is_even_and_holds_both_ends(store, split):
    batch = whole(split, resample="uniform")
    for position, found in enumerate(batch):
        real = recording(store, position)
        last = real.shape[1] - 1
        expected = [int(np.floor(step * last / 11 + 1e-9)) for step in range(12)]
        assert (0, last) == (expected[0], expected[-1])
        np.testing.assert_array_equal(real[:, expected], found)


def test_uniform_resampling_in_training_takes_sorted_real_frames(store, split):
    batch = whole(split, seeded(), resample="uniform", num_frames=40)
    different = set()
    for position, found in enumerate(batch):
        real = recording(store, position)
        if not real[..., 0].any():
            continue
        taken = [
            next(t for t in range(real.shape[1]) if np.array_equal(real[..., 0][:, t], frame))
            for frame in found[..., 0].transpose(1, 0, 2)
        ]
        assert sorted(taken) == taken
        np.testing.assert_array_equal(real[:, taken], found)
        different.add(tuple(taken))
    assert len(different) > 10


def test_every_frame_is_equally_likely_in_training():
    frames = augment._resample(torch.full((4000,), 7), 10, seeded())
    counts = torch.bincount(frames.flatten(), minlength=7)
    assert len(counts) == 7
    assert (counts / counts.sum() - 1 / 7).abs().max() < 0.005


@pytest.mark.parametrize("resample", ["none", "uniform"])
def test_min_max_equals_scaling_one_recording_at_a_time(store, split, resample):
    batch = whole(split, resample=resample, min_max=True, num_frames=9)
    for position, found in enumerate(batch):
        real = slow_min_max(recording(store, position))
        last = real.shape[1] - 1
        times = [step * last // 8 for step in range(9)] if resample == "uniform" else range(9)
        for slot, body in enumerate(store.bodies(position)):
            expected = real[..., slot][:, [time % max(len(body), 1) for time in times]]
            np.testing.assert_allclose(expected, found[..., slot], atol=2e-6)
        assert not found[..., len(store.bodies(position)) :].any()


def test_min_max_of_a_coordinate_that_never_changes_is_zero():
    joints = torch.full((1, 2, 1, 3, 1), 5.0)
    assert not augment.min_max(joints, torch.tensor(5.0), torch.tensor(5.0)).any()


def test_zero_padding_stays_zero_under_min_max(tmp_path):
    with Store(write_tiny_store(tmp_path / "store.h5", padding="zero")) as store:
        split = load_split(store, np.arange(len(store)), CPU)
        batch = whole(split, min_max=True, num_frames=40)
        plain = whole(split, num_frames=40)
    absent = (plain == 0).all(1)
    assert absent.any()
    assert not batch.transpose(0, 2, 3, 4, 1)[absent].any()
    assert (batch.min(), batch.max()) == (-1.0, 1.0)


def test_min_max_after_rotation_spans_the_rotated_recording(store, split):
    """With one frame shown, the range is still that of all frames, turned as the shown one is."""
    changes = {"min_max": True, "random_rotation": 40, "num_frames": 200}
    batch = whole(split, seeded(4), **changes)
    present = np.array([len(store.bodies(position)) > 0 for position in range(len(store))])
    low, high = batch.min((2, 3)), batch.max((2, 3))  # (N, C, M); 200 frames show every real one
    np.testing.assert_allclose(-1, low.min(-1)[present], atol=1e-5)
    np.testing.assert_allclose(1, high.max(-1)[present], atol=1e-5)
    fewer = whole(split, seeded(4), **{**changes, "num_frames": 5})
    np.testing.assert_array_equal(batch[:, :, :5], fewer)


def test_a_rotation_keeps_lengths_and_turns_all_frames_and_bodies_alike(split):
    plain, turned = whole(split), whole(split, seeded(), random_rotation=60)
    for before, after in zip(plain, turned, strict=True):
        if not before.any():
            continue
        a, b = before.reshape(3, -1).astype(float), after.reshape(3, -1).astype(float)
        matrix = np.linalg.lstsq(a.T, b.T, rcond=None)[0].T
        np.testing.assert_allclose(matrix @ a, b, atol=1e-5)
        np.testing.assert_allclose(np.eye(3), matrix @ matrix.T, atol=1e-5)
        # rotating about y, then about x: the second column is that of the rotation about x alone
        assert abs(matrix[0, 1]) < 1e-5
        about_x = np.degrees(np.arctan2(matrix[2, 1], matrix[1, 1]))
        about_y = np.degrees(np.arctan2(matrix[0, 2], matrix[0, 0]))
        for angle in (about_x, about_y):
            assert abs(angle) < 60.01
            assert round(angle) == pytest.approx(angle, abs=1e-2)


def test_all_whole_angles_within_the_limit_occur():
    changed = settings(random_rotation=2)
    turns = augment.draw_turn(500, changed, seeded())
    about_x = torch.rad2deg(torch.atan2(turns[:, 2, 1], turns[:, 1, 1])).round().int()
    assert {-2, -1, 0, 1, 2} == set(about_x.tolist())


def test_a_scale_is_one_factor_a_sample(split):
    plain, scaled = whole(split), whole(split, seeded(), random_scale=[0.5, 1.5])
    factors = set()
    for before, after in zip(plain, scaled, strict=True):
        if before.any():
            ratio = np.median(after[before != 0] / before[before != 0])
            np.testing.assert_allclose(before * ratio, after, rtol=1e-4, atol=1e-6)
            factors.add(round(float(ratio), 4))
    assert 0.5 <= min(factors) < 0.8 < 1.2 < max(factors) <= 1.5


def test_a_crop_is_a_random_stretch_of_the_padded_sample(split):
    plain, cropped = (
        whole(split, num_frames=30),
        whole(split, seeded(), num_frames=30, random_crop=6),
    )
    begins = set()
    for before, after in zip(plain, cropped, strict=True):
        fits = [
            begin
            for begin in range(30 - 6 + 1)
            if np.array_equal(before[:, begin : begin + 6], after)
        ]
        assert fits
        begins.add(fits[0])
    assert len(begins) > 4


def test_a_drift_moves_the_plane_linearly_between_two_listed_poses(split):
    plain, moved = whole(split), whole(split, seeded(), random_move=True)
    np.testing.assert_array_equal(plain[:, 2], moved[:, 2])
    ends = {"angle": set(), "scale": set(), "shift": set()}
    for before, after in zip(plain, moved, strict=True):
        if not before.any():
            continue
        found = []
        for t in range(12):
            present = (before[:, t] != 0).any(0)
            a = np.concatenate([before[:2, t][:, present], np.ones((1, present.sum()))])
            matrix = np.linalg.lstsq(a.T, after[:2, t][:, present].T.astype(float), rcond=None)[0].T
            scale = np.hypot(matrix[0, 0], matrix[1, 0])
            angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
            found.append([angle, scale, *matrix[:, 2]])
            np.testing.assert_allclose(matrix @ a, after[:2, t][:, present], atol=1e-4)
        found = np.array(found)
        np.testing.assert_allclose(np.linspace(found[0], found[-1], 12), found, atol=1e-3)
        for pose in (found[0], found[-1]):
            ends["angle"].add(round(float(pose[0])))
            ends["scale"].add(round(float(pose[1]), 1))
            ends["shift"] |= {round(float(value), 1) + 0.0 for value in pose[2:]}
    assert {-10, -5, 0, 5, 10} == ends["angle"]
    assert {0.9, 1.0, 1.1} == ends["scale"]
    assert {-0.2, -0.1, 0.0, 0.1, 0.2} == ends["shift"]


def test_a_drift_leaves_absent_joints_absent(split):
    plain, moved = whole(split), whole(split, seeded(), random_move=True)
    absent = (plain == 0).all(1)
    assert not moved.transpose(0, 2, 3, 4, 1)[absent].any()


def test_bones_are_made_of_the_augmented_joints(split):
    changes = {"random_rotation": 30, "random_move": True}
    joints = whole(split, seeded(2), **changes)
    bones = whole(split, seeded(2), modality="bone", **changes)
    for position in range(len(split)):
        np.testing.assert_array_equal(
            MODALITIES["bone"](joints[position], split.layout), bones[position]
        )


def test_a_test_batch_is_not_augmented(split):
    changes = {"random_rotation": 60, "random_scale": [0.5, 1.5], "random_move": True}
    np.testing.assert_array_equal(whole(split), whole(split, random_crop=5, **changes))


def test_the_same_generator_state_makes_the_same_batch(split):
    changes = {"random_rotation": 60, "random_scale": [0.5, 1.5], "resample": "uniform"}
    np.testing.assert_array_equal(
        whole(split, seeded(5), **changes), whole(split, seeded(5), **changes)
    )
    assert not np.array_equal(
        whole(split, seeded(5), **changes), whole(split, seeded(6), **changes)
    )


def test_an_epoch_shows_every_sample_at_most_once_a_pass():
    order = epoch_order(23, 4, 1, seeded())
    assert order.shape == (5, 4)
    assert len(set(order.flatten().tolist())) == 20


def test_passes_are_joined_before_batches_are_cut():
    order = epoch_order(5, 4, 3, seeded())
    assert order.shape == (3, 4)
    assert set(range(5)) == set(order.flatten()[:5].tolist())
    assert set(range(5)) == set(order.flatten()[5:10].tolist())


def test_a_set_smaller_than_a_batch_is_one_batch_of_all():
    assert sorted(epoch_order(3, 64, 1, seeded())[0].tolist()) == [0, 1, 2]


def test_two_epochs_are_shuffled_differently():
    generator = seeded()
    first, second = (epoch_order(50, 10, 1, generator) for _ in range(2))
    assert not torch.equal(first, second)


def test_rows_that_stay_mapped_make_the_same_batches(store, monkeypatch):
    positions = np.array([13, 2, 7, 4])
    read = load_split(store, positions, CPU)
    monkeypatch.setattr(batches, "HOST_BYTES", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = load_split(store, positions, CPU)
    assert len(mapped.rows) > len(read.rows)
    np.testing.assert_array_equal(whole(read, min_max=True), whole(mapped, min_max=True))


@pytest.mark.parametrize("most", [1 << 30, 0], ids=["read", "mapped"])
def test_damaged_rows_are_refused_as_they_are_loaded(tmp_path, monkeypatch, most):
    monkeypatch.setattr(batches, "HOST_BYTES", most)
    path = write_tiny_store(tmp_path / "store.h5")
    with Store(path) as store:
        name, row = store.names[5], store.bodies(5)[0][:1].tobytes()
    content = path.read_bytes()
    path.write_bytes(content.replace(row, row[:8] + bytes([row[8] ^ 1]) + row[9:]))
    with Store(path) as store:
        assert len(load_split(store, np.array([4, 6]), CPU)) == 2
        with pytest.raises(ValueError, match=rf"store\.h5: sample {name}: damaged"):
            load_split(store, np.array([4, 5]), CPU)


def test_what_is_sent_to_a_device_is_pinned_as_it_lies(monkeypatch):
    """Torch can pin no tensor whose rows are one and the same."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x.stride()) or x)
    send(torch.arange(3).expand(2, 3), torch.device("meta"))
    assert [(3, 1)] == pinned


def test_bodies_that_are_not_there_are_known_without_a_look_at_the_batch(split):
    index = torch.arange(len(split))
    found = present_bodies(split, index, settings(random_rotation=30))
    seen = whole(split, seeded(), random_rotation=30)
    assert torch.equal(found, torch.from_numpy(seen != 0).flatten(1, 3).any(1))
    assert not found.all()
    assert present_bodies(split, index, settings(random_move=True)).all()
