"""The record of a cut: it names exactly the outputs that stayed, also over several steps."""

import numpy as np
import pytest
import torch
import yaml
from properties import assert_explains
from torch import nn

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput
from espalier.models import build, load
from espalier.pruning import prune
from espalier.pruning.groups import KeptOutputs, kept_outputs_of

SHAPE = (1, 8, 8)


def images():
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))


def build_network(factory: str, **arguments) -> nn.Module:
    return build(factory, classes=10, shape=SHAPE, arguments=arguments).eval()


def assert_rows_come_from(parent: nn.Module, child: nn.Module, kept_outputs: KeptOutputs) -> None:
    """Every row of a cut layer consists of numbers of the row that it is said to be."""
    layers = dict(child.named_modules())
    narrower = {
        name: len(module.weight)
        for name, module in parent.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and len(module.weight) > len(layers[name].weight)
    }
    assert kept_outputs.outputs == narrower != {}
    for name, kept in kept_outputs.kept.items():
        before, after = (
            network.get_submodule(name).weight.detach().numpy() for network in (parent, child)
        )
        assert len(kept) == len(after)
        assert list(kept) == sorted(set(kept))
        for index, row in zip(kept, after, strict=True):
            assert np.isin(row, before[index]).all()


@pytest.mark.parametrize("score", ["magnitude", "random"])
def test_rows_that_stay_are_the_rows_named(score):
    network = build_network("espalier:resnet", depth=8, width=8)
    smaller = prune(network, images(), keep_macs=0.5, align=1, score=score)
    assert_rows_come_from(network, smaller, kept_outputs_of(smaller))
    assert kept_outputs_of(network) is None


def test_removed_outputs_have_the_lowest_scores():
    network = build_network("espalier:mlp", hidden=[32, 16])
    kept_outputs = kept_outputs_of(prune(network, images(), keep_macs=0.5, align=1))
    assert kept_outputs.outputs
    for name, kept in kept_outputs.kept.items():
        layer = network.get_submodule(name)
        norms = (layer.weight**2).sum(1) + layer.bias**2  # what makes a neuron
        gone = sorted(set(range(kept_outputs.outputs[name])) - set(kept))
        assert norms[gone].max() < norms[list(kept)].min()


def test_kept_outputs_of_a_second_cut_refer_to_the_first_network():
    network = build_network("espalier:resnet", depth=8, width=8)
    once = prune(network, images(), keep_macs=0.7, align=1)
    twice = prune(once, images(), keep_macs=0.6, align=1)
    assert_rows_come_from(network, twice, kept_outputs_of(once).then(kept_outputs_of(twice)))


def test_layers_that_only_one_of_two_cuts_touches():
    first = KeptOutputs({"a": 4}, {"a": (1, 3)})
    later = KeptOutputs({"a": 2, "b": 3}, {"a": (1,), "b": (0, 2)})
    assert first.then(later) == KeptOutputs({"a": 4, "b": 3}, {"a": (3,), "b": (0, 2)})
    assert later.then(KeptOutputs({}, {})) == later


def test_the_record_comes_back_from_its_file():
    kept_outputs = KeptOutputs({"a": 4}, {"a": (1, 3)})
    assert KeptOutputs.from_json(kept_outputs.as_json()) == kept_outputs
    for wrong in ([], {"a": 3}, {"a": {"kept": [1]}}, {"a": {"outputs": 4, "kept": ["x"]}}):
        with pytest.raises(BadInput) as refusal:
            KeptOutputs.from_json(wrong)
        assert_explains(refusal.value, "`outputs` and `kept`")


def test_an_entry_of_several_steps_leaves_one_record_against_its_parent(tiny_copy):
    project = tiny_copy()
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    entry = {
        "from": "teacher",
        "by": "prune",
        "keep_macs": 0.5,
        "align": 1,
        "schedule": "linear",
        "steps": 2,
        "reconstruct": False,
    }
    nothing = {
        "between": {"epochs": 0},
        "finetune": {"epochs": 0},
    }  # the numbers stay those of the parent
    masked = {
        "from": "teacher",
        "by": "prune",
        "pattern": "weights",
        "sparsity": 0.5,
        "finetune": {"epochs": 0},
    }
    path.write_text(
        yaml.safe_dump(content | {"models": {"cut": entry | nothing, "masked": masked}})
    )
    for name in ("cut", "masked"):
        make.run(project, name)
    teacher, cut = (load(project / "models" / name) for name in ("teacher", "cut"))
    assert_rows_come_from(
        teacher,
        cut,
        KeptOutputs.from_json(files.read_json(project / "models" / "cut" / "cut.json")),
    )
    assert "cut.json" in files.verify(project / "models" / "cut")
    assert not (project / "models" / "masked" / "cut.json").exists()
