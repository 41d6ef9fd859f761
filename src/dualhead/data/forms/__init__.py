"""Forms of skeleton files, one module each, and how one is told from another."""

from __future__ import annotations

from collections.abc import Mapping

from dualhead.data.forms.alphapose import ALPHAPOSE
from dualhead.data.forms.array_file import ARRAY_FILE
from dualhead.data.forms.base import Content, Form
from dualhead.data.forms.bvh import BVH
from dualhead.data.forms.kinect import AZURE_KINECT, KINECT, NW_UCLA
from dualhead.data.forms.kinetics import KINETICS
from dualhead.data.forms.markers import C3D, TRC
from dualhead.data.forms.mediapipe import MEDIAPIPE
from dualhead.data.forms.mmpose import MMPOSE
from dualhead.data.forms.openpose import OPENPOSE
from dualhead.data.forms.skeleton_text import SKELETON_TEXT
from dualhead.data.forms.table import TABLE
from dualhead.data.forms.yolo import YOLO

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        *(SKELETON_TEXT, KINECT, AZURE_KINECT, NW_UCLA, KINETICS, OPENPOSE, ALPHAPOSE, MMPOSE),
        *(YOLO, MEDIAPIPE, TABLE, ARRAY_FILE, BVH, TRC, C3D),
    )
}
"""The one list of forms."""


def tell(content: Content) -> Form:
    """Return the form of a file, told by its content.

    Raises:
        ValueError: if it is of none or could be of several; the line lists which.
    """
    found = [form for form in FORMS.values() if form.is_of(content)]
    if len(found) == 1:
        return found[0]
    if found:
        texts = ", ".join(f"{form.name} ({form.text})" for form in found)
        raise ValueError(f"{content.name}: could be {texts}; say which with --format.")
    known = ", ".join(form.text for form in FORMS.values())
    shown = content.text[:40].strip() or content.raw[:8].hex(" ") or "nothing"
    raise ValueError(
        f"{content.name}: expected a form of skeletons known here ({known}); found "
        f"{' '.join(shown.split())!r}. Write it as CSV or as a NumPy array, or name its --format."
    )
