import numpy as np
import pytest

from dualhead.data.denoise import energy, find_tracks, motion, select_actors, select_by_energy

HEIGHT = np.linspace(-0.8, 0.8, 25)


def person(rng, num_frames, *, at=0.0, step=0.01, width=0.1):
    """Return joints (3, T, 25) of somebody who walks along x, upright if not wide."""
    joints = np.zeros((3, num_frames, 25))
    joints[0] = at + step * np.arange(num_frames)[:, None] + width * np.linspace(-1, 1, 25)
    joints[1] = HEIGHT
    joints[2] = 3.0 + 0.01 * rng.normal(size=(num_frames, 25))
    return joints


def rows(*bodies):
    """Return frames, IDs and joints of (ID, frames, joints (3, n, 25)), in a file's order."""
    found = sorted(
        (
            (frame, place, body, joints[:, at])
            for place, (body, frames, joints) in enumerate(bodies)
            for at, frame in enumerate(frames)
        ),
        key=lambda row: row[:2],
    )
    frames = np.array([row[0] for row in found], np.int64)
    return frames, [row[2] for row in found], np.stack([row[3] for row in found], axis=1)


def choose(*bodies):
    tracks, _ = find_tracks(*rows(*bodies))
    return select_actors(tracks)


def test_energy_adds_the_deviations_over_the_frames_where_the_body_is(rng):
    body = rng.normal(size=(3, 6, 25))
    body[:, [1, 4]] = 0
    there = body[:, [0, 2, 3, 5]]
    expected = sum(np.sqrt(((axis - axis.mean()) ** 2).mean()) for axis in there)
    assert energy(body) == pytest.approx(expected, rel=1e-12)


def test_a_frame_whose_coordinates_cancel_counts_for_the_energy():
    body = np.zeros((3, 2, 25))
    body[:, 0, 0] = 0.5, -0.25, -0.25
    assert energy(body) > 0


def test_nobody_has_no_energy():
    assert energy(np.zeros((3, 5, 25))) == 0


def test_the_slots_of_most_energy_are_kept_highest_first(rng):
    slots = rng.normal(size=(3, 4, 5, 25)) * np.array([0.2, 3.0, 0.1, 1.0])[:, None, None]
    kept, removed = select_by_energy(slots, 2)
    assert kept == [1, 3]
    assert [(row.body, row.reason) for row in removed] == [
        ("slot 0", "low_energy"),
        ("slot 2", "low_energy"),
    ]


def test_of_equal_energies_the_lower_slot_comes_first(rng):
    body = rng.normal(size=(3, 5, 25))
    kept, _ = select_by_energy(np.stack([body, -body, body], axis=1), 2)
    assert kept == [0, 1]


def test_empty_slots_are_neither_kept_nor_removed(rng):
    slots = np.zeros((3, 4, 5, 25))
    slots[:, 2] = rng.normal(size=(3, 5, 25))
    assert select_by_energy(slots, 2) == ([2], [])


def test_a_body_of_one_point_is_kept_after_one_with_energy(rng):
    slots = np.zeros((3, 2, 5, 25))
    slots[:, 0] = 1.0
    slots[:, 1] = rng.normal(size=(3, 5, 25))
    assert select_by_energy(slots, 2) == ([1, 0], [])


def test_tracks_count_frames_that_hold_somebody_and_close_gaps(rng):
    one, two = person(rng, 6), person(rng, 4)
    frames, ids, joints = rows(("a", [2, 3, 4, 7, 8, 9], one), ("b", [3, 4, 8, 9], two))
    tracks, removed = find_tracks(frames, ids, joints)
    assert {body: (track.start, track.end) for body, track in tracks.items()} == {
        "a": (0, 5),
        "b": (1, 4),
    }
    assert np.array_equal(tracks["b"].joints, two.astype(np.float32))
    assert not removed


def test_an_id_twice_in_one_frame_counts_once(rng):
    one, two = person(rng, 3), person(rng, 3)
    tracks, removed = find_tracks(*rows(("a", [0, 1, 2], one), ("a", [0, 1, 2], two)))
    assert np.array_equal(tracks["a"].joints, one.astype(np.float32))
    assert [(row.body, row.reason) for row in removed] == [("a", "same_id")]


