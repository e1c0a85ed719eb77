"""Centred kernel alignment: how alike two layers see the same images."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def linear_cka(one: Tensor, other: Tensor) -> Tensor:
    """Linear CKA of two representations (Kornblith et al. 2019, section 3, with eq. 4).

    `|Y'X|² / (|X'X| |Y'Y|)` in Frobenius norms, of centred columns. It does not change when either is rotated or
    scaled as a whole; 1 says that one is the other but for that.

    Args:
        one: (N, features): a layer's answers to N examples.
        other: (N, other features): another layer's to the same.

    Returns:
        A number in [0, 1]; 0 where either is constant.
    """
    x, y = one.double() - one.double().mean(0), other.double() - other.double().mean(0)
    k, l = x @ x.T, y @ y.T  # noqa: E741  # N is smaller than the features, as a rule
    return _ratio((k * l).sum(), (k * k).sum(), (l * l).sum())


def batched_cka(batches: Iterable[Sequence[Tensor]]) -> Tensor:
    """Linear CKA of several layers with each other, over batches (Nguyen et al. 2021, eq. 2 and 3).

    Each batch adds its unbiased estimate of the three products (HSIC_1 of Song et al. 2012), so that the size of the
    batches does not matter for what is expected.

    Args:
        batches: For each batch of at least 4 examples, each layer's (N, ...) answers.

    Returns:
        (layers, layers) float64: a symmetric table with ones where a layer meets itself.
    """
    total: Tensor | None = None
    for layers in batches:
        grams = torch.stack([_without_diagonal(layer.flatten(1).double()) for layer in layers])
        products = _hsic(grams)
        total = products if total is None else total + products
    if total is None:
        raise ValueError("`batches` should hold at least one batch. Found none.")
    own = total.diagonal()
    return _ratio(total, own[:, None], own[None, :])


def _without_diagonal(rows: Tensor) -> Tensor:
    gram = rows @ rows.T
    return gram.fill_diagonal_(0)


def _hsic(grams: Tensor) -> Tensor:
    """HSIC_1 of each of the (layers, N, N) Gram matrices without diagonals with each: (layers, layers)."""
    n = grams.shape[1]
    sums = grams.sum(2)  # (layers, N)
    totals = sums.sum(1)
    inner = torch.einsum("aij,bij->ab", grams, grams)
    middle = totals[:, None] * totals[None, :] / ((n - 1) * (n - 2))
    outer = 2 / (n - 2) * sums @ sums.T
    return (inner + middle - outer) / (n * (n - 3))


def _ratio(product: Tensor, one: Tensor, other: Tensor) -> Tensor:
    norm = (one.clamp(min=0) * other.clamp(min=0)).sqrt()
    return torch.where(norm > 0, product / norm.clamp(min=1e-300), torch.zeros_like(norm))
