"""Incremental quantization (Zhou et al. 2017): the partition, the fixed levels, training, and resuming."""

import copy

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper
from properties import assert_explains, assert_refuses
from torch import nn
from torch.nn import functional as F

from espalier import files
from espalier.commands import make
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput, Stopped
from espalier.inputs.image import Normalize
from espalier.making.job import Job
from espalier.models import build, content_hash, load
from espalier.params import check
from espalier.quantization import aware, export_integers
from espalier.quantization.incremental import IncrementalStep
from espalier.quantization.lsq import Step, weight_step

ENTRY = {
    "from": "teacher",
    "by": "quantize",
    "scheme": "aware",
    "images": 32,
    "portions": [0.5, 1],
    "finetune": {"epochs": 1},
}


def step_of(weight: torch.Tensor, size: float = 0.25) -> IncrementalStep:
    return IncrementalStep.of(Step(torch.tensor(size), 0, -4, 4, shared=1), weight)


def test_the_largest_half_takes_its_levels_and_the_rest_stays_and_learns():
    weight = nn.Parameter(torch.tensor([0.26, 0.9, 0.1, -0.4]))
    step = step_of(weight)
    assert torch.equal(step(weight), weight)
    step.quantize_portion(weight, 0.5)
    assert step(weight).tolist() == pytest.approx([0.26, 1.0, 0.1, -0.5])
    (3 * step(weight)).sum().backward()
    assert weight.grad.tolist() == [3, 0, 3, 0]
    assert not any(parameter.requires_grad for parameter in step.parameters())


def test_quantized_elements_keep_their_levels_when_the_weight_moves():
    weight = torch.tensor([0.26, 0.9, 0.1, -0.4])
    step = step_of(weight)
    step.quantize_portion(weight, 0.5)
    later = torch.tensor([0.05, 0.0, -0.8, 0.0])  # momentum and decay have moved all of them
    step.quantize_portion(later, 0.75)
    assert step(later).tolist() == pytest.approx([0.05, 1.0, -0.75, -0.5])
    step.quantize_portion(later, 1)
    assert step(later).tolist() == [0.0, 1.0, -0.75, -0.5]
    assert step.held(later).tolist() == [0.0, 1.0, -0.75, -0.5]


def test_with_all_portions_the_weights_are_those_of_the_usual_quantization():
    weight = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    usual = weight_step(weight, per_channel=True, reduce_range=True)
    step = IncrementalStep.of(usual, weight)
    for portion in (0.3, 0.6, 1):
        step.quantize_portion(weight, portion)
        assert int(step.is_fixed.sum()) == round(portion * weight.numel())
    torch.testing.assert_close(step(weight), usual(weight), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def images(digits):
    train = read_split(digits, "train")
    front = read_dataset(digits).front()
    return train.inputs, front(train.inputs), train.targets


@pytest.fixture(scope="module")
def trained(images):
    """A perceptron that knows the digits."""
    _, inputs, targets = images
    torch.manual_seed(0)
    network = build("espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": (32,)})
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    return network.eval()


def loss_of(learner, images) -> float:
    _, inputs, targets = images
    with torch.no_grad():
        return F.cross_entropy(learner(inputs), targets).item()


