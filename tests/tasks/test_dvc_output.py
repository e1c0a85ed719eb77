import pytest

from tasks.dvc_output import DvcOutput
from tasks.graph import Stage
from tasks.reporting import readable

SAID = """\
WARNING: Process 'dvc repro' with (Pid 12), in RWLock-file '.dvc/tmp/rwlock' had been killed. Auto removed it from the lock file.
Running stage 'model@small':
> espalier make small
{"epoch": 3, "loss": 0.123456, "layers": [1, 2]}
a line of its own
espalier: keep_macs should lie in (0, 1].
Updating lock file 'dvc.lock'

To track the changes with git, run:

\tgit add dvc.lock

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
ERROR: failed to reproduce 'model@small': failed to run: espalier make small, exited with 2
"""  # noqa: E501


def test_only_the_lines_of_the_stage_are_told():
    told = []
    chatter = DvcOutput(Stage("model@small", "espalier make small"), told.append)
    for line in SAID.splitlines():
        chatter.hear(line)
    assert told == ["epoch 3  loss 0.1235", "a line of its own"]
    assert chatter.errors == ["failed to run: espalier make small, exited with 2"]
    assert not chatter.busy


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: failed to reproduce 'a': '/p/models/a' is busy, it is being blocked by:",
        "ERROR: Unable to acquire lock. Most likely another DVC process is running or was terminated abruptly.",
    ],
)
def test_another_dvc_at_work_is_noticed(line):
    chatter = DvcOutput(Stage("a"), lambda _line: None)
    chatter.hear(line)
    assert chatter.busy


def test_unchanged_and_restored_stages_are_told_in_other_words():
    told = []
    chatter = DvcOutput(Stage("a"), told.append)
    chatter.hear("Stage 'a' is cached - skipping run, checking out outputs")
    assert not chatter.unchanged
    chatter.hear("Stage 'a' didn't change, skipping")
    assert chatter.unchanged
    assert told == ["made before with the same inputs: restored from the cache", "unchanged"]


def test_a_line_that_only_looks_like_json_is_left_as_it_is():
    assert readable("{not json}") == "{not json}"
