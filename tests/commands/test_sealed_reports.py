"""Reports are sealed as models are: every command that reads them refuses a file that is not the evaluation's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from espalier import files
from espalier.commands import doctor, evaluate, make, promote, register, report, show
from espalier.errors import BadInput, Notice
from espalier.making.kept import Kept
from espalier.records import verify_reports

PARAMS = """\
training: {batch_size: 64, threads: 1}
teacher: {model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 1}
models:
  pruned: {from: teacher, by: prune, keep_macs: 0.6, align: 1}
evaluation: {rounds: 3}
"""
GATES = "champion: {candidates: [pruned], gates: {examples: 300, bytes_ratio: 0.9}}\n"
READERS = {"show": show.run, "report": report.run, "register": register.run, "promote": promote.run}


@pytest.fixture(scope="module")
def judged(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp("judged") / "project"
    shutil.copytree(digits, root / "prepared")
    (root / "params.yaml").write_text(PARAMS)
    files.write(root / "mlflow" / "gates.yaml", GATES)
    for name in ("teacher", "pruned"):
        make.run(root, name)
    evaluate.run(root)
    register.run(root)
    return root


@pytest.fixture
def project(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "project")


def manifest_with(root: Path, name: str) -> None:
    path = root / "reports" / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][name] = next(iter(content["files"].values()))
    path.write_text(json.dumps(content))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link_folder_outside(root: Path) -> None:
    folder = root / "reports" / "predictions"
    folder.rename(root.parent / "elsewhere")
    folder.symlink_to(root.parent / "elsewhere")


REPAIR, RUN = "espalier repair", "espalier run"
DAMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a changed table": (lambda root: flip(root / "reports/models.csv"), "models.csv", REPAIR),
    "changed predictions": (
        lambda root: flip(root / "reports/predictions/pruned.parquet"),
        "predictions/pruned.parquet",
        REPAIR,
    ),
    "a changed page": (lambda root: flip(root / "reports/index.html"), "index.html", REPAIR),
    "a missing table": (lambda root: (root / "reports/models.csv").unlink(), "models.csv", REPAIR),
    "a missing curve": (
        lambda root: (root / "reports/curves/teacher.csv").unlink(),
        "curves/teacher.csv",
        REPAIR,
    ),
    "another file": (
        lambda root: (root / "reports/predictions/other.parquet").write_bytes(b"PAR1"),
        "predictions/other.parquet",
        RUN,
    ),
    "no manifest": (
        lambda root: (root / "reports/manifest.json").unlink(),
        "manifest.json",
        REPAIR,
    ),
    "a cut manifest": (
        lambda root: (root / "reports/manifest.json").write_text('{"files": {'),
        "manifest.json",
        REPAIR,
    ),
    "a name outside": (
        lambda root: manifest_with(root, "predictions/../../evil.txt"),
        "predictions/../../evil.txt",
        REPAIR,
    ),
    "a link outside": (link_folder_outside, "predictions/", REPAIR),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("reader", READERS)
def test_damaged_reports_are_refused_by_every_reader_in_one_sentence(project, reader, damage):
    act, name, remedy = DAMAGES[damage]
    act(project)
    receipt = (project / "registered.json").read_bytes()
    with pytest.raises(BadInput) as refused:
        READERS[reader](project)
    text = str(refused.value)
    assert len(text.splitlines()) == 1
    assert str(project / "reports") in text
    assert name in text
    assert f"`{remedy}`" in text
    assert (project / "registered.json").read_bytes() == receipt


@pytest.mark.parametrize("reader", READERS)
def test_whole_reports_are_read(project, reader, recwarn):
    READERS[reader](project)
    assert not [one for one in recwarn if issubclass(one.category, Notice)]
    verify_reports(project)


def as_of_an_earlier_version(root: Path) -> None:
    (root / "reports" / "manifest.json").unlink()
    path = root / "reports" / "conditions.json"
    conditions = json.loads(path.read_text())
    del conditions["espalier"]
    files.write_json(path, conditions)


@pytest.mark.parametrize("reader", READERS)
def test_reports_of_an_earlier_version_are_read_with_a_warning_and_not_sealed(project, reader):
    as_of_an_earlier_version(project)
    with pytest.warns(Notice, match=r"sealed by a manifest.json; found none, as earlier versions"):
        READERS[reader](project)
    assert not (project / "reports" / "manifest.json").exists()


def test_the_manifest_lists_every_file_and_no_folder_that_dvc_plots_has_one(project):
    reports = project / "reports"
    listed = files.read_manifest(reports, nested=True)
    found = {path.relative_to(reports).as_posix() for path in reports.rglob("*") if path.is_file()}
    assert found - listed.keys() == {"manifest.json"}
    assert {"predictions/pruned.parquet", "metrics/teacher.json"} <= listed.keys()


def test_a_new_page_is_sealed_and_replaces_nothing_else(project):
    before = files.verify(project / "reports", nested=True)
    conditions = (project / "reports" / "conditions.json").read_bytes()
    files.write(project / "mlflow" / "gates.yaml", GATES.replace("300", "250"))
    report.run(project)
    after = files.verify(project / "reports", nested=True)
    assert {name for name in before if before[name] != after[name]} == {"index.html"}
    assert (project / "reports" / "conditions.json").read_bytes() == conditions


def test_a_copy_that_survives_the_removal_by_dvc_is_sealed(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "evaluate")
    evaluate.run(project)
    shutil.rmtree(project / "reports")
    Kept(project, "reports").put_back()
    assert verify_reports(project)
    assert len(pd.read_csv(project / "reports" / "models.csv")) == 2


def test_the_doctor_names_damaged_reports(project, capsys):
    flip(project / "reports" / "classes.csv")
    doctor.run(project)
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("damaged"))
    assert line.split() == ["damaged", "reports:", "`espalier", "repair`"]
