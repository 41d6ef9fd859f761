"""Small raw datasets in NW-UCLA's format, and their preparation as a part of NW-UCLA."""

import json
import tarfile
import zipfile

import numpy as np

from dualhead.data.prepare import prepare

SETTINGS = {"recipe": 1, "denoise": "energy", "normalize": "none", "max_bodies": 1}
LABELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 8: 7, 9: 8, 11: 9, 12: 10}


def names(count):
    """Return names of recordings, which count up the views, then the actions."""
    actions = list(LABELS)
    return [
        f"a{actions[index // 3 % 10]:02d}_s{index // 30 + 1:02d}_e00_v0{index % 3 + 1}"
        for index in range(count)
    ]


def write_recording(folder, name, num_frames=3):
    rng = np.random.default_rng(list(name.encode()))
    joints = rng.standard_normal((num_frames, 20, 3)).round(4).tolist()
    label = LABELS[int(name[1:3])]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"file_name": name, "skeletons": joints, "label": label})
    (folder / f"{name}.json").write_text(text)


def write_raw(folder):
    """Write forty recordings, all ten actions and three views among them; return their folder."""
    for index, name in enumerate(names(40)):
        write_recording(folder, name, 1 + index % 5)
    return folder


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for item in sorted(folder.iterdir(), reverse=True):
            file.write(item, f"all_sqe/{item.name}")
    return path


def tarred(folder):
    path = folder.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, "nw_ucla/all_sqe")
    return path


def prepare_part(raw, tmp_path, **changes):
    """Prepare into tmp_path/store.h5, as a subset of NW-UCLA."""
    plain = {
        "settings": SETTINGS,
        "partial": True,
        "dropped": tmp_path / "store.dropped.csv",
        "reuse": None,
        "workers": 1,
    }
    output = changes.pop("output", tmp_path / "store.h5")
    return prepare("nw_ucla", [raw], output, **(plain | changes))
