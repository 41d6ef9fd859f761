import pytest

from dualhead.models.ops.cpu import slabs


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch):
    """Let a CPU work on one body at a time, so that slabs have ends."""
    monkeypatch.setattr(slabs, "SLAB", 1)
