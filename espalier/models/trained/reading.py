"""Weights in files: safetensors, and checkpoints of torch that hold nothing but tensors and plain values."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from espalier.errors import BadInput, printable, reason_of
from espalier.reading import reading
from espalier.settings.programs import PROGRAM, program_refusal

# Where training scripts keep the weights in a checkpoint; running averages first, as timm does.
_PLACES = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
    "params",
    "weights",
)
# Prefixes that wrappers of a network add: data parallelism, compilation, Lightning.
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
_COUNTERS = ("n_averaged",)  # of torch.optim.swa_utils.AveragedModel
_CONVERT = (
    "In the program that wrote it, save the tensors alone: "
    "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')"
)


@dataclass(frozen=True)
class Weights:
    """The tensors of a trained network.

    Attributes:
        tensors: tensors by the names of the network's parameters and buffers.
        notes: sentences about what was chosen or removed on the way.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def read_weights(path: Path, place: str | None = None) -> Weights:
    """Read weights from a file. No code of the file is run.

    Args:
        path: file in safetensors, or in torch's format (`.pt`, `.pth`, `.th`, `.bin`, `.ckpt`).
        place: key of the weights in a checkpoint, with dots between levels; None looks in the
            usual places.

    Raises:
        BadInput: if the file is missing or damaged, would run code, or has no weights where they
            should be.
    """
    if not path.is_file():
        raise BadInput(f"Expected {path} to hold the weights; found no file there.")
    if path.suffix == PROGRAM:
        raise BadInput(program_refusal(str(path)))
    if path.suffix == ".safetensors":
        return _without_prefixes(_safetensors(path), ())
    content = _checkpoint(path)
    found, notes = _chosen(path, content, place) if place else _usual(path, content)
    return _without_prefixes(found, notes)


def _safetensors(path: Path) -> dict[str, Tensor]:
    with reading(path, "sound safetensors"):
        return dict(safetensors.torch.load_file(path))


def _checkpoint(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("WeightsUnpickler error:")[2].strip()
        reason = printable(reason.partition("\n")[0][:200])
        raise BadInput(
            f"Expected {path} to hold tensors and plain values, which can be read without running "
            f"its code; found pickled objects: {reason or 'another kind of pickle'} {_CONVERT}."
        ) from None
    except Exception as error:  # torch raises nearly anything on a file that is no checkpoint
        reason = reason_of(error)
        raise BadInput(
            f"Expected {path} to be a checkpoint of torch with tensors; found: {reason}. {_CONVERT}."
        ) from None


def _chosen(path: Path, content: Any, place: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors at the key that the user gave."""
    value = content
    for key in place.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise BadInput(
                f"Expected {path} to have the key `{place}`; found {_keys(value)} where {key!r} "
                "should be."
            )
        value = value[key]
    return _tensors(path, value, f"`{place}`"), ()


def _usual(path: Path, content: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a checkpoint, in one of the usual places; there may be other tensors beside them."""
    places = [
        key for key in _PLACES if isinstance(content, Mapping) and _is_state(content.get(key))
    ]
    if not places and _is_state(content):
        return _tensors(path, content, "the file"), ()
    if not places:
        raise BadInput(
            f"Expected {path} to hold tensors by name, or to have them under one of "
            f"{', '.join(_PLACES)}; found {_keys(content)}. `key` says where they are."
        )
    others = f"; `key` chooses {' or '.join(places[1:])} instead" if places[1:] else ""
    note = f"{path.name}: the weights under {places[0]!r} are taken{others}."
    return _tensors(path, content[places[0]], f"`{places[0]}`"), (note,)


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and any(isinstance(one, Tensor) and one.ndim for one in value.values())
        and all(isinstance(key, str) for key in value)
    )


def _tensors(path: Path, value: Any, place: str) -> dict[str, Tensor]:
    if not _is_state(value):
        raise BadInput(f"Expected {place} of {path} to hold tensors by name; found {_keys(value)}.")
    return {name: tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}


def _keys(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"a {type(value).__name__}"
    shown = [str(key) for key in list(value)[:8]]
    return f"the keys {', '.join(shown)}{' ...' if len(value) > len(shown) else ''}"


def _without_prefixes(tensors: dict[str, Tensor], notes: tuple[str, ...]) -> Weights:
    """Names without the prefixes that every one of them has."""
    tensors = {name: tensor for name, tensor in tensors.items() if name not in _COUNTERS}
    removed = ""
    while prefix := _common_prefix(tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        removed += prefix
    if removed:
        notes = (*notes, f"The prefix {removed!r} is removed from all {len(tensors)} names.")
    return Weights(tensors, notes)


def _common_prefix(tensors: Mapping[str, Tensor]) -> str:
    return next(
        (
            prefix
            for prefix in _PREFIXES
            if tensors and all(name.startswith(prefix) for name in tensors)
        ),
        "",
    )
