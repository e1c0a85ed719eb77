"""Pruning: what a network can do without is removed, until a target is reached."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from espalier.errors import BadInput
from espalier.pruning.blocks import prune_blocks
from espalier.pruning.budgets import BUDGETS
from espalier.pruning.channels import prune_channels, prune_heads
from espalier.pruning.deployment import one_image
from espalier.pruning.prune_to_target import Ask
from espalier.pruning.scores import Losses, score_named
from espalier.pruning.target import NOUNS, Size, Target
from espalier.pruning.trace import Example, several, sizes
from espalier.pruning.weights import prune_weights


@dataclass(frozen=True)
class Pattern:
    """What can go, and what makes sense with it.

    Attributes:
        function: Removes it.
        targets: What it can reach, by the names of the arguments of `prune`; none if it asks for none.
        budgets: How much of it can go where.
    """

    function: Callable[[nn.Module, Example, Ask], nn.Module]
    targets: tuple[str, ...]
    budgets: tuple[str, ...] = tuple(BUDGETS)


def _prune_blocks(network: nn.Module, example: Example, ask: Ask) -> nn.Module:
    return prune_blocks(network, one_image(example), ask)


def _prune_weights(network: nn.Module, example: Example, ask: Ask) -> nn.Module:
    value = {ask.target.name: ask.target.value}
    return prune_weights(
        network,
        one_image(example),
        sparsity=value.get("sparsity"),
        below=value.get("below"),
        score=ask.score,
        budget=ask.budget,
        losses=ask.losses,
        keep=ask.keep,
    )


def _prune_n_of_m(network: nn.Module, example: Example, ask: Ask) -> nn.Module:
    return prune_weights(
        network,
        one_image(example),
        pattern="n_of_m",
        n=ask.n,
        m=ask.m,
        score=ask.score,
        losses=ask.losses,
        keep=ask.keep,
    )


_SIZES = ("keep_macs", "keep_parameters", "bytes", "milliseconds")

PATTERNS: dict[str, Pattern] = {
    "channels": Pattern(prune_channels, (*_SIZES, "below")),
    "heads": Pattern(prune_heads, _SIZES),
    "blocks": Pattern(_prune_blocks, _SIZES),
    "weights": Pattern(_prune_weights, ("sparsity", "below"), ("global", "uniform", "sensitivity")),
    "n_of_m": Pattern(_prune_n_of_m, (), ("global",)),
}


def prune(
    network: nn.Module,
    example: Example,
    *,
    keep_macs: float | None = None,
    keep_parameters: float | None = None,
    bytes: float | None = None,  # noqa: A002
    milliseconds: float | None = None,
    sparsity: float | None = None,
    below: float | None = None,
    pattern: str = "channels",
    score: str = "magnitude",
    budget: str = "global",
    align: int = 8,
    losses: Losses | None = None,
    base: nn.Module | Size | None = None,
    keep: tuple[str, ...] = (),
    n: int = 2,
    m: int = 4,
) -> nn.Module:
    """Remove what matters least, until what is left is small, fast or sparse enough.

    One target is given; the pattern `n_of_m` has none.

    Args:
        network: Any classifier that `torch.export` can trace; it is left as it is.
        example: An image batch (N, C, H, W) as the network sees it, or a tuple of all its inputs.
        keep_macs: Multiply-accumulates to keep, as a fraction of `base`, in (0, 1]. Never exceeded.
        keep_parameters: Parameters to keep, likewise.
        bytes: The size of the deployed float32 file. Never exceeded.
        milliseconds: Of the deployed file for one image, in ONNX Runtime on one thread of this device.
        sparsity: The fraction of zeros among single weights, in (0, 1).
        below: With `score="threshold"`: what has a root mean square below it goes.
        pattern: What goes, one of `PATTERNS`.
        score: What matters, one of `espalier.pruning.scores.SCORES`.
        budget: How much goes where, one of `espalier.pruning.budgets.BUDGETS`.
        align: Widths stay multiples of this where they are: runtimes compute in blocks.
        losses: For scores and budgets that look at data: yields the loss of each training batch.
        base: What fractions are of, a network or its size; the network itself by default.
        keep: Names of layers whose outputs stay.
        n: How many of every `m` weights stay, for `n_of_m`.
        m: How many weights in a row are a group.

    Returns:
        A new network in evaluation mode, whose outputs have the same shape.

    Raises:
        BadInput: If an argument is out of range or contradicts another, the network cannot be traced or cut, or the
            target is out of reach.
    """
    target = Target.of(
        keep_macs=keep_macs,
        keep_parameters=keep_parameters,
        bytes=bytes,
        milliseconds=milliseconds,
        sparsity=sparsity,
        below=below,
    )
    if align < 1:
        raise BadInput(f"`align` should be at least 1. Found `align = {align}`.")
    _check_names(network, pattern, score, budget, keep)
    _check_target(target, pattern, score, budget)
    with _evaluating(network):
        example = several(example)
        if not isinstance(base, Size):
            base = Size.of(base or network, sizes(example))
        ask = Ask(target or Target("", 0), score, budget, align, losses, base, keep, n, m)
        return PATTERNS[pattern].function(network, example, ask)


def _check_names(
    network: nn.Module, pattern: str, score: str, budget: str, keep: tuple[str, ...]
) -> None:
    """Refuse what is not known."""
    if pattern not in PATTERNS:
        raise BadInput(
            f"`pattern` should be one of {', '.join(PATTERNS)}. Found `pattern = {pattern!r}`."
        )
    if budget not in BUDGETS:
        raise BadInput(
            f"`budget` should be one of {', '.join(BUDGETS)}. Found `budget = {budget!r}`."
        )
    score_named(score, pattern)
    unknown = sorted(set(keep) - {name for name, _ in network.named_modules()})
    if unknown:
        raise BadInput(f"`keep` should name layers of the network. Found {unknown[0]!r}.")


def _check_target(target: Target | None, pattern: str, score: str, budget: str) -> None:
    """Refuse what contradicts itself."""
    known = PATTERNS[pattern]
    if budget not in known.budgets:
        raise BadInput(
            f"`budget` should be one of {', '.join(known.budgets)} for the pattern `{pattern}`. Found `budget = "
            f"{budget!r}`."
        )
    found = f"`{target.name} = {target.value}`" if target else "none"
    if (target.name if target else None) not in (known.targets or (None,)):
        wanted = (
            f"a target of {', '.join(known.targets)}"
            if known.targets
            else "no target but `n` and `m`"
        )
        raise BadInput(f"The pattern `{pattern}` should be given {wanted}. Found {found}.")
    if (score == "threshold") != (target is not None and target.name == "below"):
        raise BadInput(
            f"The score `threshold` and the target `below` should go together. Found `score = {score!r}`."
        )
    if (
        budget == "latency"
        and target is not None
        and target.name not in ("keep_macs", "milliseconds")
    ):
        raise BadInput(
            f"The budget `latency` should be given {NOUNS['keep_macs']} or milliseconds. Found {found}."
        )


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Every layer in evaluation mode, and then back in the mode that it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
