"""Skeleton graphs: which joints a scale joins, and with what weight (Sec. 3.2)."""

from __future__ import annotations

import numpy as np

from dualhead.arrays import Array, Mask
from dualhead.layout import SkeletonLayout

# The published numbers were made with NumPy's float32 power on AVX-512 processors. It is one unit in the last place
# off at these numbers of neighbors; we repeat that, so that every machine gives the same network to the last bit.
ROUNDED_UP = (7, 28, 29, 35, 37, 38, 53, 110, 112, 116, 117)
ROUNDED_DOWN = (6, 24, 41, 42, 43, 45, 47, 49, 54, 58, 96, 97, 107, 121, 125, 126)


def k_hop(layout: SkeletonLayout, num_scales: int) -> Array:
    """Return the normalized adjacency of each hop distance, the identity at distance 0 (Eq. 1).

    Args:
        layout: skeleton layout with the edges.
        num_scales: K; beyond the diameter of the skeleton a scale is the identity.

    Returns:
        (K, V, V), symmetric.
    """
    return _normalized_scales(_one_hop(layout), num_scales)


def windowed(layout: SkeletonLayout, num_scales: int, window: int) -> Array:
    """Return the same for a window of frames, in which a joint meets itself and its neighbors in every frame (MS-G3D).

    Returns:
        (K, W * V, W * V), symmetric; joints of the first frame first.
    """
    return _normalized_scales(np.tile(_one_hop(layout), (window, window)), num_scales)


def _one_hop(layout: SkeletonLayout) -> Mask:
    """Return the pairs of joints at most one hop apart, (V, V)."""
    adjacency = np.eye(layout.num_joints, dtype=bool)
    first, second = np.array(layout.edges).T
    adjacency[first, second] = adjacency[second, first] = True
    return adjacency


def _normalized_scales(one_hop: Mask, num_scales: int) -> Array:
    """Return D^-1/2 (A_k + I) D^-1/2 for each k, where A_k joins what is exactly k steps apart.

    Paper: D is the degree of A_k; official code: self loops included, which leaves no joint without a degree.
    """
    identity = np.eye(len(one_hop), dtype=bool)
    within, scales = identity, [identity]
    for _ in range(1, num_scales):
        wider = (within.astype(np.float32) @ one_hop) > 0
        scales.append((wider & ~within) | identity)
        within = wider
    adjacency = np.stack(scales).astype(np.float32)
    root = _inverse_root(adjacency.sum(axis=2))
    return root[:, :, None] * adjacency * root[:, None, :]


def _inverse_root(degree: Array) -> Array:
    """Return degree^-1/2 in float32, rounded as in the published networks."""
    root = (degree.astype(np.float64) ** -0.5).astype(np.float32)
    root = np.where(np.isin(degree, ROUNDED_UP), np.nextafter(root, np.float32(2)), root)
    return np.where(np.isin(degree, ROUNDED_DOWN), np.nextafter(root, np.float32(0)), root)
