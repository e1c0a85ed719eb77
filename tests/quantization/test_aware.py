"""A network that computes as its integer file will: what it learns, and that the file computes it with integers."""

import copy
import functools
from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from properties import assert_equal_weights, assert_explains, assert_input_untouched
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.export.onnx import Disagreement
from espalier.folding import fold_batch_norms
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.models.structure import Masked, record
from espalier.quantization import CALIBRATIONS, aware, export_integers
from espalier.quantization.lsq import Step
from espalier.runtimes import DEFAULT
from espalier.runtimes.onnx_runtime import Session
from espalier.training.constraints import constraints_of

MEAN, STD = (0.2,), (0.4,)  # with this mean every pixel is a level, none lies between two
PIXELS = torch.randint(
    0, 256, (24, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
IMAGES = (PIXELS.float() / 255 - MEAN[0]) / STD[0]
LABELS = torch.arange(24) % 10
KERNELS = {
    "QLinearConv",
    "QGemm",
    "QLinearAdd",
    "QLinearConcat",
    "MatMulIntegerToFloat",
    "QLinearMul",
}


def network(factory: str, **arguments) -> nn.Module:
    """With statistics of its norms as if it had seen images, and these folded."""
    return copy.deepcopy(_network(factory, tuple(arguments.items())))


@functools.cache
def _network(factory: str, arguments: tuple[tuple[str, Any], ...]) -> nn.Module:
    torch.manual_seed(0)
    built = build(
        f"espalier:{factory}", classes=10, shape=(1, 16, 16), arguments=dict(arguments)
    ).train()
    with torch.no_grad():
        for _ in range(20):
            built(IMAGES)
    return fold_batch_norms(built, IMAGES[:2])


@pytest.fixture(scope="module")
def learner():
    """A small ResNet after some steps of training for integers."""
    learner = aware(network("resnet", depth=8, width=8), IMAGES, calibration="minmax")
    optimizer = torch.optim.SGD(learner.parameters(), 0.01, momentum=0.9)
    for _ in range(12):
        optimizer.zero_grad()
        F.cross_entropy(learner.train()(IMAGES), LABELS).backward()
        optimizer.step()
    return learner.eval()


@pytest.fixture(scope="module")
def deployed(learner, tmp_path_factory):
    path = tmp_path_factory.mktemp("aware") / "model.onnx"
    with assert_input_untouched(learner):
        export_integers(learner, path, PIXELS, Normalize(MEAN, STD))
    return path


def weights(path) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer
    }


def kernels(path, tmp_path) -> Counter:
    """The graph that the runtime executes, after its own optimisation."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)


def test_before_training_its_answers_are_those_of_the_network_within_levels():
    plain = network("resnet", depth=8, width=8)
    learner = aware(copy.deepcopy(plain), IMAGES, calibration="minmax")
    with torch.no_grad():
        ours, exact = learner(IMAGES), plain(IMAGES)
    assert not torch.equal(ours, exact)
    assert (ours - exact).abs().mean() < 0.05 * exact.std()


def test_weights_and_steps_learn(learner):
    before = aware(network("resnet", depth=8, width=8), IMAGES, calibration="minmax")
    former, now = dict(before.named_parameters()), dict(learner.named_parameters())
    assert former.keys() == now.keys()
    steps = [name for name in now if name.endswith(".step")]
    assert len(steps) == len(before.values) + len(before.weights) > 20
    assert not any(torch.equal(former[name], now[name]) for name in now)
    with torch.no_grad():
        assert F.cross_entropy(learner(IMAGES), LABELS) < F.cross_entropy(before(IMAGES), LABELS)


def test_steps_are_not_decayed():
    """The optimizer decays what has two dimensions or more."""
    learner = aware(network("lenet5"), IMAGES)
    assert all(p.ndim <= 1 for name, p in learner.named_parameters() if name.endswith("step"))


def test_the_network_inside_stays_in_evaluation_mode():
    learner = aware(network("wide_resnet", depth=10, widen=1, dropout=0.5), IMAGES[:8]).train()
    assert learner.training
    assert not any(module.training for module in learner.network.modules())
    with torch.no_grad():
        assert torch.equal(learner(IMAGES), learner(IMAGES))


def test_zeros_of_pruned_weights_stay_through_a_step():
    pruned = network("mlp", hidden=(8,))
    name = next(name for name, weight in pruned.named_parameters() if weight.ndim == 2)
    with torch.no_grad():
        pruned.get_parameter(name)[::2] = 0
    record(pruned, Masked((name,)))
    learner = aware(pruned, IMAGES)
    constraints = constraints_of(learner)
    assert len(constraints) == 1
    optimizer = torch.optim.SGD(learner.parameters(), 0.1)
    F.cross_entropy(learner(IMAGES), LABELS).backward()
    for constraint in constraints:
        constraint.before_step()
    optimizer.step()
    for constraint in constraints:
        constraint.after_step()
    assert not learner.network.get_parameter(name)[::2].any()
    assert learner.network.get_parameter(name)[1::2].all()


def test_the_same_images_give_the_same_steps():
    one, other = (aware(network("resnet", depth=8, width=8), IMAGES) for _ in range(2))
    assert_equal_weights(one, other)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_the_first_steps_are_those_that_the_calibration_chooses(calibration):
    minmax = aware(network("resnet", depth=8, width=8), IMAGES, calibration="minmax")
    other = aware(network("resnet", depth=8, width=8), IMAGES, calibration=calibration)
    ratios = [
        other.values[name].step.item() / step.step.item() for name, step in minmax.values.items()
    ]
    assert max(ratios) <= 1 + 1e-6
    assert (min(ratios) == 1) == (calibration == "minmax")


def test_an_unknown_calibration_is_refused():
    with pytest.raises(BadInput) as caught:
        aware(network("mlp", hidden=(8,)), IMAGES, calibration="kl")
    assert_explains(caught.value, "minmax, percentile, entropy", "'kl'")


def test_a_network_without_a_layer_that_becomes_integers_is_refused():
    with pytest.raises(BadInput, match="found none"):
        aware(nn.Sequential(nn.Flatten(), nn.Softmax(1)), torch.rand(4, 1, 8, 8))


def test_a_network_that_makes_other_calls_is_refused():
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head, self.calls = nn.Conv2d(1, 4, 3), nn.Linear(4, 10), 0

        def forward(self, x):
            self.calls += 1
            y = self.conv(x)
            y = F.relu(y) if self.calls < 8 else y.sigmoid()
            return self.head(y.mean((2, 3)))

    learner = aware(Moody(), IMAGES)
    learner.network.calls = 8
    with pytest.raises(BadInput) as caught:
        learner(IMAGES)
    assert_explains(caught.value, "same calls", "'sigmoid'", "'relu'")


def test_the_scales_in_the_file_are_the_learned_ones(learner, deployed):
    """Every step is equal, bit for bit, and differs from the calibration's."""
    graph, values = onnx.load(deployed).graph, weights(deployed)
    producers = {output: node for node in graph.node for output in node.output}
    found = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[1].endswith(".step"):
            found[node.input[1].removeprefix("network.")] = values[node.input[1]]
    learned = {
        name: step.detach().numpy()
        for name, step in learner.named_parameters()
        if name.endswith(".step")
    }
    assert found.keys() == learned.keys()
    assert all(np.array_equal(np.abs(learned[name]), found[name]) for name in learned)
    for work in (node for node in graph.node if node.op_type in ("Conv", "Gemm")):
        activation, weight, bias = (producers[name] for name in work.input)
        scale = values[activation.input[1]] * values[weight.input[1]]
        np.testing.assert_array_equal(
            values[bias.input[1]], np.broadcast_to(scale, values[bias.input[1]].shape)
        )
        assert values[weight.input[0]].dtype == np.int8
        assert values[bias.input[0]].dtype == np.int32
        assert np.abs(values[weight.input[0]].astype(int)).max() <= 64


def test_every_layer_of_the_file_computes_what_the_networks_does(learner, deployed):
    """From the same integers: a value on the edge of two levels may go either way, by one level and seldom."""
    model = onnx.load(deployed)
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in quantizers)
    names = {
        node.input[1].removeprefix("network.values.").removesuffix(".step"): node.output[0]
        for node in quantizers
    }
    found = DEFAULT.open(model.SerializeToString()).tensors(PIXELS.numpy(), list(names.values()))
    theirs = {
        learner.values[name]: torch.from_numpy(found[output]) for name, output in names.items()
    }
    assert len(theirs) == len(learner.values)
    differences = []

    def compare(step: Step, _: Any, result: torch.Tensor) -> torch.Tensor:
        integers = (result / step.size() + step.zero).round()
        differences.append((integers - theirs[step].float()).abs())
        return (
            theirs[step].float() - step.zero
        ) * step.size()  # what comes next begins with the file's own

    hooks = [step.register_forward_hook(compare) for step in theirs]
    with torch.no_grad():
        learner(IMAGES)
    for hook in hooks:
        hook.remove()
    assert len(differences) == len(theirs)
    assert max(difference.max().item() for difference in differences) <= 1
    assert max(difference.mean().item() for difference in differences) < 0.01


