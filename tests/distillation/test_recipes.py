"""Recipes as `params.yaml` gives them."""

import pytest
from cases import LOSSES
from properties import assert_explains, assert_refuses

from espalier.distillation.settings import Ramp
from espalier.errors import BadInput
from espalier.params import check

TEACHER = {"model": "espalier:resnet"}
STUDENT = {"from": "teacher", "by": "distill", "model": "espalier:resnet"}


def entry(**keys):
    return check({"teacher": TEACHER, "models": {"a": STUDENT | keys}}).entry("a")


def refused(**keys):
    with pytest.raises(BadInput) as caught:
        entry(**keys)
    return caught.value


def test_without_a_word_about_it_a_recipe_is_soft_targets_beside_labels():
    assert [(one.loss, one.weight) for one in entry().terms] == [
        ("soft_targets", 0.9),
        ("labels", pytest.approx(0.1)),
    ]
    soft, labels = entry(soft={"temperature": 2, "weight": 0.75}).terms
    assert (soft.temperature, soft.weight, labels.weight) == (2, 0.75, 0.25)


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_every_loss_can_be_asked_for_with_its_keys(case):
    labels, loss = entry(
        losses=[{"loss": "labels", "weight": 0.1}, case.keys | {"weight": 2}]
    ).terms
    assert (labels.loss, labels.weight) == ("labels", 0.1)
    assert {name: getattr(loss, name) for name in case.keys} == case.keys
    assert loss.weight == 2


def test_an_unknown_loss_is_answered_by_the_known_ones():
    assert_refuses(
        refused(losses=[{"loss": "dust"}]),
        "losses.0",
        "'dust'",
        *(f"'{case.keys['loss']}'" for case in LOSSES),
    )


def test_both_forms_at_once_are_refused():
    assert_explains(
        refused(soft={"temperature": 4}, losses=[{"loss": "labels"}]), "`soft`", "`losses`"
    )


@pytest.mark.parametrize(
    ("loss", "key"),
    [
        ({"loss": "dist", "betta": 1}, "losses.0.betta"),
        ({"loss": "decoupled", "classes": [1, 2]}, "losses.0.classes"),
        ({"loss": "labels", "temperature": 2}, "losses.0.temperature"),
        ({"loss": "dist", "focus": {"gama": 1}}, "losses.0.focus.gama"),
    ],
)
def test_a_key_that_a_loss_does_not_have_is_refused_by_name(loss, key):
    assert_explains(refused(losses=[loss]), f"`models.a.{key}`", "unknown")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"loss": "dist", "weight": -1}, ["losses.0.weight", "-1"]),
        ({"loss": "dist", "temperature": 0}, ["losses.0.temperature", "0"]),
        (
            {"loss": "dist", "temperature": {"start": 4, "end": 0}},
            ["losses.0.temperature", "above 0"],
        ),
        ({"loss": "dist", "weight": {"start": 4, "end": -1}}, ["losses.0.weight", "at least 0"]),
        ({"loss": "dist", "weight": {"start": 4}}, ["losses.0.weight", "end"]),
        (
            {"loss": "dist", "weight": {"start": 0, "end": 1, "schedule": "up"}},
            ["losses.0.weight", "'linear' or 'cosine'"],
        ),
        ({"loss": "soft_targets", "classes": [1]}, ["classes", "at least 2"]),
        ({"loss": "labels", "class_weights": [1, 0]}, ["class_weights", "0"]),
        (
            {"loss": "labels", "class_weights": "balance"},
            ["class_weights", "'balanced'", "'balance'"],
        ),
        ({"loss": "labels", "focus": {"judge": "me"}}, ["judge", "'student' or 'teacher'", "'me'"]),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(loss, words):
    assert_refuses(refused(losses=[loss]), *words)


def test_an_empty_recipe_is_refused():
    assert_refuses(refused(losses=[]), "losses", "at least 1")


def test_a_number_may_be_a_ramp():
    (loss,) = entry(
        losses=[
            {"loss": "soft_targets", "temperature": {"start": 8, "end": 1, "schedule": "cosine"}}
        ]
    ).terms
    assert loss.temperature == Ramp(8, 1, "cosine")
    assert entry(soft={"temperature": {"start": 8, "end": 1}}).terms[0].temperature == Ramp(
        8, 1, "linear"
    )


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_ramp_goes_from_its_start_to_its_end_and_is_half_way_in_the_middle(schedule):
    ramp = Ramp(8, 1, schedule)
    values = [ramp.at(step / 10) for step in range(11)]
    assert (values[0], values[10]) == (8, 1)
    assert values[5] == pytest.approx(4.5)
    assert values == sorted(values, reverse=True)
    assert (values[0] - values[1] < 0.7 - 1e-9) == (schedule == "cosine")


def test_teachers_are_models_that_an_entry_descends_from():
    models = {
        "b": STUDENT,
        "c": STUDENT | {"from": "b", "teachers": ["teacher", "b"]},
        "d": STUDENT,
    }
    assert check({"teacher": TEACHER, "models": models}).entry("c").teachers == ("teacher", "b")
    models["c"]["teachers"] = ["teacher", "d"]
    with pytest.raises(BadInput) as caught:
        check({"teacher": TEACHER, "models": models})
    assert_explains(caught.value, "models.c.teachers", "b, teacher", "'d'")


def test_every_operation_with_recovery_takes_any_loss():
    cut = {
        "from": "teacher",
        "by": "prune",
        "keep_macs": 0.5,
        "losses": [{"loss": "dist"}],
        "teachers": ["teacher"],
    }
    (loss,) = check({"teacher": TEACHER, "models": {"a": cut}}).entry("a").terms
    assert loss.loss == "dist"
