"""Forms of skeleton files, one module each, and how one is told from another."""

from __future__ import annotations

from collections.abc import Mapping

from dualhead.data.dataset import quoted
from dualhead.data.forms.alphapose import ALPHAPOSE
from dualhead.data.forms.array_file import ARRAY_FILE
from dualhead.data.forms.base import Content, Form, Json, is_json, json_error
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
    foreign = _no_recording(content)
    if foreign:
        raise ValueError(f"{content.name}: expected a recording; found {foreign}.")
    raise ValueError(
        f"{content.name}: expected a form of skeletons known here; found {_seen(content)}. Write it "
        f"as one of these, or name its --format: {', '.join(form.text for form in FORMS.values())}."
    )


def _no_recording(content: Content) -> str:
    """Return the kind of a file that is no recording, or is cut short; empty for others."""
    begin = content.text.lstrip()[:60]
    if not content.raw.strip() and not content.parts:
        return "an empty file"
    if begin.lower().startswith(("<!doctype", "<html")):
        return "a web page, perhaps one that asks to sign in: download the file itself"
    if begin.startswith("version https://git-lfs"):
        return "a pointer of Git LFS: fetch the file with `git lfs pull`"
    if content.document is None and is_json(content.text):
        return f"JSON that is cut or damaged ({json_error(content.text)}): write it anew"
    return ""


def _seen(content: Content) -> str:
    """Return the beginning of a file of no known form."""
    if content.document is not None:
        return f"JSON, {_shape(content.document)}"
    begin = " ".join(content.text[:60].split())
    return repr(begin[:40]) if begin else content.raw[:8].hex(" ")


def _shape(document: Json) -> str:
    """Return the outermost part of a JSON document in words."""
    if isinstance(document, list):
        inner = f", the first {_shape(document[0])}" if document else ""
        return f"a list of {len(document)}{inner}"
    if isinstance(document, dict):
        keys = [quoted(key) for key in list(document)[:5]]
        return f"a mapping of {', '.join(keys) or 'nothing'}{', ...' if len(document) > 5 else ''}"
    return quoted(document)
