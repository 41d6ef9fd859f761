"""An H100 that is not there: enough of it for Inductor to generate the code that a real one would run.

All of it are private interfaces of torch 2.13 and Triton 3.7, replaced for the duration of a block; nothing is compiled
by Triton or run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from unittest import mock

import torch
import torch._dynamo.device_interface as device_interface
import torch._inductor.compile_fx as compile_fx
import torch._inductor.fx_passes.reinplace as reinplace
import torch._inductor.scheduler as scheduler
import torch._inductor.utils as inductor_utils
import torch.utils._triton
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch._subclasses import fake_tensor

DEVICE = torch.device("cuda:0")
PROPERTIES = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    total_memory=80 * 2**30,
    shared_memory_per_block=48 * 2**10,
    shared_memory_per_block_optin=227 * 2**10,
    shared_memory_per_multiprocessor=228 * 2**10,
    L2_cache_size=50 * 2**20,
    gcnArchName="",
    is_integrated=0,
    is_multi_gpu_board=0,
    uuid="",
)
OF_TORCH = {  # torch.cuda's functions
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_properties": lambda device=None: PROPERTIES,
    "get_device_capability": lambda device=None: (9, 0),
    "get_device_name": lambda device=None: PROPERTIES.name,
    "get_arch_list": lambda: ["sm_90"],
    "is_bf16_supported": lambda including_emulation=True: True,
    "synchronize": lambda device=None: None,
    "current_stream": lambda device=None: None,
    "memory_allocated": lambda device=None: 0,
    "device": lambda device: nullcontext(),
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda *_: None,
}
OF_INTERFACE = (  # those that Dynamo's CudaInterface hands on
    "current_device",
    "current_stream",
    "device_count",
    "get_device_properties",
    "is_bf16_supported",
    "memory_allocated",
    "synchronize",
)


class _Driver:
    """Driver of a GPU, as far as Triton asks for it while code is generated."""

    utils = None

    def get_current_target(self) -> object:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, PROPERTIES.warp_size)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: object = None) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return DEVICE

    def get_benchmarker(self) -> object:
        return lambda *_, **__: [0.0]


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Let torch believe that it has an H100, in the block."""
    import triton

    interface = device_interface.CudaInterface
    triton.runtime.driver.set_active(_Driver())
    device_interface.get_interface_for_device("cuda")
    device_interface.caching_worker_device_properties["cuda"] = [PROPERTIES]
    device_interface.caching_worker_current_devices["cuda"] = 0
    with ExitStack() as stack:

        def replace(owner: object, name: str, value: object) -> None:
            stack.enter_context(mock.patch.object(owner, name, value, create=True))

        for name, value in OF_TORCH.items():
            replace(torch.cuda, name, value)
        for name in OF_INTERFACE:
            replace(interface, name, staticmethod(OF_TORCH[name]))
        replace(interface, "get_raw_stream", staticmethod(lambda index: 0))
        replace(interface, "device", lambda *_: nullcontext())
        replace(torch.version, "cuda", "13.0")
        for module in (torch.utils._triton, scheduler, inductor_utils, compile_fx):
            replace(module, "has_triton", lambda *_, **__: True)
        replace(reinplace, "_inplace_generalized_scatter", lambda into, source, views: into)
        replace(torch._C, "_conv_determine_backend_memory_format", _convolution_format)
        # asked for by a fake convolution over one axis, for its strides alone
        replace(fake_tensor.FakeTensor, "contiguous", lambda tensor, **_: tensor)
        replace(fake_tensor, "init_gpu_context", lambda *_: None)
        yield


_cpu_format = torch._C._conv_determine_backend_memory_format


def _convolution_format(x: Tensor, weight: Tensor, backend: object) -> torch.memory_format:
    """Return cuDNN's choice, of which a CPU build of torch knows nothing: channels last if either is."""
    if x.dim() == 4 and torch.channels_last in map(suggest_memory_format, (x, weight)):
        return torch.channels_last
    return _cpu_format(x, weight, backend)
