"""The loss `review`: several layers of the student, fused, against the teacher's layers."""

import pytest
import torch
import yaml
from properties import assert_explains, assert_refuses
from safetensors.torch import load_file
from torch.nn import functional as F

from espalier.commands import make
from espalier.distillation.features import FeatureTerm, FromFeatures, Fusion
from espalier.distillation.losses import review
from espalier.errors import BadInput
from espalier.models import build
from espalier.models.folder import content_hash
from espalier.params import check
from espalier.seeds import seed_all
from espalier.training.batches import Batch
from espalier.training.loss_inputs import LossInputs

SHAPE = (1, 8, 8)
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
BATCH = Batch(
    torch.arange(4), torch.zeros(4, *SHAPE, dtype=torch.uint8), torch.tensor([1, 2, 3, 4])
)
PAIRS = {"stages.0": "stages.0", "stages.1": "stages.1", "stages": "stages"}
LABELS = {"loss": "labels", "weight": 0.1}
STUDENT = {
    "from": "teacher",
    "by": "distill",
    "model": "espalier:resnet",
    "arguments": {"depth": 8, "width": 4},
    "epochs": 1,
}


def network(width, seed=0):
    seed_all(seed, "weights")
    return build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": width})


def objective_of(student, teacher, pairs=PAIRS):
    return FromFeatures(student, teacher, [FeatureTerm(review, pairs, fused=True)], IMAGES)


def see(student):
    return LossInputs(student(IMAGES), IMAGES, BATCH, view=0, progress=0.0)


def maps(seed, channels, size):
    return torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(seed))


def make_identity(fusion):
    """The fusion that returns the student's own maps: identical convolutions, no deeper layer."""
    fusion.eval()
    for stage in fusion.stages:
        for convolution in (stage.narrow[0], stage.widen[0]):
            torch.nn.init.dirac_(convolution.weight)
        for norm in (stage.narrow[1], stage.widen[1]):
            norm.eps = 0.0
        if stage.attend is not None:
            torch.nn.init.zeros_(stage.attend.weight)
            stage.attend.bias.data = torch.tensor([1e4, -1e4])


def declare(project, **entries):
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    models = {name: STUDENT | keys for name, keys in entries.items()}
    path.write_text(yaml.safe_dump(content | {"models": models}, sort_keys=False))


def test_the_gradient_reaches_all_named_layers_and_the_fusion_and_not_the_teacher():
    student, teacher = network(4), network(8, seed=1)
    objective = objective_of(student, teacher)
    outputs = {}
    for name in PAIRS:
        layer = student.get_submodule(name)
        layer.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
    seen = see(student)
    loss = objective(seen)
    gradients = torch.autograd.grad(loss, list(outputs.values()), retain_graph=True)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    loss.backward()
    assert all(one.grad is not None for one in objective.parameters())
    assert all(one.grad is None for one in teacher.parameters())


def test_a_deep_layer_is_taught_by_the_teacher_of_an_early_one():
    """The review: with the loss of the first pair alone, deeper layers of the student still learn."""
    fusion = Fusion([(4, 8, 8), (8, 4, 4)], [(6, 8, 8), (5, 4, 4)])
    early, deep = maps(0, 4, 8), maps(1, 8, 4).requires_grad_()
    first, last = fusion([early, deep])
    (gradient,) = torch.autograd.grad(review(first, maps(2, 6, 8)), deep)
    assert gradient.abs().max() > 0
    assert last.shape == (3, 5, 4, 4)
    early.requires_grad_()
    _, last = fusion([early, deep])
    (gradient,) = torch.autograd.grad(last.sum(), early, allow_unused=True)
    assert gradient is None  # an early layer is no part of the fusion of a deeper one


def test_equal_networks_have_no_loss_where_the_fusion_is_the_identity():
    student, teacher = network(4).eval(), network(4).eval()
    pairs = {"stages.1": "stages.1", "stages.1.0": "stages.1.0"}  # layers of equal channels
    objective = objective_of(student, teacher, pairs)
    make_identity(objective.adapters[0])
    assert objective(see(student)).item() == 0
    with torch.no_grad():
        student.stages[1][0].conv1.weight.mul_(1.1)
    assert objective(see(student)).item() > 1e-5


def test_two_layers_are_fused_as_in_the_paper():
    """Section 3.3 step by step, in evaluation mode with fresh norms, which divide by sqrt(1 + eps)."""
    seed_all(0, "fusion")
    fusion = Fusion([(2, 4, 4), (3, 2, 2)], [(5, 8, 8), (6, 2, 2)]).eval()
    early, deep = maps(0, 2, 4), maps(1, 3, 2)
    first, second = fusion.stages
    norm = (1 + 1e-5) ** 0.5
    below = F.conv2d(deep, second.narrow[0].weight) / norm
    expected_last = F.conv2d(below, second.widen[0].weight, padding=1) / norm
    own = F.conv2d(early, first.narrow[0].weight) / norm
    above = below.repeat_interleave(2, 2).repeat_interleave(2, 3)
    weights = torch.sigmoid(
        F.conv2d(torch.cat([own, above], 1), first.attend.weight, first.attend.bias)
    )
    mixed = own * weights[:, 0:1] + above * weights[:, 1:2]
    mixed = mixed.repeat_interleave(2, 2).repeat_interleave(2, 3)  # to the teacher's 8x8
    expected_first = F.conv2d(mixed, first.widen[0].weight, padding=1) / norm
    found_first, found_last = fusion([early, deep])
    torch.testing.assert_close(found_last, expected_last)
    torch.testing.assert_close(found_first, expected_first)


def test_the_written_order_of_the_pairs_does_not_matter_and_the_fusion_is_not_shipped(tiny_copy):
    project = tiny_copy()
    backwards = dict(reversed(PAIRS.items()))
    declare(
        project,
        default={"losses": [LABELS, {"loss": "review"}]},
        a={"losses": [LABELS, {"loss": "review", "pairs": PAIRS}]},
        b={"losses": [LABELS, {"loss": "review", "pairs": backwards}]},
        alone={"losses": [LABELS]},
    )
    for name in ("default", "a", "b", "alone"):
        make.run(project, name)
    models = project / "models"
    assert content_hash(models / "a") == content_hash(models / "b")
    assert content_hash(models / "a") != content_hash(models / "alone")
    sizes = [
        {
            key: value.shape
            for key, value in load_file(models / name / "weights.safetensors").items()
        }
        for name in ("default", "a", "alone")
    ]
    assert sizes[0] == sizes[1] == sizes[2]
    assert (models / "a" / "model.onnx").stat().st_size == (
        models / "alone" / "model.onnx"
    ).stat().st_size


def test_fewer_than_two_layers_and_unknown_ones_are_refused(tiny_copy):
    one = {"loss": "review", "pairs": {"stages": "stages"}}
    with pytest.raises(BadInput) as caught:
        check(
            {"teacher": {"model": "espalier:resnet"}, "models": {"a": STUDENT | {"losses": [one]}}}
        )
    assert_refuses(caught.value, "losses.0.pairs", "at least 2")
    project = tiny_copy()
    unknown = {"loss": "review", "pairs": {"stages": "stages", "stage.1": "stages.1"}}
    declare(project, a={"losses": [unknown]})
    with pytest.raises(BadInput) as caught:
        make.run(project, "a")
    assert_explains(caught.value, "`review`", "stages.1", "'stage.1'")
