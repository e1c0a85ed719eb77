import pytest
import torch
from cases import NETWORKS, PUBLISHED, TEXT_NETWORKS
from properties import assert_explains, assert_random_numbers_untouched

from espalier.errors import BadInput
from espalier.folding import fold_batch_norms
from espalier.measures.macs import count_parameters
from espalier.models import architecture_of, build
from espalier.models.build import FACTORIES

DIGIT = {"classes": 10, "shape": (1, 8, 8)}


def test_every_factory_has_a_minimal_case():
    known = {case.factory for case in (*NETWORKS, *TEXT_NETWORKS)}
    assert known == {f"espalier:{name}" for name in FACTORIES}


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_every_weight_contributes_to_the_logits(case):
    torch.manual_seed(0)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    logits = network(torch.randn(5, *case.shape))
    assert logits.shape == (5, case.classes)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not p.grad.isfinite().all()
    ] == []


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_the_seed_determines_the_weights(case):
    def weights(seed):
        torch.manual_seed(seed)
        network = build(
            case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments
        )
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_a_built_network_has_its_architecture(case):
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    known = architecture_of(network)
    assert (known.factory, known.classes, known.shape) == (case.factory, case.classes, case.shape)
    assert known.arguments == case.arguments
    assert known.shapes == {name: list(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("published", PUBLISHED, ids=str)
def test_it_has_as_many_weights_as_published(published):
    case = published.network
    with torch.device("meta"):  # shapes without memory
        network = build(
            case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments
        )
    assert count_parameters(network) == published.parameters


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        ("espalier:resnet", {"depth": 21}, ["`depth`", "6n + 2", "`depth = 21`"]),
        ("espalier:resnet", {"width": 0}, ["`width`", "at least 1", "`width = 0`"]),
        ("espalier:wide_resnet", {"depth": 20}, ["`depth`", "6n + 4", "`depth = 20`"]),
        ("espalier:wide_resnet", {"widen": 0}, ["`widen`", "`widen = 0`"]),
        ("espalier:wide_resnet", {"dropout": 1.0}, ["`dropout`", "[0, 1)", "`dropout = 1.0`"]),
        ("espalier:vgg", {"depth": 12}, ["`depth`", "[11, 13, 16, 19]", "`depth = 12`"]),
        ("espalier:vgg", {"width": 0}, ["`width`", "`width = 0`"]),
        ("espalier:mobilenet", {"multiplier": 0}, ["`multiplier`", "above 0", "`multiplier = 0`"]),
        ("espalier:cnn", {"widths": [[8, 0]]}, ["`widths`", "list of stages", "[[8, 0]]"]),
        ("espalier:cnn", {"widths": [8, 16]}, ["`widths`", "list of stages", "[8, 16]"]),
        ("espalier:cnn", {"widths": 8}, ["`widths`", "list of stages", "`widths = 8`"]),
        ("espalier:cnn", {"widths": [[True]]}, ["`widths`", "list of stages", "[[True]]"]),
        ("espalier:cnn", {"widths": []}, ["`widths`", "list of stages", "[]"]),
        ("espalier:cnn", {"widths": [[1]] * 5}, ["16 pixels", "5 stages", "8x8"]),
        ("espalier:mlp", {"hidden": [16, 0]}, ["`hidden`", "positive", "[16, 0]"]),
        ("espalier:lenet5", {}, ["at least 16x16", "8x8"]),
    ],
)
def test_a_wrong_value_is_refused_by_name(factory, arguments, words):
    with pytest.raises(BadInput) as caught:
        build(factory, **DIGIT, arguments=arguments)
    assert_explains(caught.value, *words)


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        ("espalier:resnet", {"deep": 20}, ["espalier:resnet", "depth, width", "'deep'"]),
        ("espalier:lenet300", {"width": 3}, ["espalier:lenet300", "none", "'width'"]),
        ("espalier:resnet", {"classes": 3}, ["espalier:resnet", "depth, width", "classes"]),
        (
            "torchvision:resnet18",
            {"tiny": True},
            ["torchvision:resnet18", "small, options", "'tiny'", "`arguments: {options: {...}}`"],
        ),
        ("espalier:rasnet", {}, [*FACTORIES, "'rasnet'"]),
        ("torchvision:resnet18", {"options": {"tiny": True}}, ["torchvision:resnet18", "'tiny'"]),
        ("torchvision:resnet19", {}, ["resnet18", "mobilenet_v2", "'resnet19'"]),
        ("resnet", {}, ["`package:function`", "espalier:resnet", "'resnet'"]),
        (":resnet", {}, ["`package:function`", "':resnet'"]),
        ("espalier:", {}, ["`package:function`", "'espalier:'"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(factory, arguments, words):
    with pytest.raises(BadInput) as caught:
        build(factory, **DIGIT, arguments=arguments)
    assert_explains(caught.value, *words)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_classifiers_of_torchvision_are_adapted_to_classes_and_small_grey_images(name):
    network = build(
        f"torchvision:{name}", classes=7, shape=(1, 32, 32), arguments={"small": True}
    ).eval()
    stem = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
    assert (stem.in_channels, stem.kernel_size, stem.stride) == (1, (3, 3), (1, 1))
    sides = []
    stem.register_forward_hook(lambda module, images, features: sides.append(features.shape[-1]))
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 7)
    assert sides == [32]


def test_classifiers_of_torchvision_are_unchanged_by_default():
    import torchvision

    with torch.device("meta"):
        ours = build("torchvision:resnet18", classes=1000, shape=(3, 224, 224)).state_dict()
        theirs = torchvision.models.resnet18().state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }


