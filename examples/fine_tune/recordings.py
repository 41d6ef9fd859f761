"""NW-UCLA as two sets of recordings: seven actions to train on, and three others of which five recordings each train.

`python recordings.py nw_ucla.tar.gz data/raw` writes data/raw/seven and data/raw/three, each with a labels.csv. As in
CTR-GCN's protocol, the third camera's recordings are the test.
"""

import csv
import hashlib
import sys
import tarfile
from pathlib import Path, PurePosixPath

ACTIONS = {
    "a01": "pick up with one hand",
    "a02": "pick up with two hands",
    "a03": "drop trash",
    "a04": "walk around",
    "a05": "sit down",
    "a06": "stand up",
    "a08": "donning",
    "a09": "doffing",
    "a11": "throw",
    "a12": "carry",
}
NEW = ("a09", "a11", "a12")
FEW = 5
HEADER = ("name", "label", "subject", "camera", "part")


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """Return the recordings of the seven actions, and those of the three new ones: all that test, few that train."""
    seven = [name for name in names if name[:3] not in NEW]
    three = [name for name in names if name[:3] in NEW and name[12:15] == "v03"]
    for action in NEW:
        training = [name for name in names if name[:3] == action and name[12:15] != "v03"]
        three += sorted(training, key=lambda name: hashlib.sha256(name.encode()).digest())[:FEW]
    return seven, sorted(three)


def row(name: str) -> tuple[str, ...]:
    """Return the line of labels.csv of a recording such as a09_s03_e02_v01.json."""
    action, subject, _, camera = PurePosixPath(name).stem.split("_")
    return (
        name,
        ACTIONS[action],
        subject,
        camera,
        "test" if camera == "v03" else "train",
    )


def main(archive: Path, raw: Path) -> None:
    """Write both sets."""
    with tarfile.open(archive) as tar:
        names = sorted(PurePosixPath(one.name).name for one in tar if one.name.endswith(".json"))
    folders = {}
    for folder, own in zip(("seven", "three"), split(names), strict=True):
        (raw / folder).mkdir(parents=True, exist_ok=True)
        folders |= dict.fromkeys(own, folder)
        with (raw / folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *map(row, own)])
        print(f"{raw / folder}: {len(own)} recordings")
    with tarfile.open(archive) as tar:
        for one in tar:  # in their order: going back in a compressed archive means reading it anew
            name = PurePosixPath(one.name).name
            content = tar.extractfile(one) if name in folders else None
            if content is not None:
                (raw / folders[name] / name).write_bytes(content.read())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
