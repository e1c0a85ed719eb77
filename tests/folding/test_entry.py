"""`by: fold` in params.yaml."""

import pytest
from properties import assert_refuses

from espalier.errors import BadInput
from espalier.params import check


def entry(**keys):
    models = {"folded": {"from": "teacher", "by": "fold", **keys}}
    return check({"teacher": {"model": "espalier:resnet"}, "models": models}).models["folded"]


@pytest.mark.parametrize("what", ["batch_norms", "linears", "ranges"])
def test_exact_folds_are_not_trained_by_default(what):
    assert entry(fold=what).finetune == {"epochs": 0}
    assert entry(fold=what, finetune={"learning_rate": 0.01}).finetune == {"learning_rate": 0.01}


def test_merged_blocks_are_fine_tuned_by_default():
    merged = entry(fold="blocks", keep_macs=0.7, similarity=0.9)
    assert (merged.finetune, merged.keep_macs, merged.similarity) == ({}, 0.7, 0.9)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"fold": "blocks"}, ["`keep_macs` or `similarity`", "neither"]),
        ({"fold": "linears", "keep_macs": 0.5}, ["`keep_macs`", "`fold: blocks`"]),
        ({"fold": "batch_norms", "similarity": 0.9}, ["`similarity`", "`fold: blocks`"]),
        (
            {"fold": "batch_norms", "soft": {"weight": 0.5}},
            ["`finetune` beside `soft`", "`fold: batch_norms`"],
        ),
        ({"fold": "blocks", "similarity": 1.1}, ["similarity", "1.1"]),
        ({"fold": "towels"}, ["fold", "towels"]),
        ({}, ["fold"]),
    ],
)
def test_wrong_keys_are_refused_by_name(keys, words):
    with pytest.raises(BadInput) as caught:
        entry(**keys)
    assert_refuses(caught.value, *words)
