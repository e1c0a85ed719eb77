"""A network as a folder of its architecture, its weights and their hashes: no pickle, no code."""

from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from espalier import files
from espalier.errors import BadInput, EspalierError, reason_of
from espalier.models.architecture import Architecture, architecture_of
from espalier.models.bounds import check_shapes
from espalier.models.rebuilding import check_rebuildable, rebuild
from espalier.paths import ARCHITECTURE, CONTENT, WEIGHTS, content_files
from espalier.reading import naming, refuse_special
from espalier.settings.limits import largest_network


def save(network: nn.Module, folder: str | Path) -> None:
    """Write a network into a folder, which is made if need be, and seal it.

    Raises:
        BadInput: If the network has no architecture, or `load` could not rebuild it: layers were
            changed by hand in a way that is not recorded. Nothing is written then.
    """
    folder = Path(folder)
    architecture = architecture_of(network)
    check_rebuildable(network, architecture)
    files.write_json(folder / ARCHITECTURE, architecture.as_json())
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    with files.writing(folder / WEIGHTS) as beside:  # the file's content in memory would be a copy
        safetensors.torch.save_file(_without_shared_memory(state), beside)
    files.seal(folder)


def load(folder: str | Path, *, trusted: Collection[str] = ()) -> nn.Module:
    """Read a network whose outputs equal those of the saved one, bit for bit.

    Args:
        folder: Folder that `save` or a stage wrote.
        trusted: Packages beside espalier and torchvision whose functions may build the network.

    Returns:
        The network, on the processor, in evaluation mode.

    Raises:
        BadInput: If a file is missing or damaged, or the factory is unknown or not trusted.
    """
    files.verify(Path(folder), required=(ARCHITECTURE, WEIGHTS))
    return load_verified(Path(folder), trusted=trusted)


def load_verified(folder: Path, *, trusted: Collection[str] = ()) -> nn.Module:
    """`load` without hashing the files again: for a folder that this process has verified."""
    architecture = read_architecture(folder)
    path = folder / WEIGHTS
    refuse_special(path)
    try:
        limit = largest_network(path.stat().st_size)
        with naming(f"{folder / ARCHITECTURE}, or {WEIGHTS} beside it"):
            check_shapes(architecture, _shapes(path), trusted, limit)
            network = rebuild(architecture, trusted)
        state = safetensors.torch.load_file(path)
        network.load_state_dict(_versioned(state, network))
    except (EspalierError, MemoryError):
        raise
    except Exception as error:  # the user's factory runs here too
        if "can't allocate memory" in str(error):
            raise
        raise BadInput(
            f"Expected {path} to hold the weights of the network in {ARCHITECTURE} beside it; "
            f"found: {reason_of(error)}."
        ) from error
    return architecture.attach(network).eval()


def _shapes(path: Path) -> dict[str, list[int]]:
    """Shape of each tensor of a file of weights, by its name, from the header alone."""
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118


def _versioned(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors with the versions of a network's layers: torchvision's mnasnet requires them."""
    versioned = OrderedDict(state)
    setattr(versioned, "_metadata", getattr(network.state_dict(), "_metadata", None))  # noqa: B010
    return versioned


def read_architecture(folder: Path) -> Architecture:
    """The architecture of a model folder."""
    path = folder / ARCHITECTURE
    with naming(path):
        return Architecture.from_json(files.read_json_object(path))


def concepts_of(folder: Path) -> dict[str, list[str]] | None:
    """The classes of each output of the model in a folder; None for all classes, one by one."""
    return read_architecture(folder).concepts


def content_hash(folder: Path) -> str:
    """SHA-256 of the architecture, the weights, the deployed file, and what makes its inputs.

    It is independent of time and place.

    Raises:
        BadInput: If the folder is not sealed, a file is damaged, or one of the three is missing.
    """
    hashes = files.verify(folder, required=CONTENT)
    return files.digest({name: hashes[name] for name in content_files(hashes)})


def _without_shared_memory(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share no memory: safetensors stores each by itself."""
    seen: set[int] = set()
    for name, value in state.items():
        if value.data_ptr() in seen:
            state[name] = value.clone()
        seen.add(value.data_ptr())
    return state
