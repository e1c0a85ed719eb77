"""Mutual learning: a peer is trained along, learns, teaches, and resumes."""

import pytest
import torch
from torch import nn

from espalier import files
from espalier.commands import make
from espalier.distillation.losses import soft_targets
from espalier.distillation.mutual import Mutual
from espalier.errors import BadInput
from espalier.models import load
from espalier.prediction import CLASSIFICATION
from espalier.training.batches import Batch
from espalier.training.loss_inputs import LossInputs

PARAMS = """\
data: {seed: 0, split: exact}
training: {batch_size: 64, threads: 1, views: 3}
teacher: {model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 1}
models:
  student:
    from: teacher
    by: distill
    model: espalier:mlp
    arguments: {hidden: [16]}
    epochs: 4
    losses:
      - {loss: labels}
      - {loss: mutual, model: "espalier:mlp", arguments: {hidden: [12]}%s}
"""


@pytest.fixture
def seen():
    torch.manual_seed(0)
    inputs, labels = torch.randn(6, 4), torch.arange(6) % 3
    outputs = torch.randn(6, 3, requires_grad=True)
    return LossInputs(outputs, inputs, Batch(torch.arange(6), inputs, labels), 0, 0.0)


def test_the_loss_is_that_of_the_paper(seen):
    """Both directions of the divergence, and the peer's cross-entropy."""
    peer = nn.Linear(4, 3)
    found = Mutual(peer, soft_targets, CLASSIFICATION)(seen)
    theirs = peer(seen.inputs)
    expected = (
        soft_targets(seen.outputs, theirs)
        + soft_targets(theirs, seen.outputs)
        + CLASSIFICATION.loss(theirs, seen.batch.targets)
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_each_network_gets_the_gradient_of_its_own_terms(seen):
    peer = nn.Linear(4, 3)
    Mutual(peer, soft_targets, CLASSIFICATION)(seen).backward()
    theirs = peer(seen.inputs).detach()
    alone = seen.outputs.detach().clone().requires_grad_(True)
    soft_targets(alone, theirs).backward()
    assert torch.allclose(seen.outputs.grad, alone.grad)
    assert peer.weight.grad.abs().sum() > 0


def test_a_student_with_a_peer_is_made_from_params_and_the_peer_is_not_deployed(tmp_path, digits):
    (tmp_path / "prepared").symlink_to(digits)
    files.write(tmp_path / "params.yaml", PARAMS % "")
    for name in ("teacher", "student"):
        make.run(tmp_path, name)
    network = load(tmp_path / "models" / "student")
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [16, 10]
    metrics = files.read_json(tmp_path / "models" / "student" / "metrics.json")
    assert metrics["validation_accuracy"] > 0.7


def test_a_peer_that_cannot_be_built_is_refused(tmp_path, digits):
    (tmp_path / "prepared").symlink_to(digits)
    files.write(tmp_path / "params.yaml", PARAMS % ", temperature: 2")
    content = (tmp_path / "params.yaml").read_text().replace("hidden: [12]", "hidden: [0]")
    files.write(tmp_path / "params.yaml", content)
    make.run(tmp_path, "teacher")
    with pytest.raises(BadInput, match="positive widths"):
        make.run(tmp_path, "student")