def test_the_answers_of_the_file_are_the_networks(learner, deployed):
    with torch.no_grad():
        ours = learner(IMAGES).numpy()
    theirs = DEFAULT.open(deployed).outputs(PIXELS.numpy())
    assert np.abs(ours - theirs).mean() < 0.01 * ours.std()
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.95


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("factory", "arguments"),
    [
        ("resnet", {"depth": 8, "width": 8}),
        ("lenet5", {}),
        ("mlp", {"hidden": (16,)}),
        ("vgg", {"depth": 11, "width": 4}),
        pytest.param("mobilenet", {"multiplier": 0.25}, marks=pytest.mark.slow),
    ],
)
def test_every_multiplication_is_executed_in_integers(factory, arguments, per_channel, tmp_path):
    learner = aware(
        network(factory, **arguments), IMAGES, calibration="minmax", per_channel=per_channel
    )
    export_integers(learner, tmp_path / "model.onnx", PIXELS, Normalize(MEAN, STD))
    found = kernels(tmp_path / "model.onnx", tmp_path)
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "FusedGemm"} & found.keys()
    assert sum(count for kind, count in found.items() if kind in ("QLinearConv", "QGemm")) == len(
        learner.plan.weights
    )
    assert found["QuantizeLinear"] <= 2  # of the image, and of the mean before the last layer


