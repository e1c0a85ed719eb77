"""Runs of `espalier run` whose processes are killed, stopped and paused end as undisturbed ones.

`make faults-runs` plays many such scenarios.
"""

import json

import pytest
from faults.crash import flow_record
from faults.crash.disturbances import ACTS, ALL, MOMENTS, PROCESSES, Disturbance, draw
from faults.crash.flow_runs import play

CASES = {
    "between a record of DVC and a state in Prefect": [
        Disturbance("flow", "SIGKILL", "student  done"),
        Disturbance("dvc", "SIGKILL", "pruned   pruned: "),
        Disturbance(ALL, "SIGKILL", "evaluate  measured"),
    ],
    "between a write to MLflow and the move of an alias": [
        Disturbance("stage", "SIGKILL", "register  teacher  version"),
        Disturbance("flow", "SIGTERM", "register  done", delay=0.3),
        Disturbance("flow", "SIGKILL", "promote  candidate"),
    ],
    "stopped twice, and paused": [
        Disturbance("flow", "SIGTERM twice", "teacher  epoch 2"),
        Disturbance("server", "SIGSTOP, SIGCONT", "teacher  teacher: ", pause=3.0),
        Disturbance("live worker", "SIGSTOP, SIGKILL", "student  epoch 1"),
    ],
}


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("case", CASES)
def test_a_disturbed_run_is_repeated_and_ends_with_the_same_bits(
    case, start, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = play(CASES[case], start, undisturbed, tmp_path / "project")
    assert result.problems == []
    assert result.trained_again == 0
    assert len(result.met) == len(CASES[case])


def test_disturbances_are_drawn_with_a_seed_and_each_process_meets_each_act():
    pairs = {(process, act) for process in PROCESSES for act in ACTS} | {(ALL, "SIGKILL")}
    found = draw(len(pairs), seed=1)
    assert {(one.process, one.act) for one in found} == pairs
    assert draw(3 * len(pairs), seed=1)[: len(pairs)] == found
    assert draw(len(pairs), seed=2) != found
    assert all(one.moment in MOMENTS for one in found)


def test_the_page_has_the_figures_of_the_record_and_none_without_one(project_root):
    stated = flow_record.stated((project_root / flow_record.PAGE).read_text())
    if not (project_root / flow_record.RECORD).exists():
        assert stated == ""
        return
    found = json.loads((project_root / flow_record.RECORD).read_text())
    assert stated == flow_record.section(found)
    assert (found["differing"], found["trained_again"], found["problems"]) == (0, 0, [])