def test_motion_adds_the_variances(rng):
    joints = rng.normal(size=(3, 8, 25)).astype(np.float32)
    expected = joints.astype(np.float64).reshape(3, -1).var(axis=1).sum()
    assert motion(joints) == pytest.approx(expected, rel=1e-5)


def test_the_body_of_most_motion_is_the_first_actor(rng):
    calm, lively = person(rng, 20, step=0.01), person(rng, 20, step=0.1)
    actors, removed = choose(("calm", range(20), calm), ("lively", range(20), lively))
    assert np.array_equal(actors, np.stack([lively, calm], axis=1).astype(np.float32))
    assert not removed


@pytest.mark.parametrize(("length", "stays"), [(11, False), (12, True)])
def test_a_body_of_eleven_frames_is_noise(length, stays, rng):
    bodies = ("long", range(20), person(rng, 20)), ("brief", range(length), person(rng, length))
    actors, removed = choose(*bodies)
    assert actors[:, 1].any() == stays
    assert [row.reason for row in removed] == ([] if stays else ["short"])


def test_bodies_that_are_all_brief_stay(rng):
    actors, removed = choose(
        ("one", range(11), person(rng, 11)), ("two", range(11), person(rng, 11, at=1.0))
    )
    assert actors.shape == (3, 2, 11, 25)
    assert actors.any(axis=(0, 2, 3)).all()
    assert not removed


@pytest.mark.parametrize(("sideways", "stays"), [(69, True), (70, False)])
def test_a_body_too_wide_in_seven_of_ten_frames_is_noise(sideways, stays, rng):
    wide = person(rng, 100)
    wide[0, :sideways] *= 20
    actors, removed = choose(("upright", range(100), person(rng, 100)), ("wide", range(100), wide))
    assert actors.any(axis=(0, 2, 3)).all() == stays
    assert [row.reason for row in removed] == ([] if stays else ["spread"])


def test_the_last_body_stays_however_wide_it_is(rng):
    one, two = person(rng, 20, width=5.0), person(rng, 20, width=5.0, at=1.0)
    actors, removed = choose(("one", range(20), one), ("two", range(20), two))
    assert [row.body for row in removed] == ["one"]
    assert np.array_equal(actors[:, 0], two.astype(np.float32))


def test_wide_frames_do_not_count_as_motion(rng):
    flickering, walking = person(rng, 40, step=0.001), person(rng, 40, step=0.02)
    flickering[0, ::2] *= 30
    actors, _ = choose(("flickering", range(40), flickering), ("walking", range(40), walking))
    assert np.array_equal(actors[:, 0], walking.astype(np.float32))


@pytest.mark.parametrize(("begin", "actor"), [(20, 0), (19, 0), (18, 1)])
def test_a_later_body_goes_on_as_the_first_actor_if_they_share_one_frame_at_most(begin, actor, rng):
    first, later = person(rng, 20, step=0.1), person(rng, 20, step=0.05)
    actors, removed = choose(
        ("first", range(20), first),
        ("later", range(begin, begin + 20), later),
    )
    assert not removed
    assert np.array_equal(actors[:, actor, begin : begin + 20], later.astype(np.float32))


def test_a_third_body_beside_two_others_is_left_out(rng):
    steps = {"a": 0.3, "b": 0.2, "c": 0.1}
    bodies = [(name, range(20), person(rng, 20, step=step)) for name, step in steps.items()]
    _, removed = choose(*bodies)
    assert [(row.body, row.reason) for row in removed] == [("c", "overlap")]


def test_a_single_body_is_not_filtered(rng):
    alone = person(rng, 5, width=9.0)
    actors, removed = choose(("alone", range(5), alone))
    assert np.array_equal(actors[:, 0], alone.astype(np.float32))
    assert not actors[:, 1].any()
    assert not removed


def test_frames_where_nobody_is_left_go(rng):
    noise, real = person(rng, 5), person(rng, 20)
    actors, _ = choose(("noise", range(5), noise), ("real", range(5, 25), real))
    assert np.array_equal(actors[:, 0], real.astype(np.float32))


def test_no_body_gives_no_frames():
    tracks, _ = find_tracks(np.zeros(0, np.int64), [], np.zeros((3, 0, 25)))
    actors, removed = select_actors(tracks)
    assert (actors.shape[2], removed) == (0, [])
