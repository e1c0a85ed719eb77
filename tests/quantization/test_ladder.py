"""The steps of the ladder after too large a loss: their order, the end, and which is taken."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from espalier.errors import BadInput, Notice
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization.ladder import Ladder
from espalier.quantization.sensitivity import sensitivity
from espalier.quantization.static import observe_file

PIXELS = torch.randint(
    0, 256, (32, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A small LeNet whose second convolution has one huge filter: per tensor, the others have no levels left."""
    path = tmp_path_factory.mktemp("ladder") / "parent.onnx"
    torch.manual_seed(0)
    network = build("espalier:lenet5", classes=10, shape=(1, 16, 16)).eval()
    second = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][1]
    with torch.no_grad():
        second.weight[0].mul_(300)
    export(network, path, PIXELS[:4], Normalize((0.3,), (0.4,)))
    return observe_file(path, [PIXELS.numpy()])


def ladder(observed, accuracies, *, layers=2, enough=0.9, aware=None):
    """With a judge that knows the accuracies in advance, in the order in which it is asked."""
    scores = iter(accuracies)
    return Ladder(
        observed,
        "minmax",
        lambda model: next(scores),
        enough=enough,
        images=PIXELS.numpy(),
        layers=layers,
        aware=aware,
        per_channel=False,
    )


def steps(tried):
    return [
        (step.measure, step.detail if isinstance(step.detail, str) else len(step.detail))
        for step in tried
    ]


def test_the_first_step_is_chosen_if_it_is_good_enough(observed):
    tried, chosen = ladder(observed, [0.9]).run()
    assert steps(tried) == [("calibration", "minmax")]
    assert chosen is tried[0]


def test_all_calibrations_are_tried_and_the_best_is_taken(observed):
    tried, chosen = ladder(observed, [0.5, 0.91, 0.93]).run()
    assert steps(tried) == [("calibration", name) for name in ("minmax", "percentile", "entropy")]
    assert chosen.detail == "entropy"


def test_then_the_most_sensitive_layers_stay_in_floating_point_one_after_another(observed):
    tried, chosen = ladder(observed, [0.5, 0.7, 0.6, 0.8, 0.9]).run()
    assert steps(tried)[3:] == [("float", 1), ("float", 2)]
    assert chosen is tried[-1]
    worst = list(
        sensitivity(observed, observed.ranges("percentile"), PIXELS.numpy(), per_channel=False)
    )
    assert chosen.detail == tuple(worst[:2])
    made_of = {name: node for node in chosen.model.graph.node for name in node.output}
    by_name = {node.name: node for node in chosen.model.graph.node}
    weights = {name: by_name[name].input[1] for name in worst if name in by_name}
    assert [name for name, weight in weights.items() if weight not in made_of] == worst[:2]


def test_the_first_layer_that_is_enough_ends_the_search(observed):
    """The judge has no more answers: to ask it again would fail."""
    tried, chosen = ladder(observed, [0.5, 0.7, 0.6, 0.9], layers=3).run()
    assert len(tried) == 4
    assert chosen is tried[-1]


def test_at_last_it_is_trained_for_integers_from_the_best_calibration(observed):
    began = []

    def aware(calibration: str) -> onnx.ModelProto:
        began.append(calibration)
        return onnx.ModelProto()

    tried, chosen = ladder(observed, [0.5, 0.7, 0.6, 0.8, 0.8, 0.95], aware=aware).run()
    assert steps(tried)[-1] == ("aware", "percentile")
    assert began == ["percentile"]
    assert chosen is tried[-1]


def test_if_nothing_is_enough_the_best_of_all_is_taken(observed):
    tried, chosen = ladder(
        observed, [0.5, 0.7, 0.6, 0.85, 0.8, 0.75], aware=lambda _: onnx.ModelProto()
    ).run()
    assert len(tried) == 6
    assert chosen is tried[3]


def test_without_layers_and_training_only_calibrations_are_tried(observed):
    tried, chosen = ladder(observed, [0.5, 0.7, 0.6], layers=0).run()
    assert len(tried) == 3
    assert chosen.detail == "percentile"


def test_the_most_sensitive_layer_is_the_one_that_has_no_levels_left(observed):
    """Its filters differ three hundred times in size, and one step for all of them leaves most of them nothing."""
    found = sensitivity(observed, observed.ranges("minmax"), PIXELS.numpy(), per_channel=False)
    assert sorted(found) == sorted(observed.layers)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert next(iter(found)) == observed.layers[1]
    each = sensitivity(observed, observed.ranges("minmax"), PIXELS.numpy(), per_channel=True)
    assert each[observed.layers[1]] < 0.7 * found[observed.layers[1]]
    assert all(each[name] < 2 * found[name] for name in observed.layers)


def test_layers_are_those_that_multiply_by_weights(observed):
    kinds = {node.name: node.op_type for node in observed.model.graph.node}
    assert Counter(kinds[name] for name in observed.layers) == {"Conv": 2, "Gemm": 2}
    assert np.array_equal(observed.layers, [name for name in kinds if name in observed.layers])


def test_a_last_step_that_cannot_run_leaves_the_best_of_the_others(observed):
    def refuse(calibration):
        raise BadInput("Expected batch norms to be folded before weights are shared.")

    with pytest.warns(Notice, match="`aware`, is left out: Expected batch norms"):
        tried, chosen = ladder(observed, [0.5, 0.7, 0.6, 0.8], layers=1, aware=refuse).run()
    assert steps(tried)[-1] == ("float", 1)
    assert chosen is tried[-1]
