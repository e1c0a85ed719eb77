"""Training with a price of bits."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from espalier.coding.coder import Writer
from espalier.coding.levels import code_levels
from espalier.coding.packed import decode, encode
from espalier.coding.rate import (
    Stepped,
    WithRate,
    code_length,
    reparametrise,
    round_to_steps,
    total_bits,
)
from espalier.models.structure import Masked, masked_weights, record, shared_weights
from espalier.training.constraints import constraints_of
from espalier.training.loss_inputs import LossInputs


def laplacian(shape, density):
    random = np.random.default_rng(0)
    sizes = np.ceil(random.exponential(1.5, shape)) * random.choice([-1, 1], shape)
    return (sizes * (random.random(shape) < density)).astype(int)


@pytest.mark.parametrize("shape", [(60, 100), (30, 8, 5, 5)], ids=str)
@pytest.mark.parametrize("density", [0.03, 0.2, 0.6])
def test_the_priced_length_approximates_the_written_one(shape, density):
    levels = laplacian(shape, density)
    writer = Writer()
    code_levels(writer, levels.ravel().tolist(), shape)
    priced = code_length(torch.from_numpy(levels) * 0.25, torch.tensor(0.25)).item()
    assert priced == pytest.approx(8 * len(writer.content()), rel=0.1, abs=40)


def test_a_nonzero_level_costs_more_in_an_empty_row_and_column():
    weight = torch.zeros(20, 30)
    weight[:4, :20] = 1.0
    weight[0, 0] = weight[10, 0] = weight[10, 25] = 0.2
    weight.requires_grad_()
    code_length(weight, torch.tensor(1.0)).backward()
    assert 0 < weight.grad[0, 0] < weight.grad[10, 0] < weight.grad[10, 25]


def test_larger_levels_are_never_cheaper_and_the_gradient_points_to_zero():
    torch.manual_seed(0)
    latent = (torch.randn(30, 40) * 3).requires_grad_()
    log_step = torch.tensor(0.0, requires_grad=True)
    code_length(latent, log_step.exp()).backward()
    assert (latent.grad * latent.sign() >= 0).all()
    assert log_step.grad < 0


def test_a_step_has_the_straight_through_gradient_of_rounding():
    """Esser et al. 2020, eq. 3: round(v / s) - v / s, times the gradient of the loss."""
    stepped = Stepped(0.5)
    weight = torch.tensor([0.3, -0.9, 2.1], requires_grad=True)
    rounded = stepped(weight)
    assert torch.equal(rounded, torch.tensor([0.5, -1.0, 2.0]))
    (rounded * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    torch.testing.assert_close(weight.grad, torch.tensor([1.0, 2.0, 3.0]))
    expected = (
        torch.tensor([1 - 0.6, -2 + 1.8, 4 - 4.2]) * torch.tensor([1.0, 2.0, 3.0])
    ).sum() * 0.5
    torch.testing.assert_close(stepped.log_step.grad, expected)


def trained(network, rate, steps=60):
    """Train a network to keep its outputs."""
    images = torch.randn(64, 1, 16, 16)
    targets = network(images).detach().argmax(1)
    reparametrise(network, [name for name, _ in network.named_parameters()])
    objective = WithRate(
        lambda seen: nn.functional.cross_entropy(seen.outputs, targets), network, rate, ramp=0
    )
    rule, constraints = (
        torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0),
        constraints_of(network),
    )
    for step in range(steps):
        loss = objective(LossInputs(network(images), images, None, 0, step / steps))
        rule.zero_grad()
        loss.backward()
        for constraint in constraints:
            constraint.before_step()
        rule.step()
        for constraint in constraints:
            constraint.after_step()
    round_to_steps(network)
    return network


def test_a_price_makes_the_file_smaller(small):
    cheap, dear = trained(copy.deepcopy(small), 0.0), trained(small, 10.0)
    assert len(encode(dear)) < 0.5 * len(encode(cheap))


def test_rounded_weights_have_steps_of_few_digits_and_pack_without_loss(small):
    images = torch.randn(8, 1, 16, 16)
    names = [name for name, _ in small.named_parameters()]
    reparametrise(small, names)
    before = small(images)
    round_to_steps(small)
    torch.testing.assert_close(small(images), before, rtol=0.02, atol=0.02)
    assert [name for name, _ in small.named_parameters()] == names
    assert shared_weights(small) == tuple(names)
    again = decode(encode(small), "it")
    assert all(
        torch.equal(one, other)
        for one, other in zip(again.parameters(), small.parameters(), strict=True)
    )


def test_masks_and_former_steps_are_kept(small):
    with torch.no_grad():
        small.fc1.weight[torch.rand_like(small.fc1.weight) < 0.7] = 0
    mask = small.fc1.weight == 0
    record(small, Masked(("fc1.weight",)))
    network = trained(small, 0.001, steps=5)
    assert (network.fc1.weight[mask] == 0).all()
    assert "fc1.weight" in masked_weights(network)
    former = network.fc1.weight.detach().clone()
    shared = shared_weights(network)
    reparametrise(network, ["fc1.weight"])
    assert set(shared) - set(shared_weights(network)) == {"fc1.weight"}
    torch.testing.assert_close(network.fc1.weight, former, rtol=1e-6, atol=0)
    round_to_steps(network)
    assert torch.equal(network.fc1.weight, former)


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 8), nn.Linear(8, 8)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.encoder(x).relu())


def test_layers_that_share_a_weight_share_its_rounding():
    torch.manual_seed(0)
    tied = Tied()
    names = [name for name, _ in tied.named_parameters()]
    reparametrise(tied, names)
    assert torch.equal(tied.encoder.weight, tied.decoder.weight)
    weight = tied.encoder.parametrizations.weight
    one = code_length(weight.original, weight[0].log_step.exp())
    biases = [layer.parametrizations.bias for layer in (tied.encoder, tied.decoder)]
    others = [code_length(bias.original, bias[0].log_step.exp()) for bias in biases]
    assert total_bits(tied).item() == pytest.approx((one + sum(others)).item())
    x = torch.randn(5, 8)
    trained = tied(x)
    round_to_steps(tied)
    assert torch.allclose(tied(x), trained, rtol=1e-2, atol=1e-3)
    assert tied.decoder.weight is tied.encoder.weight
    assert shared_weights(tied) == tuple(names)
