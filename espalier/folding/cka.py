"""Centred kernel alignment: the similarity of two layers' representations of the same images."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def linear_cka(one: Tensor, other: Tensor) -> Tensor:
    """Linear CKA of two representations (Kornblith et al. 2019, section 3, with eq. 4).

    `|Y'X|² / (|X'X| |Y'Y|)` in Frobenius norms, of centred columns. It is invariant to rotations
    and to the scale of either representation: [[1], [-1]] and [[3], [-3]] have a CKA of 1.

    Args:
        one: (N, features): outputs of a layer for N examples.
        other: (N, other features): outputs of another layer for the same examples.

    Returns:
        A number in [0, 1]; 0 where either representation is constant.
    """
    gram = _centred_gram(one)
    other_gram = _centred_gram(other)
    product = (gram * other_gram).sum()
    return _ratio(product, (gram * gram).sum(), (other_gram * other_gram).sum())


def batched_cka(batches: Iterable[Sequence[Tensor]]) -> Tensor:
    """Linear CKA of several layers with each other, over batches (Nguyen et al. 2021, eq. 2 and 3).

    Each batch adds its unbiased estimate of the three products (HSIC_1 of Song et al. 2012), so the
    expectation does not depend on the size of the batches.

    Args:
        batches: For each batch of at least 4 examples, the outputs (N, ...) of each layer.

    Returns:
        (layers, layers) float64: a symmetric table with ones on the diagonal.
    """
    total: Tensor | None = None
    for layers in batches:
        grams = [_gram_without_diagonal(layer) for layer in layers]
        products = _hsic(torch.stack(grams))
        total = products if total is None else total + products
    if total is None:
        raise ValueError("Expected at least one batch in `batches`; found none.")
    norms = total.diagonal()
    return _ratio(total, norms[:, None], norms[None, :])


def _centred_gram(outputs: Tensor) -> Tensor:
    """(N, N) inner products of centred outputs: there are usually more features than examples."""
    values = outputs.double()
    centred = values - values.mean(0)
    return centred @ centred.T


def _gram_without_diagonal(outputs: Tensor) -> Tensor:
    rows = outputs.flatten(1).double()
    gram = rows @ rows.T
    return gram.fill_diagonal_(0)


def _hsic(grams: Tensor) -> Tensor:
    """(layers, layers) HSIC_1 of each pair of (layers, N, N) Gram matrices without diagonals.

    With `n` examples: `(tr(K L) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'K L1) / (n (n-3))`.
    """
    n = grams.shape[1]
    sums = grams.sum(2)  # (layers, N)
    totals = sums.sum(1)
    traces = torch.einsum("aij,bij->ab", grams, grams)
    product_of_totals = totals[:, None] * totals[None, :] / ((n - 1) * (n - 2))
    product_of_sums = 2 / (n - 2) * sums @ sums.T
    return (traces + product_of_totals - product_of_sums) / (n * (n - 3))


def _ratio(product: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The normalised product; 0 where a norm is 0."""
    norm = (one.clamp(min=0) * other.clamp(min=0)).sqrt()
    ratio = product / norm.clamp(min=1e-300)
    return torch.where(norm > 0, ratio, torch.zeros_like(norm))
