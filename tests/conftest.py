"""Fixtures of all tests: the folders of the project and of the real data, the digits, and a tiny project of them."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["sample_project_fixtures"]

ROOT = Path(__file__).resolve().parents[1]

TINY = """\
training: {batch_size: 64, threads: 1, views: 3}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}, epochs: 2}
models:
  student: {from: teacher, by: distill, model: "espalier:resnet", arguments: {depth: 8, width: 4}, epochs: 2}
  student-p60: {from: student, by: prune, keep_macs: 0.6, align: 1, finetune: {epochs: 1}}
  student-int8: {from: student, by: quantize, images: 64}
evaluation: {rounds: 3}
"""


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data (MNIST, Fashion-MNIST, CIFAR-10) are not at {folder}")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, and last the files that leave Prefect's and MLflow's threads in the process.

    A process forked from one with such threads, as a DataLoader's worker is, now and then fails when it ends. Of the
    last ones the longest come first, so that no worker is left alone with it.
    """
    order = {"test_pipeline.py": 0, "registry": 2, "tasks": 3, "flows": 3}
    long = (ROOT / "tests" / "flows" / "test_fleet.py", ROOT / "tests" / "flows" / "test_cli.py")

    def place(item: pytest.Item) -> tuple[int, bool]:
        part = item.path.relative_to(ROOT / "tests").parts[0]
        return order.get(part, 1), item.path not in long

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The seconds of the slowest files: where a suite that takes too long can be cut."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.split("::")[0]] += report.duration
    slow = [(file, time) for file, time in seconds.most_common(40) if time >= 10]
    if slow:
        terminalreporter.section("slowest files")
        for file, time in slow:
            terminalreporter.write_line(f"{time:5.0f} s  {file}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Tests share few cores, and the number of threads fixes the bits: those of fixtures too, so it is set before."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared digits: 1,222 training, 216 validation and 359 test images of 1x8x8 in 10 classes."""
    from espalier.data.prepare import prepare
    from espalier.data.sources import import_data
    from espalier.settings.data import DataSettings

    project = tmp_path_factory.mktemp("digits")
    shutil.copytree(ROOT / ".dvc" / "embedded", project / ".dvc" / "embedded")
    import_data("digits", project / "data", None, project / "work", DataSettings())
    settings = {
        "validation": 0.15,
        "test": 0.2,
        "duplicates": "refuse",
        "split": "exact",
        "crop": -1,
        "flip": None,
        "seed": 0,
    }
    prepare(project / "data", project / "prepared", **settings, workshop=project / "work")
    return project / "prepared"


@pytest.fixture(scope="session")
def tiny(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with prepared digits and a made teacher.

    It is shared: copy it before changing it.
    """
    from espalier.commands import make

    project = tmp_path_factory.mktemp("tiny")
    shutil.copytree(digits, project / "prepared")
    (project / "params.yaml").write_text(TINY)
    make.run(project, "teacher")
    return project


@pytest.fixture
def tiny_copy(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Copies of the tiny project, without the models that are named."""

    def copy(*without: str) -> Path:
        project = tmp_path_factory.mktemp("project") / "tiny"
        shutil.copytree(tiny, project, ignore=shutil.ignore_patterns("locks", "work"))
        for name in without:
            shutil.rmtree(project / "models" / name)
        return project

    return copy
