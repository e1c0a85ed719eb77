"""The check that an exchange of layers left the outputs as they were, on numbers and on tokens."""

import copy

import pytest
import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.equivalence import check_equal_outputs

TOKENS = torch.zeros(2, 8, dtype=torch.int32)  # as an entry gives them: all of them padding


class Words(nn.Module):
    """The mean embedding, from a layer of embeddings or from a table of the network's own."""

    def __init__(self, *, own_table: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.Embedding(5, 3)
        self.table = nn.Parameter(layer.weight.detach()) if own_table else layer

    def forward(self, tokens: Tensor) -> Tensor:
        weight = self.table.weight if isinstance(self.table, nn.Embedding) else self.table
        return nn.functional.embedding(tokens, weight).mean(1)


@pytest.mark.parametrize("own_table", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_network_on_tokens_is_compared_on_tokens_that_it_takes(own_table, dtype):
    network = Words(own_table=own_table)
    check_equal_outputs(network, copy.deepcopy(network).eval(), TOKENS.to(dtype))


@pytest.mark.parametrize("row", range(5))
def test_a_difference_for_any_token_is_found(row):
    network = Words(own_table=False)
    changed = copy.deepcopy(network).eval()
    changed.table.weight.data[row] += 1
    with pytest.raises(BadInput, match="Expected equal outputs after the layers changed"):
        check_equal_outputs(network, changed, TOKENS)


def test_without_an_embedding_the_largest_token_of_the_example_bounds_the_compared_ones():
    network = Words(own_table=True)
    changed = copy.deepcopy(network).eval()
    changed.table.data[4] += 1
    with pytest.raises(BadInput, match="Expected equal outputs"):
        check_equal_outputs(network, changed, TOKENS + 4)


def test_a_network_that_no_longer_takes_the_tokens_is_refused():
    network = Words(own_table=False)
    with pytest.raises(
        BadInput, match="a network that runs after its layers changed; found: index"
    ):
        check_equal_outputs(
            network, nn.Sequential(nn.Embedding(1, 3), nn.AdaptiveAvgPool2d((1, 3))).eval(), TOKENS
        )
