import json

import pytest

from espalier.tasks.dvc_output import DvcOutput
from espalier.tasks.graph import Stage
from espalier.tasks.reporting import readable

SAID = """\
WARNING: Process 'dvc repro' with (Pid 12), in RWLock-file '.dvc/tmp/rwlock' had been killed. Auto removed it from the lock file.
Running stage 'model@small':
> espalier make small
{"epoch": 3, "loss": 0.123456, "layers": [1, 2]}
a line of its own
espalier: keep_macs to lie in (0, 1].
Updating lock file 'dvc.lock'

To track the changes with git, run:

\tgit add dvc.lock

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
ERROR: failed to reproduce 'model@small': failed to run: espalier make small, exited with 2
"""  # noqa: E501


def test_only_the_lines_of_the_stage_are_reported():
    reported = []
    output = DvcOutput(Stage("model@small", "espalier make small"), reported.append)
    for line in SAID.splitlines():
        output.on_line(line)
    assert reported == ["epoch 3  loss 0.1235", "a line of its own"]
    assert output.errors == ["failed to run: espalier make small, exited with 2"]
    assert not output.busy


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: failed to reproduce 'a': '/p/models/a' is busy, it is being blocked by:",
        "ERROR: Unable to acquire lock. Most likely another DVC process is running or was terminated abruptly.",
    ],
)
def test_another_running_dvc_command_is_recognised(line):
    output = DvcOutput(Stage("a"), lambda _line: None)
    output.on_line(line)
    assert output.busy


def test_unchanged_and_restored_stages_are_reported_in_plain_words():
    reported = []
    output = DvcOutput(Stage("a"), reported.append)
    output.on_line("Stage 'a' is cached - skipping run, checking out outputs")
    assert not output.unchanged
    output.on_line("Stage 'a' didn't change, skipping")
    assert output.unchanged
    assert reported == ["made before with the same inputs: restored from the cache", "unchanged"]


def test_a_line_with_a_brace_that_is_no_json_stays_as_it_is():
    assert readable("{not json}") == "{not json}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("accuracy", "validation  83.53 %  "),
        ("within_tolerance", "validation  83.53 % within tolerance"),
        ("jaccard", "validation  83.53 % Jaccard index"),
    ],
)
def test_an_epoch_of_every_task_is_one_short_line(name, words):
    row = {"epoch": 3, "epochs": 15, "loss": 0.1, name: 0.8353, "seconds": 1.2}
    assert readable(json.dumps(row)).startswith(f"epoch  3/15  loss  0.1000  {words}")
