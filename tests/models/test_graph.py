"""Skeleton graphs against a breadth-first search, and the properties that the paper states."""

import numpy as np
import pytest

from dualhead.layout import LAYOUTS
from dualhead.models.graph import k_hop, windowed
from tests.reference.network import adjacency, hop_distances

NAMES = sorted(LAYOUTS)


def reference(layout, num_scales, window=1):
    return adjacency(layout.edges, layout.num_joints, num_scales, window).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_k_hop_equals_a_breadth_first_search(name):
    layout = LAYOUTS[name]
    np.testing.assert_array_equal(reference(layout, 13), k_hop(layout, 13))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("window", [3, 5])
def test_windowed_equals_a_breadth_first_search(name, window):
    layout = LAYOUTS[name]
    np.testing.assert_array_equal(reference(layout, 6, window), windowed(layout, 6, window))


@pytest.mark.parametrize("name", NAMES)
def test_scales_are_float32_and_symmetric(name):
    scales = k_hop(LAYOUTS[name], 9)
    assert scales.dtype == np.float32
    np.testing.assert_array_equal(scales.transpose(0, 2, 1), scales)


@pytest.mark.parametrize("name", NAMES)
def test_scale_zero_is_the_identity(name):
    layout = LAYOUTS[name]
    np.testing.assert_array_equal(np.eye(layout.num_joints), k_hop(layout, 3)[0])


@pytest.mark.parametrize("name", NAMES)
def test_scales_share_nothing_but_self_loops(name):
    joined = k_hop(LAYOUTS[name], 9) > 0
    overlap = joined.sum(axis=0)
    np.fill_diagonal(overlap, 1)
    assert overlap.max() == 1


@pytest.mark.parametrize("name", NAMES)
def test_scales_together_join_every_pair_within_reach(name):
    layout = LAYOUTS[name]
    distances = hop_distances(layout.edges, layout.num_joints)
    np.testing.assert_array_equal(distances < 5, (k_hop(layout, 5) > 0).any(axis=0))


@pytest.mark.parametrize("name", NAMES)
def test_a_scale_beyond_the_diameter_is_the_identity(name):
    layout = LAYOUTS[name]
    diameter = hop_distances(layout.edges, layout.num_joints).max()
    scales = k_hop(layout, diameter + 2)
    np.testing.assert_array_equal(np.eye(layout.num_joints), scales[-1])
    assert (scales[-2] != np.eye(layout.num_joints)).any()


def test_rows_are_normalized_by_the_roots_of_both_degrees():
    layout = LAYOUTS["ntu25"]
    one = k_hop(layout, 2)[1]
    degree = (one > 0).sum(axis=1)  # self loops included
    i, j = layout.edges[0]
    assert one[i, j] == pytest.approx((degree[i] * degree[j]) ** -0.5, rel=1e-6)


@pytest.mark.parametrize("window", [3, 5])
def test_a_window_repeats_the_skeleton_in_every_pair_of_frames(window):
    layout = LAYOUTS["ntu25"]
    scales = windowed(layout, 4, window)
    frames = scales.reshape(4, window, layout.num_joints, window, layout.num_joints)
    neighbors = (k_hop(layout, 2) > 0).any(axis=0)
    for first in range(window):
        for second in range(window):
            np.testing.assert_array_equal(neighbors, frames[1, first, :, second] > 0)
