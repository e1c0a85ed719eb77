"""Every loss trains a network of the tree, and goes on from where it was stopped."""

import csv
import shutil

import pytest
import yaml
from cases import LOSSES
from properties import assert_equal_weights, assert_explains
from selection import mostly_slow

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput, Stopped
from espalier.models import content_hash, load
from espalier.models.folder import read_architecture

LABELS = {"loss": "labels", "weight": 0.1}
STUDENT = {
    "from": "teacher",
    "by": "distill",
    "model": "espalier:resnet",
    "arguments": {"depth": 8, "width": 4},
}


def declare(project, **entries):
    """Entries of params.yaml beside the teacher, in the place of all others."""
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    models = {
        name.replace("_", "-"): {"epochs": 1} | STUDENT | keys for name, keys in entries.items()
    }
    path.write_text(yaml.safe_dump(content | {"models": models}, sort_keys=False))


def losses_of(project, name="a"):
    """The mean loss of each epoch."""
    with (project / "models" / name / "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("case", mostly_slow(LOSSES, *LOSSES[2:10:3]), ids=str)
def test_it_falls_over_two_epochs_that_end_with_the_same_bits_when_they_are_stopped(
    tiny_copy, monkeypatch, case
):
    project, stopped, steps = tiny_copy(), tiny_copy(), []
    for one in (project, stopped):
        declare(one, a={"losses": [LABELS, case.keys], "epochs": 2})
    make.run(project, "a")
    first, second = losses_of(project)
    assert 0 < second < 0.95 * first

    asked = "espalier.training.engine._Run._stop_asked"
    monkeypatch.setattr(
        asked, lambda run, request: steps.append(1) or len(steps) == 25
    )  # in the second epoch
    with pytest.raises(Stopped):
        make.run(stopped, "a")
    monkeypatch.undo()
    make.run(stopped, "a")
    assert content_hash(stopped / "models" / "a") == content_hash(project / "models" / "a")


def test_the_short_form_is_the_full_form_of_labels_and_soft_targets(tiny_copy):
    project = tiny_copy()
    full = [
        {"loss": "soft_targets", "weight": 0.75, "temperature": 4},
        {"loss": "labels", "weight": 0.25},
    ]
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


SOFT = {"loss": "soft_targets"}
MODIFIED = {
    "class weights": [
        LABELS | {"class_weights": "balanced"},
        SOFT | {"class_weights": [1, 2, 1, 1, 1, 1, 1, 1, 1, 3]},
    ],
    "hard examples": [LABELS | {"focus": {}}, SOFT | {"focus": {"gamma": 1, "judge": "teacher"}}],
    "a subset of the classes": [
        LABELS,
        SOFT | {"classes": ["3", 7, "1"], "class_weights": "balanced"},
    ],
    "ramps": [
        LABELS | {"weight": {"start": 0, "end": 1}},
        SOFT | {"temperature": {"start": 8, "end": 1, "schedule": "cosine"}},
    ],
    "named layers": [LABELS, {"loss": "hints", "pairs": {"stages.1": "stages.0"}}],
}


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    """The student without any change."""
    project = tmp_path_factory.mktemp("plain") / "tiny"
    shutil.copytree(tiny, project)
    declare(project, a={"losses": [LABELS, SOFT]})
    make.run(project, "a")
    return content_hash(project / "models" / "a")


@pytest.mark.parametrize("name", MODIFIED)
def test_every_key_of_a_loss_changes_the_weights(tiny_copy, plain, name):
    project = tiny_copy()
    declare(project, a={"losses": MODIFIED[name]})
    make.run(project, "a")
    assert content_hash(project / "models" / "a") != plain


def test_several_models_teach_together_and_are_part_of_what_fixes_the_bits(tiny_copy):
    project, keys = tiny_copy(), {"from": "second", "losses": [LABELS, SOFT, {"loss": "hints"}]}
    second = {"by": "train", "arguments": {"depth": 8, "width": 6}}
    both = keys | {"teachers": ["teacher", "second"]}
    declare(project, second=second, a=keys, b=both, c=both | {"combine": "confidence"})
    for model in ("second", "a", "b", "c"):
        make.run(project, model)
    lineages = [
        files.read_json(project / "models" / model / "lineage.json") for model in ("a", "b", "c")
    ]
    assert [set(lineage["models"]) for lineage in lineages] == [
        {"second"},
        {"teacher", "second"},
        {"teacher", "second"},
    ]
    assert len({content_hash(project / "models" / model) for model in ("a", "b", "c")}) == 3
    assert len(list((project / ".espalier" / "bank").iterdir())) == 2


def test_a_network_is_taught_by_one_of_its_own_kind(tiny_copy):
    """Born again (Furlanello et al. 2018): the teacher's architecture, taught by the teacher."""
    project = tiny_copy()
    declare(
        project,
        again={"arguments": {"depth": 8, "width": 8}, "losses": [LABELS, SOFT, {"loss": "hints"}]},
    )
    make.run(project, "again")
    shapes = [read_architecture(project / "models" / name).shapes for name in ("again", "teacher")]
    assert shapes[0] == shapes[1]


def test_a_cut_recovers_with_any_recipe_and_may_be_taught_by_what_it_was_cut_from(tiny_copy):
    project = tiny_copy()
    cut = {
        "from": "student",
        "by": "prune",
        "keep_macs": 0.6,
        "align": 1,
        "score": "taylor",
        "finetune": {"epochs": 1},
    }
    declare(project, student={})
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    recipe = [LABELS, {"loss": "dist"}, {"loss": "hints"}, {"loss": "relational", "weight": 0.1}]
    content["models"]["cut"] = cut | {"losses": recipe, "teachers": ["student"]}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    for name in ("student", "cut"):
        make.run(project, name)
    assert set(files.read_json(project / "models" / "cut" / "lineage.json")["models"]) == {
        "student",
        "teacher",
    }
    network = load(project / "models" / "cut")
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (SOFT | {"classes": ["3", "x"]}, ["`classes`", "'x'"]),
        (SOFT | {"class_weights": [1, 2]}, ["`class_weights`", "10", "2"]),
        ({"loss": "hints", "pairs": {"stages.9": "stages.1"}}, ["'stages.9'"]),
        ({"loss": "hints", "pairs": {"stages.1": "stages.9"}}, ["'stages.9'"]),
    ],
)
def test_unknown_classes_and_layers_are_refused(tiny_copy, loss, words):
    project = tiny_copy()
    declare(project, a={"losses": [loss]})
    with pytest.raises(BadInput) as caught:
        make.run(project, "a")
    assert_explains(caught.value, *words)


def test_attention_without_positions_is_refused(tiny_copy):
    project = tiny_copy()
    declare(
        project,
        a={
            "losses": [{"loss": "attention"}],
            "model": "espalier:mlp",
            "arguments": {"hidden": [8]},
        },
    )
    with pytest.raises(BadInput) as caught:
        make.run(project, "a")
    assert_explains(caught.value, "attention", "positions")
