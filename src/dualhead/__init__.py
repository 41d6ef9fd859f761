"""DualHead-Net as a reproducible workflow: raw skeletons in, the paper's tables out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualhead.data import modalities
    from dualhead.data.store import Store
    from dualhead.models.checkpoint import load

__all__ = ["Store", "load", "modalities"]
__version__ = "0.1.0"

_LAZY = {"load": "dualhead.models.checkpoint", "Store": "dualhead.data.store"}


def __getattr__(name: str) -> Any:
    """Import NumPy, torch and h5py only when something that needs them is asked for."""
    if name == "modalities":
        return import_module("dualhead.data.modalities")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dualhead' has no attribute {name!r}")
