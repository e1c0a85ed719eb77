"""A compressed entry that is slower than its parent causes a warning with the figures."""

import types
import warnings
from pathlib import Path

import pytest
import torch

from espalier.errors import Notice
from espalier.making import latency_check
from espalier.making.latency_check import LatencyCheck, warn_if_slower
from espalier.making.project import Project
from espalier.measures.comparison import Comparison
from espalier.params import Prune

CHECK = LatencyCheck("a larger `align` may help", batches=(1, 64))
DRAFT = Path("draft.onnx")


@pytest.fixture
def job():
    """A job whose runtime opens nothing and whose data are 8x8 images."""
    runtime = types.SimpleNamespace(
        name="onnxruntime", open=lambda path: types.SimpleNamespace(run=path)
    )
    dataset = types.SimpleNamespace(zeros=lambda size: torch.zeros(size, 1, 8, 8))
    return types.SimpleNamespace(
        name="student-p50",
        entry=Prune.model_validate({"by": "prune", "from": "student", "keep_macs": 0.5}),
        project=Project(Path("root"), None, torch.device("cpu")),
        runtime=runtime,
        data=types.SimpleNamespace(dataset=dataset),
    )


@pytest.fixture
def measured(monkeypatch):
    """Sets the latencies that a comparison finds, and records the files that it opened."""
    opened = []

    def use(found):
        def compare(open_, batch, seconds):
            opened.append((open_(), len(batch), seconds))
            return found

        monkeypatch.setattr(latency_check, "compare_latency", compare)
        return opened

    return use


def test_a_slower_model_is_reported_with_both_latencies_at_each_batch_size(job, measured):
    opened = measured(Comparison(1.0, 1.25))
    one = "1.25 ms instead of 1 ms at batch {} (0.80 times as fast)"
    with pytest.warns(Notice) as caught:
        warn_if_slower(job, DRAFT, CHECK)
    assert str(caught[0].message) == (
        "Expected student-p50 to be faster than student in onnxruntime, on one thread; found "
        f"{one.format(1)}, {one.format(64)}: a larger `align` may help."
    )
    both = {"parent": Path("root/models/student/model.onnx"), "child": DRAFT}
    assert opened == [(both, 1, CHECK.seconds), (both, 64, CHECK.seconds)]


@pytest.mark.parametrize("found", [Comparison(1.0, 0.9), Comparison(1.0, 1.02), None])
def test_other_models_are_not_reported(job, measured, found):
    measured(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_slower(job, DRAFT, CHECK)
