"""Schedules: their formulas; entries that cut in several steps, killed between and inside them."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from properties import assert_equal_weights, example_of

from espalier import files
from espalier.commands import make
from espalier.models import load
from espalier.pruning.schedules import SCHEDULES, amounts

ENTRY = {
    "from": "teacher",
    "by": "prune",
    "score": "l1",
    "keep_macs": 0.5,
    "align": 1,
    "schedule": "cubic",
    "steps": 2,
    "sparsify": {"penalty": "group_lasso", "strength": 1.0e-4, "epochs": 1},
    "finetune": {"epochs": 2},
}
STEPS = 1222 // 64  # of training, per epoch

# The command, killed by itself at a point of its work.
KILLED = """
import os, signal, sys
from pathlib import Path
from espalier.commands import make
from espalier.making import prune
from espalier.training import engine

def dies(function, call):
    calls = []
    def wrapped(*given, **more):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **more)
    return wrapped

where, call = sys.argv[1], int(sys.argv[2])
if where == "cut":
    prune._cut = dies(prune._cut, call)
if where == "save":
    prune.save = dies(prune.save, call)
if where == "train":
    engine._Run._step = dies(engine._Run._step, call)
make.run(Path.cwd(), "student")
"""


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_amounts_fall_to_exactly_the_last_one(schedule, steps):
    left = amounts(schedule, 0.9, 0.3, steps)
    assert len(left) == steps
    assert left[-1] == 0.3
    assert all(later < earlier for earlier, later in zip([0.9, *left], left, strict=False))


def test_one_shot_is_one_cut():
    assert amounts("one_shot", 0.9, 0.3, 1) == [0.3]


def test_linear_takes_as_much_in_every_step():
    assert np.diff([1, *amounts("linear", 1, 0.2, 4)]) == pytest.approx([-0.2] * 4)


def test_geometric_leaves_the_same_part_in_every_step():
    left = np.array([1, *amounts("geometric", 1, 0.2, 4)])
    assert left[1:] / left[:-1] == pytest.approx([0.2**0.25] * 4)


def test_cubic_is_the_sparsity_of_zhu_and_gupta():
    """Equation 1: s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3."""
    initial, final, steps = 0.1, 0.8, 5
    sparsity = [final + (initial - final) * (1 - t / steps) ** 3 for t in range(1, steps + 1)]
    assert [1 - left for left in amounts("cubic", 1 - initial, 1 - final, steps)] == pytest.approx(
        sparsity
    )


def declare(project, **keys):
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["models"] = {"student": ENTRY | keys}
    path.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def built_project(tiny, tmp_path_factory):
    """A model cut in two steps after sparse training, made in one go."""
    project = tmp_path_factory.mktemp("built_project") / "tiny"
    shutil.copytree(tiny, project)
    declare(project)
    make.run(project, "student")
    return project


def test_each_part_trains_as_long_as_its_keys_say_and_the_history_goes_on(built_project):
    folder = built_project / "models" / "student"
    lines = (folder / "history.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    assert [float(row[1]) for row in rows] == [
        1,
        2,
        3,
        4,
    ]  # sparse training, between, and the last two
    assert [float(row[0]) for row in rows] == [STEPS * n for n in (1, 2, 3, 4)]
    metrics = files.read_json(folder / "metrics.json")
    assert 0.49 * metrics["base_macs"] <= metrics["macs"] <= 0.5 * metrics["base_macs"]
    teacher = files.read_json(built_project / "models" / "teacher" / "metrics.json")
    assert files.read_json(folder / "lineage.json")["base_parameters"] == teacher["parameters"]


@pytest.mark.slow
def test_the_steps_leave_what_the_schedule_says(built_project, monkeypatch):
    """Seen in the folders of the steps, which are there as long as the work is not done."""
    monkeypatch.setattr(make.shutil, "rmtree", lambda *given, **more: None)
    shutil.move(built_project / "models" / "student", built_project / "before")
    make.run(built_project, "student")
    (progress,) = (built_project / ".espalier" / "checkpoints").glob("student-*")
    base = files.read_json(built_project / "models" / "teacher" / "metrics.json")["macs"]
    from espalier.measures.macs import count_macs

    found = [
        count_macs(load(progress / f"step-{step}"), example_of((1, 8, 8))) / base for step in (1, 2)
    ]
    assert found == pytest.approx(amounts("cubic", 1, 0.5, 2), rel=0.02)
    assert_equal_weights(
        load(built_project / "before"), load(built_project / "models" / "student")
    )  # and again the same bits


@pytest.mark.slow
def test_masks_become_denser_step_by_step_and_stay(tiny_copy):
    project = tiny_copy()
    keys = {
        "pattern": "weights",
        "sparsity": 0.8,
        "schedule": "geometric",
        "between": {"epochs": 0},
    }
    declare(project, **keys)
    content = yaml.safe_load((project / "params.yaml").read_text())
    for key in ("keep_macs", "align", "sparsify"):
        del content["models"]["student"][key]
    content["models"]["student"]["finetune"] = {"epochs": 1}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    make.run(project, "student")
    network = load(project / "models" / "student")
    weights = [parameter for name, parameter in network.named_parameters() if parameter.ndim == 4]
    zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(
        weight.numel() for weight in weights
    )
    assert zeros == pytest.approx(0.8, abs=1e-3)
    assert (
        0.7 < files.read_json(project / "models" / "student" / "metrics.json")["zeros"] < 0.8
    )  # with the classifier


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("train", 5),  # in sparse training
        ("cut", 2),  # between the steps
        ("save", 2),  # when the second cut is made and not yet kept
        ("train", STEPS + 3),  # in the recovery of the first step
        ("train", 3 * STEPS + 5),  # in the last recovery, after an epoch
    ],
)
def test_killed_at_any_point_and_run_again_it_ends_with_the_same_bits(
    built_project, tiny_copy, where, call
):
    project = tiny_copy()
    declare(project)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, where, str(call)], cwd=project, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (project / "models" / "student").exists()
    make.run(project, "student")
    assert_equal_weights(
        load(project / "models" / "student"), load(built_project / "models" / "student")
    )
