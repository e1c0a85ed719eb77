"""Programs that are started in a project: its modules replace none of installed packages."""

import os
import subprocess

import pytest

from espalier.interpreter import python_module


@pytest.fixture
def project(tmp_path):
    """A folder with modules that are named like others of the standard library and of packages."""
    for name in ("queue", "numbers", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('replaced')\n")
    return tmp_path


@pytest.mark.parametrize("module", ["dvc", "espalier"])
def test_modules_of_the_working_directory_replace_none(project, module):
    command = python_module(module, "--version")
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_modules_of_the_users_search_path_are_found(tmp_path):
    (tmp_path / "own.py").write_text("print('own')\n")
    done = subprocess.run(
        python_module("own"),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "own\n"
