"""A project whose photographs are decoded on the fly: taught, pruned, quantized, judged and registered."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from photos import write_photos

from espalier import files
from espalier.commands import data, evaluate, make, prepare, register
from espalier.data.prepared import open_encoded, read_split
from espalier.making.job import Job
from espalier.making.teachers import bank_of
from espalier.params import read_params
from espalier.training.device import trains_in_bfloat16

pytestmark = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
PARAMS = """\
data:
  seed: 0
  flip: true
  images: {size: 16, decode: on_the_fly, crop_scale: [0.3, 1]}
training: {batch_size: 16, optimizer: adamw, learning_rate: 0.01, epochs: 3, views: 2, threads: 1}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}}
models:
  student: {from: teacher, by: distill, model: "espalier:resnet", arguments: {depth: 8, width: 4}}
  half: {from: student, by: prune, score: taylor, keep_macs: 0.6, align: 1, finetune: {epochs: 1}}
  int8: {from: half, by: quantize}
evaluation: {rounds: 3, threads: 1}
registry: {name: photos}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos") / "project"
    files.write(root / "params.yaml", PARAMS)
    source = write_photos(root / "photos", 90)
    data.run(root, str(source), None)
    prepare.run(root)
    for name in read_params(root).names:
        make.run(root, name)
    evaluate.run(root)
    register.run(root)
    return root


def job(root, name):
    return Job.of(root, name, read_params(root))


def test_every_model_is_judged_on_the_test_split(built):
    table = pd.read_csv(built / "reports" / "models.csv", index_col="model")
    assert list(table.index) == ["teacher", "student", "half", "int8"]
    targets = read_split(built / "prepared", "test").targets.numpy()
    for name in table.index:
        found = pd.read_parquet(built / "reports" / "predictions" / f"{name}.parquet")
        assert found["label"].tolist() == targets.tolist()
    assert table["accuracy"]["teacher"] > 0.7
    assert (built / "registered.json").is_file()


def test_the_teacher_answers_the_crops_that_the_student_sees(built):
    """Both views of the bank, whose examples are decoded in other batches than those of a training."""
    taught = job(built, "student")
    examples, bank = taught.data.train, bank_of(taught, "teacher")
    network, views = taught.project.load("teacher"), taught.data.augmentations
    assert views.count == 2
    in_bfloat16 = trains_in_bfloat16(taught.recipe, taught.processes.device)
    tolerance = 5e-2 if in_bfloat16 else 2e-3  # of 8 bits in each layer, or of float16 that is kept
    groups = list(torch.arange(len(examples)).flip(0).split(5))
    for view in (0, 1):
        for batch in examples.batches(groups, view):
            seen = taught.data.front(views.apply(batch.inputs, batch.index, view))
            with torch.no_grad():
                expected = network(seen)
            found = bank.view(view)[batch.index]
            assert torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert not torch.allclose(bank.view(0), bank.view(1), rtol=0.1)


def test_without_augmentation_the_bank_is_another(built):
    taught = job(built, "student")
    training = replace(taught.params.training, augment=False)
    plain = Job.of(built, "student", taught.params.model_copy(update={"training": training}))
    assert plain.recipe.augment is False
    assert bank_of(plain, "teacher").folder != bank_of(taught, "teacher").folder
    batch = next(iter(plain.data.train.batches([torch.arange(8)], 0)))
    split = open_encoded(built / "prepared", "train")
    expected = np.stack([split.read(index) for index in range(8)])
    assert np.array_equal(batch.inputs.numpy(), expected)


def test_the_version_of_the_decoder_is_recorded(built):
    versions = files.read_json(built / "models" / "student" / "lineage.json")["versions"]
    assert "pillow" in str(versions)
    assert "pillow" in job(built, "student").inputs["versions"]
