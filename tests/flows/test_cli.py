import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sample_projects
from selection import mostly_slow

ESPALIER = str(Path(sys.executable).parent / "espalier")


@pytest.fixture
def environment(tmp_path):
    """The environment of a user without Prefect settings."""
    named = {
        name: value
        for name, value in sample_projects.ENVIRONMENT.items()
        if not name.startswith("PREFECT_")
    }
    return named | {"HOME": str(tmp_path)}


def call_run(project, environment):
    """A run that has ended, with its output."""
    return call(project, environment, "run")


def call(project, environment, *words):
    """A command that has ended, with its output."""
    command = [ESPALIER, *words]
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("service", "port"), [("s3", "99999"), ("mlflow", "0")])
def test_a_number_that_is_no_port_is_refused_before_anything_is_written(
    root, environment, service, port
):
    before = sorted(root.rglob("*"))
    ended = call(root, environment, "fleet", f"--{service}-port", port, "--only", "s3")
    assert ended.returncode == 2
    assert ended.stderr == (
        f"espalier: Expected --{service}-port from 1 to 65535; found {port}: give another one.\n"
    )
    assert sorted(root.rglob("*")) == before


def test_help_names_run_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['espalier', '--help']; from flows.cli import run_command\n"
        "try: run_command()\nexcept SystemExit: pass\n"
        "print([name for name in ('prefect', 'dvc', 'torch', 'mlflow', 'pandas', 'pydantic') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search(r"^ +run +\S", said.stdout, re.MULTILINE)
    assert said.stdout.splitlines()[-1] == "[]"


def test_dry_shows_what_would_be_done_and_does_nothing(built_project, environment):
    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    before = sample_projects.events(built_project)
    command = [ESPALIER, "run", "--dry"]
    said = subprocess.run(
        command, cwd=built_project, env=environment, capture_output=True, text=True, check=True
    )
    acts = dict(line.split(maxsplit=1) for line in said.stdout.splitlines()[1:])
    assert {name for name, act in acts.items() if act.strip() == "make it"} == {
        "other",
        "evaluate",
        "register",
    }
    assert acts["student-p50"].strip() == "leave it: unchanged"
    assert (sample_projects.events(built_project), said.stderr) == (before, "")


def test_unknown_stage_to_force_is_exit_status_2(built_project, environment):
    command = [ESPALIER, "run", "--dry", "--force", "nothing"]
    said = subprocess.run(
        command, cwd=built_project, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert re.fullmatch(r"espalier: Expected --force to name one of prepare, .*\n", said.stderr)


def test_run_shows_lines_the_tree_and_the_locations(built_project, environment):
    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    said = call_run(built_project, environment)
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert "other        epoch 1  loss 0.1235" in lines
    assert "2 of 7 stages were made, 5 were unchanged." in lines
    assert any(re.match(r"teacher \* +train +50\.0 \(40\.0\.\.60\.0\)", line) for line in lines)
    assert [line.split()[0] for line in lines[-3:]] == ["models", "reports", "registry"]
    assert not re.search(
        r"Traceback|WARNING|INFO",
        said.stdout + (built_project / ".espalier/prefect/server.log").read_text(),
    )


def test_failure_is_one_sentence_and_its_status(built_project, environment):
    environment |= sample_projects.prefect_server()
    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    sample_projects.behave(
        built_project, "other", "end(2, 'Expected keep_macs in (0, 1]; found 7.')"
    )
    said = call_run(built_project, environment)
    assert said.returncode == 2
    assert said.stderr == (
        "espalier: other: Expected keep_macs in (0, 1]; found 7.\nNot run, because they need it: evaluate, register.\n"
    )


def test_a_configured_server_that_is_away_is_worth_another_try(built_project, environment):
    environment |= {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = call_run(built_project, environment)
    assert done.returncode == 75
    assert done.stderr == (
        "espalier: Expected the configured Prefect server to answer; found: Failed to reach API at "
        "http://127.0.0.1:9/api/. Start it, or unset PREFECT_API_URL, so that the run starts a server of its own.\n"
    )


@pytest.mark.parametrize("times", mostly_slow([1, 5], 5))
@pytest.mark.parametrize(("sign", "own_server"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_stopped_run_stops_everything_with_one_line(
    built_project, environment, sign, own_server, times
):
    if not own_server:
        environment |= sample_projects.prefect_server()
    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    sample_projects.behave(built_project, "other", "note('ready')\ntime.sleep(120)")
    with subprocess.Popen(
        [ESPALIER, "run"],
        cwd=built_project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        deadline = time.monotonic() + 60
        while not sample_projects.events(built_project, "ready") and time.monotonic() < deadline:
            time.sleep(0.1)
        for _ in range(times):
            os.killpg(run.pid, sign)  # as a terminal does: to all that share it
            time.sleep(0.3)
        _, stderr = run.communicate(timeout=60)
    assert run.returncode == 143
    assert (
        stderr
        == "espalier: The run was stopped. Run it again to continue from the last checkpoints.\n"
    )
    assert _processes_of(built_project) == []


@pytest.mark.parametrize("runs", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_idle_runs_at_once_all_end_well_with_one_server(built_project, environment, runs):
    began = [
        subprocess.Popen(
            [ESPALIER, "run"],
            cwd=built_project,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(runs)
    ]
    ended = [(run.communicate(timeout=280)[1], run.returncode) for run in began]
    assert ended == [("", 0)] * runs
    assert _processes_of(built_project) == []


@pytest.mark.slow
def test_a_killed_server_is_started_again_and_the_run_goes_on(built_project, environment):
    sample_projects.write_params(built_project, other={"keep_macs": 0.7})
    sample_projects.behave(built_project, "other", "note('ready')\ntime.sleep(3)")
    with subprocess.Popen(
        [ESPALIER, "run"],
        cwd=built_project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        deadline = time.monotonic() + 60
        while not sample_projects.events(built_project, "ready") and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads((built_project / ".espalier/prefect/server.json").read_text())
        os.kill(address["pid"], signal.SIGKILL)
        stdout, stderr = run.communicate(timeout=120)
    assert (run.returncode, stderr) == (0, "")
    assert "Prefect's server had ended: it was started again" in stdout
    assert "2 of 7 stages were made, 5 were unchanged." in stdout
    assert _processes_of(built_project) == []


def _processes_of(root):
    """Processes that still run in a project, found by working directory or Prefect home."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == root or str(root).encode() in (
                process / "environ"
            ).read_bytes():
                left.append((process / "cmdline").read_bytes())
        except OSError:  # it ended while we looked
            continue
    return left
