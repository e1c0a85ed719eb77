"""Checkpoints: one file each, written atomically, named by its own hash, without pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from espalier import files
from espalier.reading import reading

_FORM = "a checkpoint of Espalier, which can be deleted"
_STEM, _SUFFIX = "checkpoint", ".safetensors"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint of one piece of work, in a folder of its own; while a new one is written, the former as well."""

    folder: Path

    def write(self, state: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Save tensors and the JSON value that says how far the work is; former checkpoints go."""
        tensors = {name: value.cpu().contiguous() for name, value in state.items()}
        content = safetensors.torch.save(tensors, {"progress": json.dumps(progress)})
        written = files.write_hashed(self.folder, _STEM, _SUFFIX, content)
        for path in self.folder.glob(f"{_STEM}-*{_SUFFIX}"):
            if path != written:
                path.unlink(missing_ok=True)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and progress of the furthest intact checkpoint, or nothing.

        A damaged one does not count.
        """
        intact = [
            (_progress(path), path) for path in files.find_hashed(self.folder, _STEM, _SUFFIX)
        ]
        if not intact:
            return None
        progress, path = max(intact, key=lambda one: int(one[0]["step"]))
        with reading(path, _FORM):
            return safetensors.torch.load_file(path), progress


def _progress(path: Path) -> dict[str, Any]:
    with reading(path, _FORM), safetensors.safe_open(path, "pt") as file:
        progress: dict[str, Any] = json.loads(file.metadata()["progress"])
        int(progress["step"])
    return progress


def flatten(parts: dict[str, nn.Module | torch.optim.Optimizer]) -> dict[str, Tensor]:
    """All tensors of some modules and optimizers under names that `restore` understands."""
    flat: dict[str, Tensor] = {}
    for part, owner in parts.items():
        if isinstance(owner, nn.Module):
            flat |= {f"{part}.{name}": value for name, value in owner.state_dict().items()}
        else:
            for number, values in owner.state_dict()["state"].items():
                flat |= {
                    f"{part}.{number}.{name}": torch.as_tensor(value)
                    for name, value in values.items()
                    if value is not None
                }
    return {name: value.clone() for name, value in flat.items()}


def restore(parts: dict[str, nn.Module | torch.optim.Optimizer], flat: dict[str, Tensor]) -> None:
    """Put the tensors of `flatten` back."""
    for part, owner in parts.items():
        own = within(f"{part}.", flat)
        if isinstance(owner, nn.Module):
            owner.load_state_dict(own)
        else:
            parameters = [
                parameter for group in owner.param_groups for parameter in group["params"]
            ]
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in own.items():
                number, _, key = name.partition(".")
                state.setdefault(int(number), {})[key] = _laid_out_as(
                    parameters[int(number)], value
                )
            owner.load_state_dict(
                {"state": state, "param_groups": owner.state_dict()["param_groups"]}
            )


def within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy of `value` in the memory layout of its parameter, which fused optimizers expect."""
    return (
        torch.empty_like(parameter).copy_(value)
        if value.shape == parameter.shape
        else value.clone()
    )
