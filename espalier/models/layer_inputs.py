"""The inputs of layers: values that each weight multiplies, seen while a network runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_PRODUCTS = ("conv1d", "conv2d", "conv3d", "linear")
_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_FIRST_LAYER = ("weight_ih_l0", "weight_ih_l0_reverse")


@dataclass(frozen=True)
class LayerInput:
    """The input of one multiplication by a weight.

    Attributes:
        weight: name of the weight.
        bias: name of the bias that is added to the product; empty if there is none.
        tensor: the input.
        channel: its dimension of channels.
        output: what the layer computes; None for a recurrent one.
        settings: arguments of a convolution: `stride`, `padding`, `dilation`, `groups`, where they are given.
    """

    weight: str
    bias: str
    tensor: Tensor
    channel: int
    output: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.tensor.shape[self.channel]

    def rows(self) -> Tensor:
        """(samples, channels) the values, one row for each example and position."""
        return self.tensor.movedim(self.channel, -1).reshape(-1, self.channels)


class LayerInputs(TorchFunctionMode):
    """Hands the inputs of convolutions and linear layers to a function, in whatever module they are.

    The inputs of a recurrent layer are known, and its states only where another layer reads them.

    Attributes:
        also_used: names of the parameters that pass through other operators, too: a table of
            embeddings that is the weight of the classifier as well.

    Example:
        >>> with LayerInputs(network, lambda given: print(given.weight, given.channels)):
        ...     network(images)
    """

    def __init__(self, network: nn.Module, see: Callable[[LayerInput], None]) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in network.named_parameters()}
        self._see = see
        self.also_used: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = dict(kwargs or {})
        operator = getattr(func, "__name__", "")
        found = func(*args, **keywords)
        if operator in _PRODUCTS:
            given = dict(zip(_ARGUMENTS, args, strict=False)) | keywords
            self._note_use(given["input"])
            self._hand_on(operator, given, found)
        elif operator in _RECURRENT and isinstance(args[2], list | tuple):
            for weight in args[2]:
                if self._name(weight).rpartition(".")[2] in _FIRST_LAYER:
                    self._hand_on("linear", {"input": args[0], "weight": weight}, None)
        elif isinstance(found, Tensor | list | tuple):  # not the shape or the device of a weight
            self._note_use([*args, *keywords.values()])
        return found

    def _note_use(self, values: Any) -> None:
        """Note the parameters among values, and in lists of them, as a concatenation takes them."""
        self.also_used |= {self._name(one) for one in tree_leaves(values)} - {""}

    def _hand_on(self, operator: str, given: dict[str, Any], output: Any) -> None:
        inputs, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
        name = self._name(weight)
        if not name:
            return
        last = inputs.ndim - 1
        channel = last if operator == "linear" else last + 2 - weight.ndim
        self._see(LayerInput(name, self._name(bias), inputs.detach(), channel, output, given))

    def _name(self, value: Any) -> str:
        return self._names.get(id(value), "")
