"""`by: factorize` in a project."""

import json

import pytest
import yaml
from properties import assert_refuses

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput
from espalier.models import load
from espalier.models.structure import Replaced, edits_of
from espalier.params import check

FACTORIZE = {"from": "teacher", "by": "factorize"}


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_an_entry_is_made_and_refers_to_the_unpruned_ancestor(tiny_copy):
    project = tiny_copy()
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["models"] = {
        "low": FACTORIZE | {"keep_macs": 0.6, "align": 2, "finetune": {"epochs": 1}},
        "lower": FACTORIZE | {"from": "low", "keep_parameters": 0.5, "align": 1, "keep": ["head"]},
    }
    content["models"]["lower"]["finetune"] = {"epochs": 0}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    for name in ("low", "lower"):
        make.run(project, name)
    low, lower = (
        json.loads((project / "models" / name / "metrics.json").read_text())
        for name in ("low", "lower")
    )
    teacher = files.read_json(project / "models" / "teacher" / "metrics.json")
    assert 0.55 * teacher["macs"] < low["macs"] <= 0.6 * teacher["macs"]
    assert low["base_macs"] == lower["base_macs"] == teacher["macs"]
    assert 0.45 * teacher["parameters"] < lower["parameters"] <= 0.5 * teacher["parameters"]
    assert (low["epochs"], lower["epochs"]) == (1, 0)
    assert low["difference_from_torch"] < 1e-4
    edits = edits_of(load(project / "models" / "lower"))
    assert all(isinstance(edit, Replaced) for edit in edits)
    assert "head" not in [edit.layer for edit in edits]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, ["one target", "keep_macs, keep_parameters", "none"]),
        ({"keep_macs": 0.5, "keep_parameters": 0.5}, ["`keep_macs` and `keep_parameters`"]),
        ({"keep_macs": 0}, ["keep_macs"]),
        ({"keep_macs": 0.5, "align": 0}, ["align"]),
        ({"keep_macs": 0.5, "score": "taylor"}, ["score"]),
    ],
)
def test_wrong_keys_are_refused_by_name(keys, words):
    with pytest.raises(BadInput) as caught:
        check({"teacher": {"model": "espalier:resnet"}, "models": {"a": FACTORIZE | keys}})
    assert_refuses(caught.value, *words)
