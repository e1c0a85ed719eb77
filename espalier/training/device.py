"""Devices, determinism and precision."""

import contextlib
import os

import torch
from torch import nn

from espalier.errors import BadInput
from espalier.training.process_group import ProcessGroup, join
from espalier.training.recipe import Recipe


def join_process_group(recipe: Recipe) -> ProcessGroup:
    """Join the processes that train together, and set the number of threads and the determinism."""
    torch.set_num_threads(recipe.threads)
    # ONNX Runtime sets this for the thread that calls it, permanently; without this line the bits
    # would depend on earlier calls
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = False
    if torch.cuda.is_available():
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # cuBLAS is deterministic only with a workspace
        torch.use_deterministic_algorithms(
            True, warn_only=True
        )  # some operators have no deterministic version
        # with determinism comes the filling of new memory, a kernel more for each tensor; nothing reads it unwritten
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return join(default_device())


def default_device() -> torch.device:
    """The GPU of this process if there is one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: GPUs since Ampere, processors with AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_amx_tile_supported())


def trains_in_bfloat16(recipe: Recipe, device: torch.device) -> bool:
    """Whether a recipe has the network compute in bfloat16 on that device.

    Raises:
        BadInput: if bfloat16 is requested on a device that only emulates it.
    """
    able = computes_bfloat16(device)
    if recipe.precision == "bfloat16" and not able:
        raise BadInput(
            f"Expected `precision` to be float32 or auto on this {device.type}, which has no "
            "bfloat16 arithmetic; "
            "found `precision = bfloat16`."
        )
    return able and recipe.precision != "float32"


def autocast(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The context in which the network computes.

    Raises:
        BadInput: as of `trains_in_bfloat16`.
    """
    if trains_in_bfloat16(recipe, device):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to the device, in the fastest memory layout that is correct there."""
    overrun = device.type == "cpu" and any(map(_overruns, network.modules()))
    layout = torch.contiguous_format if overrun else torch.channels_last
    return network.to(device=device, memory_format=layout)  # type: ignore[call-overload, no-any-return]


def _overruns(module: nn.Module) -> bool:
    """Whether oneDNN writes past its memory in the backward pass of this layer, if it is laid out in channels last.

    https://github.com/uxlfoundation/oneDNN/issues/6035: strided 1x1 filters over fewer channels than a vector register
    holds (8 with AVX2, 16 with AVX-512). It ends in wrong gradients or in a crash.
    """
    if not isinstance(module, nn.Conv2d) or module.weight.shape[1] >= 16:
        return False
    return max(module.kernel_size) == 1 and max(module.stride) > 1
