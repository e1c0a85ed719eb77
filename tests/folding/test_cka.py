import pytest
import torch
from torch import nn

from espalier.data.prepared import read_dataset, read_split
from espalier.distillation.objectives import from_labels
from espalier.folding.cka import batched_cka, linear_cka
from espalier.folding.similarity import outputs
from espalier.inputs.image import ImageAugmentations
from espalier.models import build
from espalier.seeds import seed_all
from espalier.training.batches import Resident
from espalier.training.device import ProcessGroup
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

CPU = torch.device("cpu")


def represented(n=40, features=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, features, generator=generator)


def hsic(one, other):
    """Kornblith et al. 2019, eq. 3, with the kernels and the centring matrix written out."""
    n = len(one)
    centring = torch.eye(n).double() - torch.ones(n, n).double() / n
    k, l = one.double() @ one.T.double(), other.double() @ other.T.double()  # noqa: E741
    return torch.trace(k @ centring @ l @ centring) / (n - 1) ** 2


def hsic_unbiased(one, other):
    """Nguyen et al. 2021, eq. 3, with matrices of ones written out."""
    n, ones = len(one), torch.ones(len(one), 1).double()
    k, l = one.double() @ one.T.double(), other.double() @ other.T.double()  # noqa: E741
    k, l = k - torch.diag(k.diag()), l - torch.diag(l.diag())  # noqa: E741
    first = torch.trace(k @ l)
    second = (ones.T @ k @ ones * (ones.T @ l @ ones)).item() / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (ones.T @ k @ l @ ones).item()
    return (first + second - third) / (n * (n - 3))


def test_linear_cka_follows_the_formula_of_the_paper():
    x, y = represented(), represented(features=7, seed=1) + represented()[:, :7]
    wanted = hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
    assert linear_cka(x, y).item() == pytest.approx(wanted.item(), rel=1e-10)
    # the form of section 3 that gives linear CKA its name
    x, y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    assert wanted.item() == pytest.approx(
        ((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()
    )


def test_cka_is_invariant_to_rotation_and_scale_but_not_to_stretching():
    """Kornblith et al. 2019, section 2: a measure invariant to any invertible map is constant."""
    x, y = represented(), represented(seed=1) + represented()
    turn = torch.linalg.qr(represented(12, 12, 2)).Q
    assert linear_cka(x, x @ turn * 3 + 1).item() == pytest.approx(1, abs=1e-6)
    assert linear_cka(x @ turn * 3 + 1, y).item() == pytest.approx(
        linear_cka(x, y).item(), rel=1e-5
    )
    stretch = torch.diag(torch.logspace(-1, 1, 12))
    assert linear_cka(x, x @ stretch).item() < 0.95


def test_the_cka_of_a_constant_layer_is_zero():
    assert linear_cka(represented(), torch.ones(40, 3)).item() == 0
    assert batched_cka([[represented(), torch.zeros(40, 3)]])[0, 1].item() == 0


def test_batched_cka_follows_the_formula_of_the_paper():
    batches = [[represented(10, 6, seed), represented(10, 8, seed + 9)] for seed in range(3)]
    product, one, other = (
        sum(hsic_unbiased(b[i], b[j]) for b in batches) for i, j in ((0, 1), (0, 0), (1, 1))
    )
    table = batched_cka(batches)
    assert table[0, 1].item() == pytest.approx((product / (one * other).sqrt()).item(), rel=1e-10)
    assert torch.equal(table, table.T)
    assert table.diagonal().tolist() == pytest.approx([1, 1])


def test_the_expected_batched_cka_is_independent_of_batch_size_and_zero_for_independent_layers():
    """Nguyen et al. 2021, section 2.1: the plain estimate is biased with many features."""
    x, y = represented(512, 256), represented(512, 256, 1)
    assert linear_cka(x[:32], y[:32]) > 0.8
    assert abs(batched_cka(zip(x.split(32), y.split(32), strict=True))[0, 1]) < 0.02
    related = x + y
    estimates = [
        batched_cka(zip(x.split(size), related.split(size), strict=True))[0, 1]
        for size in (32, 128, 512)
    ]
    assert max(estimates) - min(estimates) < 0.01
    assert estimates[0].item() == pytest.approx(0.5, abs=0.02)  # half of the variance is common


def test_outputs_of_any_shape_are_compared():
    images = represented(8, 2 * 3 * 3).reshape(8, 2, 3, 3)
    assert batched_cka([[images, images.flatten(1)]])[0, 1].item() == pytest.approx(1)


@pytest.mark.slow
def test_corresponding_layers_of_two_trained_networks_are_the_most_similar(digits):
    """Kornblith et al. 2019, section 6.1: networks of other seeds have similar layers."""
    dataset, views = read_dataset(digits), 6
    front = dataset.front(CPU)
    train, validation = (
        Resident(read_split(digits, split), CPU) for split in ("train", "validation")
    )
    networks = []
    for seed in range(2):
        seed_all(seed, "weights")
        networks.append(
            build("espalier:vgg", classes=10, shape=(1, 8, 8), arguments={"depth": 11, "width": 8})
        )
        recipe = Recipe(epochs=6, batch_size=64, threads=1, views=views)
        options = {
            "views": ImageAugmentations(len(train), 1, False, seed, views),
            "front": front,
            "processes": ProcessGroup(0, 1, CPU),
        }
        fit(networks[-1], train, Inference(validation, front), from_labels(), recipe, **options)
    images = [front(batch.inputs) for batch in train.batches(list(torch.arange(1024).split(128)))]
    layers = [name for name, layer in networks[0].named_modules() if isinstance(layer, nn.ReLU)]
    found = (list(outputs(network, layers, images)) for network in networks)
    count = len(layers)
    table = batched_cka([*one, *other] for one, other in zip(*found, strict=True))[:count, count:]
    closest, places = torch.cat([table.argmax(0), table.argmax(1)]), torch.arange(count).repeat(2)
    drawn = (torch.arange(count)[:, None] - torch.arange(count)).abs().double().mean()
    assert (closest - places).abs().double().mean() < drawn / 2
