"""The warm process of a run: its stages have the bits of cold ones, and it ends with the run."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from espalier.models.folder import content_hash
from espalier.tasks.environment import stage_environment
from espalier.tasks.graph import Stage
from espalier.tasks.project import Project, TimeLimits
from espalier.tasks.slots import Slot
from espalier.tasks.warm import _MODULES, SWITCH, warm_process

TWO = (Stage("model@student"), Stage("evaluate"))
MODELS = ("student", "student-p60", "student-int8")


def project_at(root: Path, **named) -> Project:
    return Project(root, named.pop("slots", ()), TimeLimits(), **named)


def servers() -> list[psutil.Process]:
    """The warm processes that this process has started."""
    found = psutil.Process().children()
    return [one for one in found if "espalier.warm.server" in one.cmdline()]


def make(root: Path, project: Project) -> list[str]:
    """Make all models as DVC does; returns their hashes."""
    environment = stage_environment() | project.variables
    for name in MODELS:
        subprocess.run(["espalier", "make", name], cwd=root, env=environment, check=True)
    return [content_hash(root / "models" / name) for name in MODELS]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such process")
def test_models_have_the_same_bits_as_from_processes_of_their_own(tiny_copy):
    """A student, a cut with its recovery, and int8 weights: what training, tracing and calibration give."""
    roots = tiny_copy(), tiny_copy()
    project = project_at(roots[0])
    with warm_process(project, TWO):
        folder = Path(project.variables["PATH"].split(os.pathsep)[0])
        assert (folder.stat().st_mode & 0o777, len(servers())) == (0o700, 1)
        warm = make(roots[0], project)
    assert (folder.exists(), project.variables, servers()) == (False, {}, [])
    assert warm == make(roots[1], project)


def test_modules_are_imported_as_stages_import_them():
    """MLflow reads its variables then, and no folder of ONNX Runtime comes before the project's modules."""
    code = (
        "import logging, sys\n"
        "from espalier.warm.server import _import\n"
        "former = list(sys.path)\n"
        f"for name in {_MODULES!r}: _import(name)\n"
        f"print(sys.modules.keys() >= set({_MODULES!r}))\n"
        "print(logging.getLogger('mlflow').getEffectiveLevel() == logging.CRITICAL)\n"
        "print(sys.path == former)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3


@pytest.mark.parametrize(
    ("stages", "slots", "queues", "switch"),
    [
        pytest.param(TWO[:1], (), {}, "", id="a single stage"),
        pytest.param((Stage("prepare"), TWO[0]), (), {}, "", id="one that imports little"),
        pytest.param(TWO, (), {"student": "gpu"}, "", id="one on a worker"),
        pytest.param(TWO, (Slot(Path("a"), {"CUDA_VISIBLE_DEVICES": "0"}),), {}, "", id="a GPU"),
        pytest.param(TWO, (), {}, "0", id="not wanted"),
    ],
)
def test_there_is_none(tmp_path, monkeypatch, stages, slots, queues, switch):
    monkeypatch.setenv(SWITCH, switch)
    assert_none(project_at(tmp_path, slots=slots, queues=queues), stages)


def test_there_is_none_where_the_path_of_temporary_files_is_too_long_for_a_socket(
    tmp_path, monkeypatch
):
    deep = tmp_path / ("a" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert_none(project_at(tmp_path))
    assert list(deep.iterdir()) == []


def test_there_is_none_without_a_place_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert_none(project_at(tmp_path))


def assert_none(project, stages=TWO):
    with warm_process(project, stages):
        assert (project.variables, servers()) == ({}, [])


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such process")
def test_a_run_that_is_stopped_does_not_wait_for_it(tmp_path, monkeypatch):
    """Its stages are told to end after that; the process ends by itself, after the last of them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    block = warm_process(project_at(tmp_path), TWO)
    block.__enter__()
    (process,) = servers()
    with pytest.raises(KeyboardInterrupt):
        block.gen.throw(KeyboardInterrupt())
    process.wait(timeout=30)
    assert list(tmp_path.glob("espalier-*")) == []
