"""A pruned entry that is slower than its parent says so."""

import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from espalier.errors import Notice
from espalier.making import latency_check as compare
from espalier.measures.comparison import Comparison
from espalier.params import Prune

IMAGES = np.zeros((3, 1, 8, 8), np.uint8)


def job(by):
    entry = (
        Prune.model_validate({"by": "prune", "from": "student", "keep_macs": 0.5})
        if by == "prune"
        else object()
    )
    runtime = types.SimpleNamespace(open=lambda path: types.SimpleNamespace(run=path))
    return types.SimpleNamespace(
        entry=entry, root=Path("root"), name="student-p50", runtime=runtime
    )


@pytest.fixture
def measured(monkeypatch):
    """What the two files are found to take."""
    opened = []

    def use(found):
        def compared(open_, batch):
            opened.append((open_(), batch.shape))
            return found

        monkeypatch.setattr(compare, "compare_latency", compared)
        return opened

    return use


def test_a_slower_one_is_told_with_both_figures(measured):
    opened = measured(Comparison(1.0, 1.25))
    with pytest.warns(
        Notice, match="found 1.250 ms for student-p50 and 1.000 ms for student at batch 1"
    ):
        compare.tell_if_slower(job("prune"), Path("draft.onnx"), IMAGES)
    assert opened == [
        (
            {"parent": Path("root/models/student/model.onnx"), "child": Path("draft.onnx")},
            (1, 1, 8, 8),
        ),
    ]


@pytest.mark.parametrize("found", [Comparison(1.0, 0.9), Comparison(1.0, 1.02), None])
def test_others_are_not(measured, found):
    measured(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare.tell_if_slower(job("prune"), Path("draft.onnx"), IMAGES)


def test_entries_that_are_not_pruned_are_not_timed(measured):
    opened = measured(Comparison(1.0, 2.0))
    compare.tell_if_slower(job("train"), Path("draft.onnx"), IMAGES)
    assert not opened
