"""Names of entries: short enough for every disk, and no aliases of gates."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from properties import assert_explains

from espalier.errors import BadInput
from espalier.gates import refuse_entries
from espalier.params import check

ROOT = Path(__file__).resolve().parents[2]
ENTRY = {"from": "teacher", "by": "prune", "keep_macs": 0.5}


def params(name: str) -> dict[str, object]:
    return {"teacher": {"model": "espalier:mlp", "epochs": 1}, "models": {name: ENTRY}}


@pytest.mark.parametrize("length", [101, 300, 100_000])
def test_a_name_that_no_disk_holds_is_refused(length):
    with pytest.raises(BadInput) as caught:
        check(params("x" * length))
    assert_explains(caught.value, "at most 100 characters", str(length))
    assert len(str(caught.value)) < 500


def test_a_long_name_is_taken():
    assert "x" * 100 in check(params("x" * 100)).models


def test_gates_for_the_alias_of_an_entry_are_refused():
    names = check(params("student")).names
    refuse_entries(["champion"], names)
    for entry in ("student", "teacher"):
        with pytest.raises(BadInput) as caught:
            refuse_entries(["champion", entry], names)
        assert_explains(caught.value, "gates.yaml", repr(entry))


def test_promotion_refuses_them_before_it_judges(tiny_copy):
    from espalier.registry.promotion import promote

    root = tiny_copy()
    (root / "mlflow").mkdir()
    (root / "mlflow" / "gates.yaml").write_text("student: {}\n")
    with pytest.raises(BadInput, match="none of the entries"):
        promote(root)


def test_control_characters_of_files_do_not_reach_the_terminal(tmp_path):
    """In a process: the message of a refused file names what it found there."""
    (tmp_path / "params.yaml").write_text('teacher: {model: "espalier:mlp\\e[2J\\e]0;title\\a"}\n')
    command = [sys.executable, "-m", "espalier", "prepare"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"\x07" not in done.stdout + done.stderr
