"""Low-rank factorization of a network to a target."""

import copy
import warnings
from collections import Counter
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from espalier.errors import BadInput, Notice
from espalier.factorization.low_rank import (
    factorize_layer,
    is_factorable,
    singular_values,
    truncate_weight,
)
from espalier.factorization.ranks import Candidate, choose_ranks, largest_saving
from espalier.measures.macs import count_macs, count_parameters
from espalier.models.attention import Attention
from espalier.models.equivalence import check_equal_outputs
from espalier.models.layer_names import check_kept, is_inside
from espalier.models.structure import masked_weights, replace_layer, shared_weights

_READERS = (Attention, nn.TransformerEncoderLayer)  # they use the weights of their layers
_NOUNS = {"keep_macs": "multiply-accumulates", "keep_parameters": "parameters"}
_CLOSE = 0.98  # of the target: less than this is reported


def factorize(
    network: nn.Module,
    example: Tensor,
    *,
    keep_macs: float | None = None,
    keep_parameters: float | None = None,
    align: int = 8,
    keep: Collection[str] = (),
    base: int | None = None,
) -> nn.Module:
    """Replace linear layers and convolutions by pairs of smaller ones, until a target is reached.

    The pair of a layer is its truncated singular value decomposition (Denton et al. 2014; Zhang et
    al. 2016). The ranks of all layers are chosen together, by the energy that is lost per cost that
    is saved.

    Layers for which no rank saves anything stay. So do grouped convolutions, projections of
    attention, layers that share their weight with another, and weights that were masked or given a
    codebook, which a product would not keep.

    Args:
        network: Network whose forward pass calls its layers; it is left as it is.
        example: Inputs (N, C, H, W) as the network sees them.
        keep_macs: Multiply-accumulates to keep, as a fraction of `base`, in (0, 1]. Never exceeded.
        keep_parameters: Parameters to keep, likewise. Exactly one of both is given.
        align: Ranks are multiples of this.
        keep: Names of layers that stay, with all layers inside.
        base: Cost that the fraction refers to; by default that of `network`.

    Returns:
        A new network in evaluation mode, in which a pair is an `nn.Sequential` under the layer's
        name.

    Raises:
        BadInput: If an argument is out of range, the target is out of reach, or the network uses a
            layer otherwise than by calling it.
    """
    target, fraction = _check_target(keep_macs, keep_parameters)
    _check_arguments(network, align, keep)
    count_uses = target == "keep_macs"
    cost = count_macs(network, example) if count_uses else count_parameters(network)
    base = cost if base is None else base
    candidates = _candidates(network, example, keep, count_uses)
    needed = cost - fraction * base
    reachable = (cost - largest_saving(candidates, align)) / base
    if needed > 0 and reachable > fraction:
        raise BadInput(
            f"Expected `{target}` of at least {reachable:.3g}, which the smallest ranks reach; "
            f"found {fraction:g}. "
            "Choose a smaller `align`, name fewer layers in `keep`, or factorize before weights "
            "are masked or shared."
        )
    ranks = choose_ranks(candidates, needed, align)
    factorized = copy.deepcopy(network).eval()
    for name, rank in ranks.items():
        layer = factorized.get_submodule(name)
        assert is_factorable(layer)
        replace_layer(factorized, name, factorize_layer(layer, rank))
    _check_calls(network, factorized, ranks, example)
    reached = count_macs(factorized, example) if count_uses else count_parameters(factorized)
    _report(_NOUNS[target], cost, reached, fraction * base, align)
    return factorized


def _check_target(keep_macs: float | None, keep_parameters: float | None) -> tuple[str, float]:
    """The name and the value of the one target that is given."""
    values = {"keep_macs": keep_macs, "keep_parameters": keep_parameters}
    given = {name: value for name, value in values.items() if value is not None}
    if len(given) != 1:
        found = " and ".join(f"`{name}`" for name in given) or "neither"
        raise BadInput(f"Expected one target of {', '.join(values)}; found {found}.")
    name, value = next(iter(given.items()))
    if not 0 < value <= 1:
        raise BadInput(f"Expected `{name}` in (0, 1]; found {value}.")
    return name, value


def _check_arguments(network: nn.Module, align: int, keep: Collection[str]) -> None:
    if align < 1:
        raise BadInput(f"Expected `align` of at least 1; found {align}.")
    check_kept(network, keep)


def _candidates(
    network: nn.Module, example: Tensor, keep: Collection[str], count_uses: bool
) -> list[Candidate]:
    """The layers that may be factorized, in their order."""
    places = _places(network, example)
    held = {
        name.rpartition(".")[0] for name in (*masked_weights(network), *shared_weights(network))
    }
    holders = _holders(network)
    found = []
    for name, layer in network.named_modules():
        if name not in places or name in held or is_inside(name, keep):
            continue
        if not is_factorable(layer) or holders[id(layer.weight)] > 1:
            continue
        outputs, inputs = layer.weight.flatten(1).shape
        uses = places[name] if count_uses else 1
        found.append(Candidate(name, outputs, inputs, uses, singular_values(layer)))
    return found


@torch.no_grad()
def _places(network: nn.Module, example: Tensor) -> dict[str, int]:
    """Outputs per channel and example of each factorable layer, summed over its calls.

    A layer whose weight is used without a call has none: torch's own attention multiplies by the
    weight of `out_proj`, and its encoder layer reads those of its linear layers. Projections of
    prunable attention are left out as well: their widths determine the number of heads.
    """
    places: Counter[str] = Counter()
    hooks = []
    for name, layer in network.named_modules():
        parent = network.get_submodule(name.rpartition(".")[0])
        if not name or isinstance(parent, _READERS) or not is_factorable(layer):
            continue

        def count(layer: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            assert is_factorable(layer)
            places[name] += output.numel() // (len(example) * len(layer.weight))

        hooks.append(layer.register_forward_hook(count))
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return places


def _holders(network: nn.Module) -> Counter[int]:
    """The number of names of each parameter, by its identity."""
    named = network.named_parameters(remove_duplicate=False)
    return Counter(id(parameter) for _, parameter in named)


def _check_calls(
    network: nn.Module, factorized: nn.Module, ranks: Mapping[str, int], example: Tensor
) -> None:
    """Compare the factorized network with the original layers at the approximated weights."""
    approximated = copy.deepcopy(network).eval()
    for name, rank in ranks.items():
        layer = approximated.get_submodule(name)
        assert is_factorable(layer)
        truncate_weight(layer, rank)
    check_equal_outputs(approximated, factorized, example)


def _report(noun: str, before: int, reached: int, allowed: float, align: int) -> None:
    """Warn if nothing was factorized, or far more than the target asks for."""
    if reached == before:
        message = (
            f"Factorization changed nothing: {before:,} {noun} are left, {allowed:,.0f} allowed."
        )
        warnings.warn(message, Notice, stacklevel=3)
    elif reached < _CLOSE * allowed:
        hint = " A smaller `align` comes nearer." if align > 1 else ""
        message = f"Factorization left {reached:,} {noun}, {allowed:,.0f} were allowed.{hint}"
        warnings.warn(message, Notice, stacklevel=3)
