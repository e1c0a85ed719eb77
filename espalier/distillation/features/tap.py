"""Hooks that read the outputs of layers."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from espalier.errors import BadInput


class Tap:
    """Keeps the outputs of some layers in the last forward pass of their network, or of a copy of it.

    The hooks are removed when the tap is closed or collected. Copies of the network copy the hooks
    but do not keep the tap alive.
    """

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        """Hook the layers of these names.

        Raises:
            BadInput: if the network has no such layer.
        """
        self._kept: dict[str, Tensor] = {}
        self.names = tuple(dict.fromkeys(names))
        found = dict(network.named_modules())
        for name in self.names:
            if name not in found:
                raise BadInput(f"Expected the name of a layer of the network; found {name!r}.")
        handles = [
            found[name].register_forward_hook(_Keep(weakref.ref(self), name)) for name in self.names
        ]
        self._end = weakref.finalize(self, _remove, handles)

    def pop(self) -> dict[str, Tensor]:
        """The output of each layer since the last call; it is removed from the tap.

        Raises:
            BadInput: if a layer has not run, or its output is not a tensor.
        """
        kept, self._kept = self._kept, {}
        for name in self.names:
            if not isinstance(kept.get(name), Tensor):
                found = type(kept[name]).__name__ if name in kept else "nothing: it did not run"
                raise BadInput(
                    f"Expected the layer {name!r} to have a tensor as output; found {found}."
                )
        return kept

    def keep(self, name: str, output: Tensor) -> None:
        """Called by the hook of a layer."""
        self._kept[name] = output

    def close(self) -> None:
        """Remove the hooks."""
        self._end()


class _Keep:
    """The hook of a layer.

    It refers to its tap weakly, also when it is copied with its network.
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
