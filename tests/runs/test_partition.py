"""The samples that a run trains on and holds out, and refusals of another store."""

import pytest

from dualhead.data.store import Store
from dualhead.runs.partition import check_store, split_positions
from dualhead.settings.run import RunConfig
from tests.builders.tiny import tiny_config, write_tiny_store


@pytest.fixture
def store(tmp_path):
    with Store(write_tiny_store(tmp_path / "store.h5")) as store:
        yield store


def test_a_store_of_another_dataset_is_refused(store):
    config = RunConfig.of({**tiny_config(), "kind": "ntu60"})
    with pytest.raises(ValueError, match="expected a store of ntu60, found one of synthetic"):
        check_store(store, config)


def positions(store, share, **changes):
    return split_positions(store, RunConfig.of({**tiny_config(validation=share), **changes}))


def subjects_of(store, part):
    return set(store.meta["subject"][part].tolist())


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.2, 1), (0.4, 2), (0.6, 3), (0.99, 4)])
def test_a_share_of_the_subjects_is_held_out_with_all_their_recordings(store, share, count):
    found = positions(store, share)
    assert len(subjects_of(store, found.validation)) == count
    assert not subjects_of(store, found.validation) & subjects_of(store, found.training)
    training, test = store.split("thirds")
    assert sorted([*found.training, *found.validation]) == training.tolist()
    assert found.test.tolist() == test.tolist()


def test_without_a_share_all_of_the_training_split_trains(store):
    found = positions(store, 0.0)
    assert found.training.tolist() == store.split("thirds")[0].tolist()
    assert len(found.validation) == 0


def test_all_seeds_modalities_and_variants_hold_out_the_same(store):
    expected = positions(store, 0.4).validation.tolist()
    for changes in ({"seed": 4}, {"modality": "bone"}, {"variant": "ms_g3d", "recipe": 2}):
        assert expected == positions(store, 0.4, **changes).validation.tolist()


def test_a_larger_share_holds_out_those_of_a_smaller_one_too(store):
    chosen = [subjects_of(store, positions(store, share).validation) for share in (0.2, 0.4, 0.8)]
    assert chosen[0] < chosen[1] < chosen[2]


def test_who_is_held_out_never_changes(store):
    """By `for s in 1 2 3 4 5; do echo $(printf $s | sha256sum) $s; done | sort`: 4, 3, 1, 2, 5."""
    assert subjects_of(store, positions(store, 0.4).validation) == {4, 3}


def test_a_store_that_does_not_say_who_acts_is_refused(store):
    del store.meta["subject"]
    message = r"the store does not say who acts \(its columns: turn\); set train.validation: 0"
    with pytest.raises(ValueError, match=message):
        positions(store, 0.2)


def test_one_subject_cannot_be_held_out(store):
    store.meta["subject"][:] = 7
    message = "takes 2 in the training split; found 1. Set train.validation: 0"
    with pytest.raises(ValueError, match=message):
        positions(store, 0.2)