def test_options_are_passed_to_torchvision():
    with torch.device("meta"):
        network = build(
            "torchvision:mobilenet_v2",
            classes=10,
            shape=(3, 32, 32),
            arguments={"options": {"width_mult": 0.5}},
        )
    assert next(iter(network.parameters())).shape[0] == 16


@pytest.fixture
def hedge(tmp_path, monkeypatch):
    """A user's package."""
    (tmp_path / "hedge.py").write_text(
        "from torch import nn\n"
        "def pear(*, classes, shape, width=4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))\n"
        "def stone(*, classes, shape):\n"
        "    return 'no network'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("hedge")
def test_a_function_of_a_trusted_package_builds_a_network():
    network = build("hedge:pear", **DIGIT, arguments={"width": 5}, trusted=["hedge"])
    assert network(torch.randn(3, 1, 8, 8)).shape == (3, 10)
    assert architecture_of(network).factory == "hedge:pear"


@pytest.mark.usefixtures("hedge")
@pytest.mark.parametrize("trusted", [(), ("hedges", "orch")])
def test_a_package_that_is_not_trusted_is_not_imported(trusted, monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} was imported"))
    with pytest.raises(BadInput) as caught:
        build("hedge:pear", **DIGIT, trusted=trusted)
    assert_explains(caught.value, "'hedge'", "`trusted`", ", ".join(trusted) or "nothing")


@pytest.mark.usefixtures("hedge")
@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("hedge:apple", ["'hedge:apple'", "importable"]),
        ("hedge.hill:pear", ["'hedge.hill:pear'", "importable"]),
        ("hedge:stone", ["hedge:stone", "torch module", "a str"]),
    ],
)
def test_a_function_that_builds_no_network_is_refused(factory, words):
    with pytest.raises(BadInput) as caught:
        build(factory, **DIGIT, trusted=["hedge"])
    assert_explains(caught.value, *words)


def test_a_refusal_draws_no_random_numbers():
    with assert_random_numbers_untouched(), pytest.raises(BadInput):
        build("espalier:resnet", **DIGIT, arguments={"depth": 9})


def test_a_stack_of_convolutions_without_its_norms_is_the_one_that_is_built_without_them():
    with_norms = build("espalier:cnn", **DIGIT, arguments={"widths": [[4, 6], [8]]}).train()
    with_norms(torch.rand(8, 1, 8, 8))  # statistics that are not those of a new norm
    without = build("espalier:cnn", **DIGIT, arguments={"widths": [[4, 6], [8]], "norms": False})
    images = torch.rand(3, 1, 8, 8)
    folded = fold_batch_norms(with_norms.eval(), images)
    without.load_state_dict(folded.state_dict())
    torch.testing.assert_close(without.eval()(images), with_norms(images))
