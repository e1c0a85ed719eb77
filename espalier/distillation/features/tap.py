"""Reading what layers put out while a network runs."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from espalier.errors import BadInput


class Tap:
    """Keeps what some layers put out in the last forward pass of their network, or of a copy of it.

    The layers are left alone again when the tap is closed, or nobody holds it any more: copies of
    the network, which took the hooks along, hold it neither.
    """

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        """Tap the layers of these names.

        Raises:
            BadInput: If the network has no such layer.
        """
        self._kept: dict[str, Tensor] = {}
        self.names, found = tuple(dict.fromkeys(names)), dict(network.named_modules())
        for name in self.names:
            if name not in found:
                raise BadInput(
                    f"Expected a layer to pair to be one of the network's; found {name!r}."
                )
        handles = [
            found[name].register_forward_hook(_Keep(weakref.ref(self), name)) for name in self.names
        ]
        self._end = weakref.finalize(self, _remove, handles)

    def take(self) -> dict[str, Tensor]:
        """What each layer put out since it was last taken; it is not kept any longer.

        Raises:
            BadInput: If a layer has not run, or put out something else than a tensor.
        """
        kept, self._kept = self._kept, {}
        for name in self.names:
            if not isinstance(kept.get(name), Tensor):
                found = type(kept[name]).__name__ if name in kept else "nothing: it did not run"
                raise BadInput(
                    f"Expected the layer {name!r} to put out a tensor to be paired; found {found}."
                )
        return kept

    def keep(self, name: str, output: Tensor) -> None:
        """Called by the hook of a layer."""
        self._kept[name] = output

    def close(self) -> None:
        """Leave the layers alone."""
        self._end()


class _Keep:
    """The hook of a layer.

    It knows its tap only as long as that is held, also when it is copied with its network.
    """

    def __init__(self, tap: "weakref.ref[Tap]", name: str) -> None:
        self._tap, self._name = tap, name

    def __call__(self, module: nn.Module, given: Any, output: Any) -> None:
        tap = self._tap()
        if tap is not None:
            tap.keep(self._name, output)


def _remove(handles: list[Any]) -> None:
    for handle in handles:
        handle.remove()
