"""Pruning: remove the least important groups of a network until a target is reached."""

from torch import nn

from espalier.models.graph import Example, doubled, evaluating
from espalier.models.layer_names import check_kept
from espalier.pruning.blocks import PrunableBlocks
from espalier.pruning.channels import PrunableChannels, verify_cut
from espalier.pruning.costs import Deployment, one_tensor
from espalier.pruning.groups import BlockGroups, DependencyGroups, KeptOutputs, record_kept_outputs
from espalier.pruning.prune_to_target import prune_to_target
from espalier.pruning.scores.score import Losses
from espalier.pruning.size import Size
from espalier.pruning.spec import PruneSpec, Reconstruction
from espalier.pruning.surgery.proof import check_batches, check_numbers, check_trains, check_values
from espalier.pruning.surgery.reconstruct import reconstruct as reconstruct_layers
from espalier.pruning.surgery.refit import refit
from espalier.pruning.target import targets_of
from espalier.pruning.thresholds import prune_below
from espalier.pruning.weights import mask_weights


def prune(  # noqa: PLR0913 - a thin face: keywords of a PruneSpec
    network: nn.Module,
    example: Example,
    *,
    keep_macs: float | None = None,
    keep_parameters: float | None = None,
    bytes: float | None = None,  # noqa: A002
    milliseconds: float | None = None,
    sparsity: float | None = None,
    below: float | None = None,
    below_mean: float | None = None,
    pattern: str = "channels",
    score: str = "magnitude",
    budget: str = "global",
    align: int = 8,
    losses: Losses | None = None,
    base: nn.Module | Size | None = None,
    keep: tuple[str, ...] = (),
    n: int = 2,
    m: int = 4,
    reconstruct: Reconstruction = True,
) -> nn.Module:
    """Remove the least important groups, until the network is small, fast or sparse enough.

    A target is given, or several sizes, and the cut keeps all of them; `n_of_m` has none.

    Args:
        network: any classifier that `torch.export` can trace; it is not changed.
        example: a batch of images (N, C, H, W) as the network sees them, or a tuple of all inputs.
        keep_macs: multiply-accumulates to keep, as a fraction of `base` in (0, 1]. Never exceeded.
        keep_parameters: parameters to keep, as a fraction of `base` in (0, 1]. Never exceeded.
        bytes: size of the deployed float32 file, which takes images as bytes and normalises them, and
            other inputs as the network sees them. Never exceeded.
        milliseconds: latency of the deployed file for one example, on one thread of this device.
        sparsity: fraction of zeros among single weights, in (0, 1).
        below: with `score="threshold"`, the root mean square below which groups are removed.
        below_mean: factor of the mean score of a layer below which groups are removed.
        pattern: kind of groups, one of `espalier.pruning.patterns.PATTERNS`.
        score: importance of groups, one of `espalier.pruning.scores.SCORES`.
        budget: distribution over layers, one of `espalier.pruning.budgets.BUDGETS`.
        align: widths that are left are multiples of this, where they were before: runtimes compute
            in blocks of channels.
        losses: yields the loss of each training batch, for scores and budgets that use data, and to
            reconstruct.
        base: network, or its size, to which fractions refer; the network itself by default.
        keep: names of layers whose outputs stay, with all layers inside.
        n: number of weights that stay of every `m`, for `n_of_m`.
        m: number of consecutive weights that form a group, for `n_of_m`.
        reconstruct: whether, with `losses`, the kept channels take over what the removed ones did
            (`espalier.pruning.surgery.reconstruct`), before statistics of norms are computed anew.
            `"layers"`: then each layer in turn is fitted to what it computed in the whole network
            (`espalier.pruning.surgery.refit`), whose statistics of norms stay right.

    Returns:
        A new network in evaluation mode, whose outputs have the same shape.

    Raises:
        BadInput: if an argument is out of range or contradicts another, the network cannot be
            traced or cut, or the target is out of reach.

    Example:
        >>> smaller = prune(network, images, keep_macs=0.5, score="magnitude")
    """
    targets = targets_of(
        keep_macs=keep_macs,
        keep_parameters=keep_parameters,
        bytes=bytes,
        milliseconds=milliseconds,
        sparsity=sparsity,
        below=below,
        below_mean=below_mean,
    )
    spec = PruneSpec(
        pattern=pattern,
        targets=targets,
        score=score,
        budget=budget,
        align=align,
        keep=keep,
        n=n,
        m=m,
        reconstruct=reconstruct,
    )
    return prune_by_spec(network, example, spec, losses=losses, base=base)


def prune_by_spec(
    network: nn.Module,
    example: Example,
    spec: PruneSpec,
    *,
    losses: Losses | None = None,
    base: nn.Module | Size | None = None,
    deployment: Deployment | None = None,
) -> nn.Module:
    """Remove or mask the least important groups, as a request says.

    Args:
        network: any classifier that `torch.export` can trace; it is not changed.
        example: a batch of inputs as the network sees them, or a tuple of all inputs.
        spec: the request; its targets are those of this cut.
        losses: yields the loss of each training batch, for scores and budgets that use data, and to
            reconstruct.
        base: network, or its size, to which fractions refer; the network itself by default.
        deployment: surroundings of the network in the deployed file, whose bytes and milliseconds are
            measured; by default those of `prune`.

    Returns:
        A new network in evaluation mode, whose outputs have the same shape.

    Raises:
        BadInput: if the network cannot be traced or cut, or the target is out of reach.
    """
    check_kept(network, spec.keep)
    inputs = doubled(example)
    batch = inputs if isinstance(example, tuple) else inputs[0]
    with evaluating(network):
        if not spec.kind.cuts:
            return mask_weights(network, one_tensor(batch), spec, losses)
        size = base if isinstance(base, Size) else Size.of(base or network, batch)
        return _remove(network, batch, spec, losses, size, deployment)


def _remove(
    network: nn.Module,
    example: Example,
    spec: PruneSpec,
    losses: Losses | None,
    base: Size,
    deployment: Deployment | None,
) -> nn.Module:
    """Remove groups until the target is reached."""
    if spec.pattern == "blocks":
        example = one_tensor(example)
    groups = spec.kind.find(network, example, spec.keep)
    if isinstance(groups, BlockGroups):
        tensor = one_tensor(example)
        blocks = PrunableBlocks(network, tensor, groups, spec, losses, deployment)
        return prune_to_target(blocks, spec, losses, base)[0]
    assert isinstance(groups, DependencyGroups)
    channels = PrunableChannels(network, example, groups, spec, losses, deployment)
    smaller, kept = (
        prune_below(channels, spec)
        if spec.threshold
        else prune_to_target(channels, spec, losses, base)
    )
    verify_cut(smaller, groups, kept, example)
    check_numbers(network, smaller, example)
    check_batches(network, smaller, example)
    check_trains(network, smaller, example)
    check_values(network, smaller, groups, kept, example)
    if losses and spec.reconstruct:
        reconstruct_layers(network, smaller, groups, kept, losses)
        if spec.reconstruct == "layers":
            refit(network, smaller, groups, kept, losses)
    record_kept_outputs(smaller, KeptOutputs.of(groups, kept))
    return smaller