def test_the_file_has_integers_only_and_takes_any_batch(deployed, learner):
    graph = onnx.load(deployed).graph
    floats = [one for one in graph.initializer if one.data_type == TensorProto.FLOAT]
    assert sum(int(np.prod(one.dims)) for one in floats) < 0.1 * sum(
        p.numel() for p in learner.parameters()
    )
    runtime = DEFAULT.open(deployed)
    whole = runtime.run(PIXELS.numpy())
    np.testing.assert_allclose(runtime.outputs(PIXELS.numpy(), 7), whole, rtol=0, atol=1e-5)
    onnx.checker.check_model(onnx.load(deployed), full_check=True)


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_bias_fits_into_32_bits_however_small_its_weights_are(per_channel, tmp_path):
    """The integer would overflow without a word, and turn the sign of the answers."""
    whole = network("lenet5")
    first = next(module for module in whole.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        first.weight.mul_(1e-9)
        first.bias.fill_(3.0)
    learner = aware(whole, IMAGES, calibration="minmax", per_channel=per_channel)
    assert export_integers(learner, tmp_path / "model.onnx", PIXELS, Normalize(MEAN, STD)) < 0.05
    biases = [
        value
        for value in weights(tmp_path / "model.onnx").values()
        if value.dtype == np.int32 and value.ndim
    ]
    assert 2**29 < max(np.abs(bias.astype(float)).max() for bias in biases) < 2**30 * 1.001


def test_a_file_that_computes_something_else_is_refused(learner, tmp_path, monkeypatch):
    honest = Session.tensors

    def other(opened, images, names):
        return {name: 255 - values for name, values in honest(opened, images, names).items()}

    monkeypatch.setattr(Session, "tensors", other)
    with pytest.raises(
        Disagreement, match=r"to be the network's to 0.5 levels; found a difference of \d"
    ):
        export_integers(learner, tmp_path / "model.onnx", PIXELS, Normalize(MEAN, STD))
