"""Occlusion: the words and cells that an answer needs."""

import numpy as np
import torch
from torch import nn

from espalier.inputs.table import TableFacts, TableInput
from espalier.inputs.text import TextFacts, TextInput
from espalier.report.understanding.occlusion import occlusion


class Counts(nn.Module):
    """Logits of two classes: how often the tokens 7 and 9 occur."""

    def forward(self, tokens):
        return torch.stack([(tokens == 7).sum(1), (tokens == 9).sum(1)], 1).float()


def test_only_the_words_that_the_answer_rests_on_support_it():
    tokens = torch.tensor([[7, 5, 9, 7, 0], [9, 9, 3, 0, 0]], dtype=torch.int32)
    kind, facts = TextInput(), TextFacts(10, {})
    explained = torch.tensor([0, 1])
    support = occlusion(
        Counts(), nn.Identity(), tokens, explained, lambda x, part: kind.without(x, part, facts)
    )
    assert support.tolist() == [[1, 0, 0, 1, 0], [1, 1, 0, 0, 0]]
    assert tokens.tolist()[0] == [7, 5, 9, 7, 0]


def test_a_number_rests_on_the_columns_that_change_it():
    kind = TableInput()
    facts = TableFacts(("size", "colour", "age"), ((), ("blue", "red"), ()), (2, 0, 0), (1, 1, 1))
    rows = torch.tensor([[3.0, 1.0, 5.0], [2.0, 0.0, 4.0]])
    network = nn.Linear(4, 1, bias=False)
    network.weight.data = torch.tensor([[2.0, 0.0, -1.0, 4.0]])  # size, age, blue, red
    support = occlusion(
        network, kind.front(facts), rows, None, lambda x, part: kind.without(x, part, facts)
    )
    assert np.allclose(support, [[2, 4, 0], [0, 1, 0]])
