"""Exported files: what ONNX Runtime and torch.export compute of them, what they say, and what is refused."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dualhead.cli import main as cli
from dualhead.layout import LAYOUTS
from dualhead.models import ops
from dualhead.models.checkpoint import load, load_checkpoint
from dualhead.runs import export as export_module
from dualhead.runs.export import Chain, check, export
from dualhead.runs.predict import load_ensemble
from tests.builders.checkpoints import PREPARATION, write_checkpoint

SMALL = {"coarse_windows": [3], "fine_windows": []}
ELSEWHERE = """
import sys
for name in ("torch", "dualhead"):
    sys.modules[name] = None
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
for path in sys.argv[2:]:
    scores, logits = session.run(["scores", "logits"], {"joints": numpy.load(path)})
    numpy.save(path, scores)
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return [
        write_checkpoint(folder / "joint.pt", **SMALL),
        write_checkpoint(folder / "bone.pt", model="ms_g3d", modality="bone", seed=2, windows=[]),
    ]


@pytest.fixture(scope="module")
def ensemble(checkpoints):
    return load_ensemble(checkpoints, "cpu")


@pytest.fixture(scope="module")
def exported(checkpoints):
    """The chain of both networks as ONNX and as torch.export, of one trace."""
    outputs = [checkpoints[0].with_name(name) for name in ("chain.onnx", "chain.pt2")]
    lines = list(export(checkpoints, [], outputs, recordings={}))
    return SimpleNamespace(onnx=outputs[0], program=outputs[1], lines=lines)


def make_joints(samples, frames):
    joints = torch.randn(samples, 3, frames, 20, 2, generator=torch.Generator().manual_seed(frames))
    joints[0, ..., 1] = 0
    return joints


def own_scores(ensemble, joints):
    ((scores, _),) = export_module._own(ensemble, [joints])
    return scores


@pytest.mark.workflow
def test_onnx_runtime_alone_computes_the_chain(exported, ensemble, tmp_path):
    shapes = ((1, 30), (5, 9), (2, 47))
    for samples, frames in shapes:
        np.save(tmp_path / f"{frames}.npy", make_joints(samples, frames).numpy())
    files = [str(tmp_path / f"{frames}.npy") for _, frames in shapes]
    call = [sys.executable, "-c", ELSEWHERE, str(exported.onnx), *files]
    done = subprocess.run(call, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    for (samples, frames), file in zip(shapes, files, strict=True):
        expected = own_scores(ensemble, make_joints(samples, frames))
        np.testing.assert_allclose(np.load(file), expected, rtol=0, atol=1e-5)


@pytest.mark.workflow
def test_an_onnx_file_says_what_it_is(exported, checkpoints):
    import onnx

    model = onnx.load(exported.onnx)
    about = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert LAYOUTS["kinect20"].to_mapping() == about["layout"]
    assert ["wave", "sit", "jump"] == about["class_names"]
    assert (PREPARATION, 16, 9) == (
        *(about["preparation"], about["input"]["num_frames"], about["least_frames"]),
    )
    digests = [load_checkpoint(path)["digest"] for path in checkpoints]
    assert digests == [one["digest"] for one in about["networks"]]
    assert ["joint coarse", "joint fine", "bone fusion"] == about["output"]["logits"]
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    assert ["batch", "frames"] == [sizes[0].dim_param, sizes[2].dim_param]
    assert all(not one.metadata_props and not one.doc_string for one in model.graph.node)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert re.search(
        r"2 networks, opset \d+, \d+ nodes, .* 6 recordings in 3 shapes", exported.lines[0]
    )


@pytest.mark.workflow
def test_torch_export_computes_the_chain(exported, ensemble):
    extra = {"about.json": ""}
    module = torch.export.load(exported.program, extra_files=extra).module()
    for samples, frames in ((1, 30), (4, 9)):
        joints = make_joints(samples, frames)
        scores, logits = module(joints)
        assert (samples, 3, 3) == logits.shape
        expected = own_scores(ensemble, joints)
        np.testing.assert_allclose(scores.detach().numpy(), expected, rtol=0, atol=1e-5)
    assert "joint" == json.loads(extra["about.json"])["networks"][0]["modality"]


@pytest.fixture(scope="module")
def plain_chain(ensemble):
    """The chain as it is traced, not traced."""
    chain = export_module._chain(ensemble).eval()

    def run(joints):
        with ops.use("plain"), torch.no_grad():
            return tuple(one.numpy() for one in chain(torch.from_numpy(joints)))

    return run


BATCHES = [make_joints(3, 21), make_joints(1, 16)]


def test_a_chain_computes_what_its_networks_do(plain_chain, ensemble, tmp_path):
    found = check(plain_chain, ensemble, BATCHES, tmp_path / "model.onnx")
    assert (4, 2) == found[:2] and found.error < 1e-5


def test_a_chain_makes_each_modality_of_joints():
    class Seen(torch.nn.Module):
        def forward(self, x):
            return {"logits": x.flatten(1)[:, :4]}

    joints, layout = make_joints(2, 10), LAYOUTS["kinect20"]
    names = ["joint", "bone_motion", "joint"]
    _, logits = Chain([Seen(), Seen(), Seen()], names, [0.5] * 3, layout)(joints)
    bones = joints - joints[..., list(layout.parents), :]
    steps = torch.zeros_like(bones)
    steps[:, :, :-1] = bones[:, :, 1:] - bones[:, :, :-1]
    expected = [joints, steps, joints]
    assert torch.equal(logits, torch.stack([one.flatten(1)[:, :4] for one in expected], 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores, logits: (scores + 2e-4, logits), "scores differ by 2.0e-04"),
        (lambda scores, logits: (scores[:, [1, 2, 0]], logits), r"[1-3] get another best class"),
        (lambda scores, logits: (scores, logits * 1.001), "expected at most 0.0001"),
        (lambda scores, logits: (scores * np.nan, logits), "scores differ by nan"),
    ],
)
def test_a_file_that_computes_otherwise_is_not_written(
    plain_chain, checkpoints, tmp_path, monkeypatch, capsys, change, message
):
    monkeypatch.setattr(export_module, "trace", lambda *_: None)
    monkeypatch.setattr(
        export_module, "write_onnx", lambda program, path, *_: str(path.write_bytes(b"x"))
    )
    wrong = lambda joints: change(*plain_chain(joints))  # noqa: E731
    monkeypatch.setattr(export_module, "onnx_runner", lambda path: wrong)
    words = ["export", *map(str, checkpoints), "--output", str(tmp_path / "model.onnx")]
    assert 1 == cli.main(words)
    said, line = capsys.readouterr().err.splitlines()
    assert "a minute" in said
    assert line.startswith(f"dualhead export: {tmp_path / 'model.onnx'}: not written")
    assert re.search(message, line)
    assert [] == list(tmp_path.iterdir())