def train(learner, images, steps: int = 20) -> None:
    _, inputs, targets = images
    wanted = [one for one in learner.parameters() if one.requires_grad]
    optimizer = torch.optim.SGD(wanted, 0.05, momentum=0.9, weight_decay=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(learner.train()(inputs), targets).backward()
        optimizer.step()
    learner.eval()


def test_the_rest_of_the_weights_compensates_for_the_quantized_part(trained, images):
    """Section 2.2, with coarse levels on digits: the retrained rest lowers the loss, and levels stay."""
    learner = aware(copy.deepcopy(trained), images[1][:64], calibration="minmax", incremental=True)
    for step in learner.weights.values():
        step.low, step.high = -2, 2
        step.step.mul_(32)
    learner.quantize_portion(0.5)
    before, levels = loss_of(learner, images), [s.fixed.clone() for s in learner.weights.values()]
    train(learner, images)
    assert loss_of(learner, images) < 0.8 * before
    assert all(
        torch.equal(step.fixed, level)
        for step, level in zip(learner.weights.values(), levels, strict=True)
    )
    whole = copy.deepcopy(learner)
    whole.quantize_portion(1)
    at_once = aware(copy.deepcopy(trained), images[1][:64], calibration="minmax", incremental=True)
    for step in at_once.weights.values():
        step.low, step.high = -2, 2
        step.step.mul_(32)
    at_once.quantize_portion(1)
    assert loss_of(whole, images) < loss_of(at_once, images)


def test_the_file_holds_the_fixed_integers(trained, images, tmp_path):
    learner = aware(copy.deepcopy(trained), images[1][:64], calibration="minmax", incremental=True)
    for portion in (0.5, 0.75, 1):
        learner.quantize_portion(portion)
        train(learner, images, 3)
    path = tmp_path / "model.onnx"
    mean, deviation = read_front(images)
    assert export_integers(learner, path, images[0][:64], Normalize(mean, deviation)) < 0.05
    stored = [numpy_helper.to_array(one).ravel() for one in onnx.load(path).graph.initializer]
    integers = [np.sort(one) for one in stored if one.dtype == np.int8 and one.size > 32]
    for step in learner.weights.values():
        wanted = (step.fixed / step.size()[:, None]).round().numpy().astype(np.int8).ravel()
        assert any(np.array_equal(np.sort(wanted), one) for one in integers)


def read_front(images):
    stored, seen, _ = images
    scaled = stored.float() / 255
    deviation = (scaled.std() / seen.std()).item()
    return ((scaled.mean() - seen.mean() * deviation).item(),), (deviation,)


def test_weights_with_learned_steps_are_not_quantized_by_portions(trained, images):
    with pytest.raises(BadInput) as caught:
        aware(copy.deepcopy(trained), images[1][:64]).quantize_portion(0.5)
    assert_explains(caught.value, "`incremental=True`", "found")


def make_entry(project, **keys):
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["models"]["q"] = ENTRY | keys
    path.write_text(yaml.safe_dump(content))
    make.run(project, "q")
    return project / "models" / "q"


def test_an_entry_trains_after_each_portion_and_resumes_with_the_same_bits(tiny_copy, monkeypatch):
    whole = make_entry(tiny_copy())
    record = files.read_json(whole / "architecture.json")["quantization"]
    assert record["portions"] == [0.5, 1.0]
    history = (whole / "history.csv").read_text().splitlines()
    epochs = [int(float(line.split(",")[1])) for line in history[1:]]
    assert epochs == [1, 2]
    weight = next(one for one in load(whole).parameters() if one.ndim == 4)
    levels = weight[0].detach().flatten() / weight[0].detach().abs().max() * 64
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    stopped, steps = tiny_copy(), []

    def stop(run, request):
        steps.append(run.state.step)
        return len(steps) == 25  # in the second of two trainings of 19 steps

    monkeypatch.setattr("espalier.training.engine._Run._stop_asked", stop)
    with pytest.raises(Stopped):
        make_entry(stopped)
    assert list((stopped / ".espalier" / "checkpoints").glob("q-*/aware-2/checkpoint-*"))
    assert content_hash(make_entry(stopped)) == content_hash(whole)


def test_an_entry_without_portions_has_the_key_of_before(tiny):
    """So that models of earlier versions are not made again."""
    content = yaml.safe_load((tiny / "params.yaml").read_text())
    given = {key: value for key, value in ENTRY.items() if key != "portions"}
    content["models"] = {"q": given, "steps": ENTRY}
    before, with_portions = (
        Job.of(tiny, name, check(content)).inputs["entry"] for name in ("q", "steps")
    )
    assert set(with_portions) - set(before) == {"portions"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"portions": [0.5, 0.75]}, ["`portions` to increase to 1", "[0.5, 0.75]"]),
        ({"portions": [0.5, 0.5, 1]}, ["`portions` to increase", "[0.5, 0.5, 1.0]"]),
        ({"portions": [0.0, 1]}, ["portions", "0.0"]),
        ({"scheme": "static", "finetune": None}, ["`portions`", "`scheme: aware`", "static"]),
    ],
)
def test_wrong_portions_are_refused_by_name(keys, words):
    entry = {key: value for key, value in (ENTRY | keys).items() if value is not None}
    with pytest.raises(BadInput) as caught:
        check({"teacher": {"model": "espalier:resnet"}, "models": {"q": entry}})
    assert_refuses(caught.value, *words)
