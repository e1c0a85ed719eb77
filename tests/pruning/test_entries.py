"""Entries of params.yaml that prune: their names are those of the tables, and what contradicts itself is refused."""

import warnings
from typing import get_args

import numpy as np
import pytest
import yaml
from properties import assert_explains

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput
from espalier.making.prune import is_clearly_worse
from espalier.params import Prune, check
from espalier.params.prune import Sparsify
from espalier.pruning import Target
from espalier.pruning.budgets import BUDGETS
from espalier.pruning.patterns import PATTERNS
from espalier.pruning.schedules import SCHEDULES
from espalier.pruning.sparse import PENALTIES


def entry(**keys) -> Prune:
    given = {"from": "teacher", "by": "prune"} | keys
    found = check({"teacher": {"model": "espalier:mlp"}, "models": {"a": given}}).models["a"]
    assert isinstance(found, Prune)
    return found


@pytest.mark.parametrize(
    ("section", "key", "names"),
    [
        (Prune, "pattern", list(PATTERNS)),
        (Prune, "budget", list(BUDGETS)),
        (Prune, "schedule", ["one_shot", *SCHEDULES]),
        (Sparsify, "penalty", list(PENALTIES)),
    ],
)
def test_the_names_are_those_of_the_tables(section, key, names):
    assert sorted(get_args(section.model_fields[key].annotation)) == sorted(names)


def test_a_target_is_known_by_its_key():
    assert entry(keep_macs=0.5).spec.targets == (Target("keep_macs", 0.5),)
    assert entry(bytes=20_000).spec.targets == (Target("bytes", 20_000),)
    assert entry(pattern="weights", sparsity=0.9).spec.targets == (Target("sparsity", 0.9),)
    assert entry(score="threshold", below=0.01).spec.targets == (Target("below", 0.01),)
    assert entry(pattern="n_of_m").spec.targets == ()
    both = (Target("keep_macs", 0.5), Target("keep_parameters", 0.6))
    assert entry(keep_macs=0.5, keep_parameters=0.6).spec.targets == both


def test_every_size_is_approached_in_steps():
    spec = entry(keep_macs=0.5, keep_parameters=0.125, schedule="linear", steps=2).spec
    assert spec.stepwise({"keep_macs": 1.0, "keep_parameters": 0.375}) == [
        (Target("keep_macs", 0.75), Target("keep_parameters", 0.25)),
        (Target("keep_macs", 0.5), Target("keep_parameters", 0.125)),
    ]


def test_the_entries_are_known_whose_result_depends_on_the_device_that_is_timed():
    assert entry(milliseconds=0.5).spec.is_timed
    assert entry(keep_macs=0.5, budget="latency").spec.is_timed
    assert not entry(keep_macs=0.5).spec.is_timed
    assert not entry(pattern="n_of_m").spec.is_timed


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, ["keep_macs", "below", "none"]),
        ({"keep_macs": 0.5, "below_mean": 0.5}, ["sizes (keep_macs,", "`below_mean`"]),
        ({"sparsity": 0.5}, ["`pattern: channels`", "`sparsity`"]),
        (
            {"pattern": "heads", "score": "threshold", "below": 0.1},
            ["`pattern: heads`", "`score: threshold`"],
        ),
        ({"pattern": "weights", "keep_macs": 0.5}, ["`pattern: weights`", "`keep_macs`"]),
        ({"pattern": "n_of_m", "sparsity": 0.5}, ["`pattern: n_of_m`", "`sparsity`"]),
        ({"pattern": "n_of_m", "n": 4}, ["`n: 4`", "`m: 4`"]),
        ({"pattern": "n_of_m", "budget": "uniform"}, ["`budget`"]),
        ({"keep_macs": 0.5, "n": 1}, ["`pattern: n_of_m`", "`n`"]),
        ({"keep_macs": 0.5, "score": "threshold"}, ["`score: threshold`", "`below` together"]),
        ({"below": 0.1}, ["`score: magnitude`", "`below` as target"]),
        ({"pattern": "blocks", "keep_macs": 0.5, "align": 4}, ["`align`"]),
        (
            {"pattern": "weights", "sparsity": 0.5, "budget": "latency"},
            ["'latency'", "`pattern: weights`"],
        ),
        ({"keep_macs": 0.5, "steps": 3}, ["`schedule: one_shot`", "`steps: 3`"]),
        ({"keep_macs": 0.5, "schedule": "cubic"}, ["`schedule: cubic`", "`steps: 1`"]),
        ({"keep_macs": 0.5, "between": {"epochs": 2}}, ["`between`", "`steps`"]),
        ({"pattern": "n_of_m", "schedule": "cubic", "steps": 2}, ["`steps`", "`n_of_m`"]),
        ({"keep_macs": 0.5, "schedule": "cubic", "steps": 2, "between": {"epoch": 2}}, ["'epoch'"]),
    ],
)
def test_contradicting_keys_are_refused_in_a_sentence(keys, words):
    with pytest.raises(BadInput) as refusal:
        entry(**keys)
    assert_explains(refusal.value, *words)
    assert str(refusal.value).startswith("models.a: ") or "epoch" in words[0]


@pytest.mark.parametrize(("lost", "clearly"), [(0, False), (1, False), (30, True)])
def test_one_image_less_after_a_recovery_is_no_reason_to_warn(lost, clearly):
    former = np.ones(216)
    scores = np.where(np.arange(216) < lost, 0.0, 1.0)
    assert is_clearly_worse(scores, former) == clearly


@pytest.mark.parametrize(("rate", "warned"), [(1e-4, False), (20.0, True)])
def test_a_recovery_that_forgets_is_reported(tiny_copy, rate, warned):
    project = tiny_copy()
    content = yaml.safe_load((project / "params.yaml").read_text())
    finetune = {"epochs": 1, "learning_rate": rate, "clip_norm": 0.0}
    cut = {"from": "teacher", "by": "prune", "keep_macs": 0.9, "align": 1, "finetune": finetune}
    (project / "params.yaml").write_text(yaml.safe_dump(content | {"models": {"cut": cut}}))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make.run(project, "cut")
    said = [str(one.message) for one in found if "Expected fine-tuning" in str(one.message)]
    assert bool(said) == warned


def test_layers_are_fitted_one_after_another_if_the_entry_says_so(tiny_copy):
    """Without training, so that the difference stays."""
    project = tiny_copy()
    content = yaml.safe_load((project / "params.yaml").read_text())
    cut = {
        "from": "teacher",
        "by": "prune",
        "keep_macs": 0.5,
        "align": 1,
        "finetune": {"epochs": 0},
    }
    ways = {"none": False, "once": True, "layers": "layers"}
    models = {name: cut | {"reconstruct": way} for name, way in ways.items()}
    (project / "params.yaml").write_text(yaml.safe_dump(content | {"models": models}))
    found = []
    for name in models:
        make.run(project, name)
        metrics = files.read_json_object(project / "models" / name / "metrics.json")
        found.append(metrics["validation_accuracy"])
    assert found[0] + 0.05 < found[1] < found[2]


def test_an_unknown_way_to_reconstruct_is_refused():
    with pytest.raises(BadInput) as refusal:
        entry(keep_macs=0.5, reconstruct="layer")
    assert_explains(refusal.value, "reconstruct", "layer")