def test_recordings_that_are_given_are_what_it_is_checked_on(ensemble, tmp_path, rng):
    for name in ("walk", "sit", "run", "eat"):
        np.save(tmp_path / f"{name}.npy", rng.normal(1, 0.3, (9, 20, 3)))
    about = export_module.describe(ensemble)
    given = export_module._batches(ensemble, [tmp_path], {"unit": "m"}, about)
    assert [(1, 3, 16, 20, 2), (3, 3, 16, 20, 2)] == [tuple(joints.shape) for joints in given]


def test_weights_are_read_back_by_what_their_card_says(checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["export", str(checkpoints[0]), "--output", "weights.safetensors"]
    assert 0 == cli.main(words)
    card = (tmp_path / "weights.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    found = {}
    exec(compile(code, "weights.md", "exec"), found)
    own = load(checkpoints[0])
    joints = make_joints(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(found["network"](joints), own(joints), rtol=0, atol=0)
    assert load_checkpoint(checkpoints[0])["digest"] in card


def test_what_cannot_be_exported_is_one_line(checkpoints, tmp_path, capsys):
    other = write_checkpoint(tmp_path / "long.pt", modality="bone", num_frames=64, **SMALL)
    cases = [
        ([checkpoints[0], "--output", tmp_path / "model.tflite"], "ends in .onnx, .pt2"),
        ([checkpoints[0], other, "--output", tmp_path / "model.onnx"], "input.num_frames differ"),
        (
            [*checkpoints, "--output", tmp_path / "w.safetensors"],
            "expected one checkpoint, found 2",
        ),
        ([tmp_path / "walk.npy", "--output", tmp_path / "model.onnx"], "expected a checkpoint"),
    ]
    for words, message in cases:
        assert 1 == cli.main(["export", *map(str, words)])
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert [tmp_path / "long.pt"] == list(tmp_path.iterdir())
