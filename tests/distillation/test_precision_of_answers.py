"""A teacher computes in the precision that its student is trained in, and no other student reads its answers."""

import shutil

import pytest
import torch
import yaml

from espalier.making.job import Job
from espalier.making.teachers import bank_of
from espalier.params import read_params
from espalier.training import device


@pytest.fixture
def bank(tiny, tmp_path, monkeypatch):
    """The bank of a student in a precision, as on a processor with bfloat16."""
    monkeypatch.setattr(device, "computes_bfloat16", lambda device: True)
    root = shutil.copytree(tiny, tmp_path / "project")
    content = yaml.safe_load((root / "params.yaml").read_text())

    def of(precision):
        content["training"]["precision"] = precision
        (root / "params.yaml").write_text(yaml.safe_dump(content))
        return bank_of(Job.of(root, "student", read_params(root)), "teacher")

    return of


def test_answers_in_bfloat16_are_kept_apart_and_near_those_in_float32(bank):
    auto, exact = bank("auto"), bank("float32")
    assert auto.folder == bank("bfloat16").folder != exact.folder
    rounded, logits = auto.view(0), exact.view(0)
    largest = logits.abs().amax()
    assert 0 < (rounded - logits).abs().amax() < 0.05 * largest  # 8 bits in each layer


def test_they_have_the_eight_bits_of_bfloat16(bank):
    """The last layer's outputs are rounded to them, and half precision holds them without a further error."""
    logits = bank("auto").view(0)
    assert torch.equal(logits, logits.bfloat16().float())
    logits = bank("float32").view(0)
    assert not torch.equal(logits, logits.bfloat16().float())
