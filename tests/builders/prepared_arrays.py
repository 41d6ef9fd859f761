"""Recordings as others publish them prepared: PYSKL's pickles, CTR-GCN's archives, folders of 2s-AGCN."""

import pickle

import numpy as np


def someone(rng, num_frames, num_bodies=1, num_joints=25):
    return rng.normal((0, 0, 3), 0.4, size=(num_bodies, num_frames, num_joints, 3))


def pyskl(path, bodies, dtype=np.float16, *, wrap=True, protocol=4):
    """Write bodies (M, T, V, 3) by name as PYSKL does."""
    annotations = [
        {
            "frame_dir": name,
            "label": int(name[-3:]) - 1,
            "keypoint": joints.astype(dtype),
            "total_frames": joints.shape[1],
        }
        for name, joints in bodies.items()
    ]
    split = {"xsub_train": [*bodies], "xsub_val": []}
    content = {"split": split, "annotations": annotations} if wrap else annotations
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def ctr_gcn(path, recordings, compressed=False, both=False):
    """Write bodies (M, T, 25, 3) with labels of train and test as CTR-GCN does."""
    longest = max(joints.shape[1] for part in recordings.values() for joints, _ in part)
    arrays = {}
    for part, entries in recordings.items():
        x = np.zeros((len(entries), longest, 150), np.float32)
        y = np.zeros((len(entries), 60))
        for index, (joints, label) in enumerate(entries):
            moved = joints.astype(np.float32) - joints[0, 0, 1].astype(np.float32)
            rows = moved.transpose(1, 0, 2, 3).reshape(len(joints[0]), -1)
            x[index, : len(rows), : rows.shape[1]] = rows
            if both and len(joints) == 1:
                x[index, : len(rows), 75:] = rows
            y[index, label] = 1
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def agcn(folder, arrays, part="val", protocol=4):
    """Write the authors' arrays (3, T, V, M) by name as 2s-AGCN does."""
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{part}_data_joint.npy", np.stack([*arrays.values()]).astype(np.float32))
    names = [f"{name}.skeleton" for name in arrays]
    labels = [int(name[-3:]) - 1 for name in arrays]
    (folder / f"{part}_label.pkl").write_bytes(pickle.dumps((names, labels), protocol))
    return folder


def picture(rng, num_frames, num_people=2, size=(240, 320)):
    """Return HRNet's annotation of a recording."""
    return {
        "keypoint": rng.uniform(0, size[0], (num_people, num_frames, 17, 2)).astype(np.float16),
        "keypoint_score": rng.uniform(0.1, 1, (num_people, num_frames, 17)).astype(np.float16),
        "img_shape": size,
        "original_shape": size,
        "total_frames": num_frames,
    }
