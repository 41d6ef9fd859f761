"""Networks as files that other software runs: ONNX, torch.export, safetensors.

What is traced is the plain network (`ops.plain`), any number of recordings and frames.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dualhead.models import ops
from dualhead.settings.params import Settings

Arrays = tuple[npt.NDArray[np.float32], ...]
Runner = Callable[[npt.NDArray[np.float32]], Arrays]
"""From joints, (N, C, T, V, M), to the outputs of an exported file."""
INPUT = "joints"
NEEDS: Mapping[str, tuple[str, ...]] = {
    ".onnx": ("onnx", "onnxscript", "onnxruntime"),
    ".pt2": (),
    ".safetensors": ("safetensors",),
}
"""Suffix of a format that is written -> packages of the extra `export` that it takes."""
LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
"""Those that tell of packages which are not needed here."""


def require(suffix: str) -> None:
    """Import the packages that a format takes, before anything is computed; ModuleNotFoundError if one is absent."""
    for package in NEEDS[suffix]:
        import_module(package)


def least_frames(settings: Settings) -> int:
    """Return the fewest frames that a network's export holds for, by its `model` settings.

    torch.export holds a length of 1 for another graph: after its strides, 2 and 2, and the coarse head's
    subsampling, a network has 2 frames left.
    """
    return 4 * int(settings.get("subsample", 1)) + 1


def trace(module: nn.Module, joints: Tensor, least: int) -> ExportedProgram:
    """Return the operations of a module in eval mode, for any number of recordings and of `least` frames or more.

    Args:
        module: network of the plain operations.
        joints: an example, (N, C, T, V, M), with N above 1.
        least: see `least_frames`.
    """
    sizes = {0: Dim("batch", min=1), 2: Dim("frames", min=least)}
    with _quiet(), ops.use("plain"), torch.no_grad():
        return torch.export.export(
            module.eval(),
            (joints,),
            dynamic_shapes=(sizes,),
            # torch cannot prove that (T + 1) // 2 is (T - 1) // 2 + 1
            prefer_deferred_runtime_asserts_over_guards=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporters tell of their own affairs to themselves."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def write_onnx(
    program: ExportedProgram, path: Path, outputs: Sequence[str], about: Mapping[str, object]
) -> str:
    """Write a traced module as one ONNX file, weights within; return its opset and number of nodes.

    Args:
        program: the traced module.
        path: the file.
        outputs: names of what it returns.
        about: facts kept as metadata, each as JSON.
    """
    import onnx
    import onnx_ir.passes.common as passes

    sizes = ({0: "batch", 2: "frames"},)
    with _quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes=sizes,
            verbose=False,
        )
    assert exported is not None, "dynamo returns a program"
    passes.ClearMetadataAndDocStringPass()(exported.model)  # paths of this machine, of each node
    model = exported.model_proto
    model.producer_name, model.doc_string = "dualhead", ""
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    opset = next(one.version for one in model.opset_import if not one.domain)
    return f"opset {opset}, {len(model.graph.node)} nodes"


def onnx_runner(path: Path) -> Runner:
    """Return an ONNX file as ONNX Runtime computes it on this CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda joints: tuple(session.run(None, {INPUT: joints}))


def write_program(program: ExportedProgram, path: Path, about: Mapping[str, object]) -> None:
    """Write a traced module as torch.export.load reads it, with facts as the extra file `about.json`."""
    with path.open("wb") as file, _quiet():
        torch.export.save(program, file, extra_files={"about.json": json.dumps(about)})


def program_runner(path: Path) -> Runner:
    """Return a file of torch.export as torch computes it."""
    with path.open("rb") as file, _quiet():
        module = torch.export.load(file).module()

    def run(joints: npt.NDArray[np.float32]) -> Arrays:
        with torch.no_grad():
            return tuple(found.numpy() for found in module(torch.from_numpy(joints)))

    return run


def write_weights(weights: Mapping[str, Tensor], path: Path, about: Mapping[str, object]) -> None:
    """Write weights as safetensors, with facts as metadata, each as JSON."""
    from safetensors.torch import save

    facts = {key: json.dumps(value) for key, value in about.items()}
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    path.write_bytes(save(own, facts))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a safetensors file."""
    from safetensors.torch import load

    found: dict[str, Tensor] = load(path.read_bytes())
    return found
