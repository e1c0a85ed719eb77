"""The three commands of docs/flow.md, for real: a server, a worker, a deployment with its schedule."""

import json
import shutil
import subprocess
import sys
import time

import psutil
import pytest
import sample_projects
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import StateType
from sample_projects import wait_for


def test_the_server_can_be_imported():
    """Prefect 3.8 permits versions of FastAPI with which its server cannot be imported."""
    subprocess.run(
        [sys.executable, "-c", "import prefect.server.api.server"], check=True, capture_output=True
    )


@pytest.fixture
def deployed(built_project, project_root, server):
    """The deployment of `prefect.yaml` in a test project, before any worker could run it."""
    shutil.copy(project_root / "prefect.yaml", built_project)
    environment = (
        sample_projects.ENVIRONMENT | server | {"PWD": str(project_root)}
    )  # announced by a shell; it must not count
    for words in (
        ("work-pool", "create", "espalier", "--type", "process"),
        ("--no-prompt", "deploy", "--name", "nightly", "--name", "promote"),
    ):
        subprocess.run(
            _prefect(*words), cwd=built_project, env=environment, check=True, capture_output=True
        )
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("compress/nightly")
        # First of all: a run in another folder would train there.
        assert nightly.pull_steps == [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(built_project)}}
        ]
        yield client, nightly
        client.delete_deployment(nightly.id)


@pytest.mark.slow
def test_deployed_flow_is_scheduled_and_a_worker_runs_it(built_project, deployed, server, tmp_path):
    client, nightly = deployed
    assert (nightly.entrypoint, nightly.work_pool_name) == (
        "espalier.flows.compress.compress",
        "espalier",
    )
    wait_for(lambda: _scheduled(client), "scheduled runs")

    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    worker = _start_worker(tmp_path, server)
    try:
        run = client.create_flow_run_from_deployment(nightly.id)
        ended = wait_for(lambda: _ended(client, run.id), "the end of the run")
        assert ended.type == StateType.COMPLETED, ended.message
        assert ended.message == "2 of 7 stages were made, 5 were unchanged."
        assert sample_projects.events(built_project)[-2:] == ["other", "evaluate"]
        tagged = {
            artifact.key for artifact in client.read_artifacts() if artifact.flow_run_id == run.id
        }
        assert tagged >= {"teacher", "other", "models", "espalier"}

        killed = _start_and_kill(built_project, client, nightly)
        ended = wait_for(lambda: _ended(client, killed), "the end of the killed run", 120)
        assert ended.type == StateType.CRASHED
    finally:
        worker.terminate()
        worker.wait(60)


@pytest.fixture
def automated(deployed, built_project, project_root, server):
    """The deployment, on a server that has the automations of a project."""
    client, nightly = deployed
    shutil.copy(project_root / "automations.yaml", built_project)
    command = _prefect("automation", "create", "--from-file", "automations.yaml")
    environment = sample_projects.ENVIRONMENT | server
    subprocess.run(command, cwd=built_project, env=environment, check=True, capture_output=True)
    yield client, nightly
    for automation in client.read_automations_by_name("espalier-crashed"):
        client.delete_automation(automation.id)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_whose_worker_crashed_with_it_is_marked_within_two_minutes_and_a_slow_one_never(
    built_project, automated, server, tmp_path
):
    client, nightly = automated
    worker = _start_worker(tmp_path, server)
    try:
        run, processes = _start(built_project, client, nightly)
        time.sleep(150)  # longer than the limit of the automation and its delay
        assert client.read_flow_run(run).state.type == StateType.RUNNING
    finally:
        worker.kill()
        worker.wait(60)
    for process in processes:
        process.kill()
    ended = wait_for(lambda: _ended(client, run), "the end of the killed run", 120)
    assert ended.type == StateType.CRASHED
    assert ended.message.startswith("Expected a heartbeat of the run every 30 s")


def _start_worker(folder, server):
    work = _prefect("worker", "start", "--pool", "espalier", "--type", "process", "--name", "test")
    with (folder / "worker.log").open("wb") as log:
        return subprocess.Popen(
            work, cwd=folder, env=sample_projects.ENVIRONMENT | server, stdout=log, stderr=log
        )


def _start(root, client, deployment):
    """The id of a run that a worker has started, and its processes, which are in the middle of a stage."""
    sample_projects.write_params(root, other={"keep_macs": 0.6})
    sample_projects.behave(root, "other", "note('ready'); time.sleep(600)")
    run = client.create_flow_run_from_deployment(deployment.id)
    wait_for(lambda: sample_projects.events(root, "ready"), "the stage")
    lines = [json.loads(line) for line in (root / "events.log").read_text().splitlines()]
    stage = psutil.Process(lines[-1]["pid"])
    flow = next(one for one in stage.parents() if "dvc" not in one.cmdline())
    dvc = next(one for one in stage.parents() if "dvc" in one.cmdline())
    return run.id, (flow, dvc, stage)


def _start_and_kill(root, client, deployment):
    """The id of a run that a worker has started, and whose process was killed during a stage."""
    run, processes = _start(root, client, deployment)
    for process in processes:
        process.kill()
    return run


def _prefect(*words):
    return [sys.executable, "-m", "prefect", *words]


def _scheduled(client):
    of_ours = DeploymentFilter(name=DeploymentFilterName(any_=["nightly"]))
    runs = client.read_flow_runs(deployment_filter=of_ours)
    return [
        run
        for run in runs
        if run.state.is_scheduled() and run.auto_scheduled and run.next_scheduled_start_time
    ]


def _ended(client, identity):
    state = client.read_flow_run(identity).state
    return state if state.is_final() else None
