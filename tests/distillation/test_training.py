"""Every loss trains a network of the tree, and goes on from where it was stopped."""

import csv

import pytest
import yaml
from cases import LOSSES
from properties import assert_equal_weights

from espalier.errors import Stopped
from espalier.models import content_hash, load
from espalier.steps import make

LABELS = {"loss": "labels", "weight": 0.1}
STUDENT = {"from": "teacher", "by": "distill", "model": "espalier:resnet", "arguments": {"depth": 8, "width": 4}}


def declare(project, **entries):
    """Entries of params.yaml beside the teacher, in the place of all others."""
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    models = {name.replace("_", "-"): {"epochs": 1} | STUDENT | keys for name, keys in entries.items()}
    path.write_text(yaml.safe_dump(content | {"models": models}, sort_keys=False))


def losses_of(project, name="a"):
    """The mean loss of each epoch."""
    with (project / "models" / name / "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_it_falls_over_two_epochs_that_end_with_the_same_bits_when_they_are_stopped(tiny_copy, monkeypatch, case):
    project, stopped, steps = tiny_copy(), tiny_copy(), []
    for one in (project, stopped):
        declare(one, a={"losses": [LABELS, case.keys], "epochs": 2})
    make.run(project, "a")
    first, second = losses_of(project)
    assert 0 < second < 0.95 * first

    asked = "espalier.training.engine._Run._stop_asked"
    monkeypatch.setattr(asked, lambda run, wish: steps.append(1) or len(steps) == 25)  # in the second epoch
    with pytest.raises(Stopped):
        make.run(stopped, "a")
    monkeypatch.undo()
    make.run(stopped, "a")
    assert content_hash(stopped / "models" / "a") == content_hash(project / "models" / "a")


def test_the_short_form_is_the_full_form_of_labels_and_soft_targets(tiny_copy):
    project = tiny_copy()
    full = [{"loss": "soft_targets", "weight": 0.75, "temperature": 4}, {"loss": "labels", "weight": 0.25}]
    declare(project, a={"soft": {"temperature": 4, "weight": 0.75}}, b={"losses": full})
    for name in ("a", "b"):
        make.run(project, name)
    assert_equal_weights(*(load(project / "models" / name) for name in ("a", "b")))


def test_a_recipe_without_a_teacher_does_not_ask_one(tiny_copy):
    project = tiny_copy()
    declare(project, a={"soft": {"weight": 0.0}}, b={"losses": [{"loss": "labels"}]})
    for name in ("a", "b"):
        make.run(project, name)
    assert_equal_weights(*(load(project / "models" / name) for name in ("a", "b")))
    assert not (project / ".espalier" / "bank").exists()
