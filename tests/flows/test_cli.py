import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sample_projects

ESPALIER = str(Path(sys.executable).parent / "espalier")


@pytest.fixture
def environment(tmp_path):
    """That of a user who has never heard of Prefect."""
    named = {
        name: value
        for name, value in sample_projects.ENVIRONMENT.items()
        if not name.startswith("PREFECT_")
    }
    return named | {"HOME": str(tmp_path)}


def test_help_names_run_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['espalier', '--help']; from flows.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('prefect', 'dvc', 'torch', 'mlflow', 'pandas', 'pydantic') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search(r"^ +run +\S", said.stdout, re.MULTILINE)
    assert said.stdout.splitlines()[-1] == "[]"


def test_dry_shows_what_would_be_done_and_does_nothing(grown, environment):
    sample_projects.write_params(grown, other={"keep_macs": 0.7})
    before = sample_projects.events(grown)
    command = [ESPALIER, "run", "--dry"]
    said = subprocess.run(
        command, cwd=grown, env=environment, capture_output=True, text=True, check=True
    )
    acts = dict(line.split(maxsplit=1) for line in said.stdout.splitlines()[1:])
    assert {name for name, act in acts.items() if act.strip() == "make it"} == {
        "other",
        "evaluate",
        "register",
    }
    assert acts["student-p50"].strip() == "leave it: unchanged"
    assert (sample_projects.events(grown), said.stderr) == (before, "")


def test_unknown_stage_to_force_is_exit_status_2(grown, environment):
    command = [ESPALIER, "run", "--dry", "--force", "nothing"]
    said = subprocess.run(
        command, cwd=grown, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert re.fullmatch(r"espalier: A stage to force should be one of prepare, .*\n", said.stderr)


def test_run_shows_lines_the_tree_and_where_everything_is(grown, environment):
    sample_projects.write_params(grown, other={"keep_macs": 0.7})
    said = subprocess.run(
        [ESPALIER, "run"], cwd=grown, env=environment, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert "other        epoch 1  loss 0.1235" in lines
    assert "2 of 7 stages were made, 5 were unchanged." in lines
    assert any(re.match(r"teacher \* +train +50\.0 \(40\.0\.\.60\.0\)", line) for line in lines)
    assert [line.split()[0] for line in lines[-3:]] == ["models", "reports", "registry"]
    assert not re.search(
        r"Traceback|WARNING|INFO",
        said.stdout + (grown / ".espalier/prefect/server.log").read_text(),
    )


def test_failure_is_one_sentence_and_its_status(grown, environment):
    environment |= sample_projects.prefect_server()
    sample_projects.write_params(grown, other={"keep_macs": 0.7})
    sample_projects.behave(grown, "other", "end(2, 'keep_macs should lie in (0, 1]. Found 7.')")
    said = subprocess.run(
        [ESPALIER, "run"], cwd=grown, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert said.stderr == (
        "espalier: other: keep_macs should lie in (0, 1]. Found 7.\nNot run, as they need it: evaluate, register.\n"
    )


@pytest.mark.parametrize(("sign", "own_server"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_stopped_run_stops_everything_with_one_line(grown, environment, sign, own_server):
    if not own_server:
        environment |= sample_projects.prefect_server()
    sample_projects.write_params(grown, other={"keep_macs": 0.7})
    sample_projects.behave(grown, "other", "note('ready')\ntime.sleep(120)")
    with subprocess.Popen(
        [ESPALIER, "run"],
        cwd=grown,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        deadline = time.monotonic() + 60
        while not sample_projects.events(grown, "ready") and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(run.pid, sign)  # as a terminal does: to all that share it
        _, stderr = run.communicate(timeout=60)
    assert run.returncode == 143
    assert (
        stderr
        == "espalier: The run was stopped. Run it again to go on from the last checkpoints.\n"
    )
    assert _processes_of(grown) == []


def _processes_of(root):
    """What still runs in a project, found by its current folder or its Prefect home."""
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
