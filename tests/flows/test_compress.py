import json
import shutil
import time

import pytest
import sample_projects
from prefect.client.orchestration import get_client

from espalier.errors import BadInput
from espalier.flows.compress import compress
from espalier.tasks.project import TimeLimits

LIMITS = TimeLimits(delay=0.05, grace=5.0)
pytestmark = pytest.mark.usefixtures("server")


def run(root, **arguments):
    return compress(str(root), limits=LIMITS, return_state=True, **arguments)


def task_runs(state):
    """The names of the task runs of a flow run, with the names of their states."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    identity = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + 20  # states of tasks arrive as events, a little later
        while True:
            runs = client.read_task_runs(flow_run_filter=identity)
            if (
                all(run.state.is_final() or run.state.is_pending() for run in runs)
                or time.monotonic() > deadline
            ):
                return {run.name: run.state_name for run in runs}
            time.sleep(0.2)


def artifacts():
    with get_client(sync_client=True) as client:
        return {artifact.key: artifact for artifact in client.read_latest_artifacts()}


def without_registry(root):
    """The same project with nothing to register."""
    import yaml

    pipeline = {
        "stages": {
            name: stage
            for name, stage in sample_projects.PIPELINE["stages"].items()
            if name != "register"
        }
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return root


def test_everything_is_made_independent_branches_in_parallel(root, monkeypatch):
    monkeypatch.setattr("espalier.tasks.slots.count_processors", lambda: 2)
    for branch in (
        "student",
        "other",
    ):  # each waits for the other to begin: one after the other they would not end
        peer = "other" if branch == "student" else "student"
        code = (
            "deadline = time.time() + 30\n"
            f"while not any('{peer}' in line for line in open('events.log')) and time.time() < deadline: "
            "time.sleep(0.05)\nif time.time() > deadline: end(2, 'alone')"
        )
        sample_projects.behave(root, branch, code)

    state = run(root)

    assert state.is_completed(), state.message
    assert state.message == "7 of 7 stages were made, 0 were unchanged."
    assert sorted(sample_projects.events(root)) == sorted(
        ["prepare", "teacher", "student", "other", "student-p50", "evaluate", "register"]
    )
    assert sample_projects.events(root)[-2:] == ["evaluate", "register"]
    assert (
        sample_projects.call(root, "dvc", "status").strip() == "Data and pipelines are up to date."
    )
    found = artifacts()
    assert {"teacher", "student", "student-p50", "other", "models", "espalier"} <= set(found)
    assert {"metric": "accuracy", "value": 0.5} in json.loads(found["student-p50"].data)
    (row,) = json.loads(found["models"].data)
    assert (row["model"], row["accuracy"]) == ("teacher", "0.5")


def test_nothing_to_do_starts_nothing(built_project):
    before = sample_projects.events(built_project)
    state = run(without_registry(built_project))
    assert state.message == "0 of 6 stages were made, 6 were unchanged."
    assert sample_projects.events(built_project) == before
    assert set(task_runs(state).values()) == {"Unchanged", "Completed"}  # the latter: publishing


def test_a_lost_registry_is_filled_again_though_dvc_sees_no_change(built_project):
    before = sample_projects.events(built_project)
    state = run(built_project)
    assert state.is_completed(), state.message
    assert sample_projects.events(built_project)[len(before) :] == ["register"]


def test_a_changed_entry_and_its_descendants_are_made_again_and_for_a_reverted_one_nothing(
    built_project,
):
    before = sample_projects.events(built_project)
    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    state = run(built_project)
    # The new `other` has the content of the former, and so have the reports: nothing is left to be
    # registered.
    assert sample_projects.events(built_project)[len(before) :] == ["other", "evaluate"]
    assert state.message == "2 of 7 stages were made, 5 were unchanged."

    sample_projects.write_params(built_project)
    before = sample_projects.events(built_project)
    assert run(built_project).is_completed()
    assert (
        sample_projects.events(built_project) == before
    )  # DVC has the former results in its cache


def test_other_branches_go_on_when_one_fails_and_nothing_incomplete_is_registered(root):
    sample_projects.behave(root, "student", "end(2, 'Expected keep_macs in (0, 1]; found 7.')")

    state = run(root)

    assert state.is_failed()
    assert state.message == (
        "student: Expected keep_macs in (0, 1]; found 7.\n"
        "Not run, because they need it: student-p50, evaluate, register."
    )
    assert isinstance(state.result(raise_on_failure=False), BadInput)
    assert set(sample_projects.events(root, "end")) == {"prepare", "teacher", "other"}
    runs = task_runs(state)
    assert (runs["student"], runs["other"], runs["student-p50"]) == (
        "Failed",
        "Completed",
        "NotReady",
    )


@pytest.mark.slow
def test_every_failure_is_listed(root):
    sample_projects.behave(root, "student", "end(2, 'No.')")
    sample_projects.behave(root, "other", "end(1, 'A defect.')")
    state = run(root)
    assert {"student: No.", "other: A defect."} < set(state.message.splitlines())
    assert sample_projects.events(root).count("other") == 2
    assert isinstance(state.result(raise_on_failure=False), BadInput)  # what no retry can help


def test_missing_data_are_pulled(root, tmp_path):
    sample_projects.call(
        root, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage")
    )
    sample_projects.call(root, "dvc", "push", "--quiet")
    shutil.rmtree(root / "data")
    shutil.rmtree(root / ".dvc" / "cache")
    state = run(root)
    assert state.is_completed(), state.message
    assert (root / "data" / "content").read_text() == "data\n"


def test_changes_of_the_data_that_dvc_has_not_saved_are_not_overwritten(root):
    (root / "data" / "content").write_text("my own\n")
    state = run(root)
    assert state.message.startswith(
        "data: Expected the data of data.dvc as DVC saved them; found unsaved changes"
    )
    assert (root / "data" / "content").read_text() == "my own\n"
    assert sample_projects.events(root) == []


def test_bad_parameters_are_one_sentence(root):
    (root / "params.yaml").write_text("teacher: {model: x}\nsede: 1\n")
    state = run(root)
    assert state.is_failed()
    assert (
        state.message
        == "Expected params.yaml:2 to have no key `sede`; found 1 there; it is unknown."
    )


def test_a_stage_can_be_forced(built_project):
    before = sample_projects.events(built_project)
    run(without_registry(built_project), force=("student-p50",))
    assert sample_projects.events(built_project)[len(before) :] == ["student-p50"]
