import pytest
from registry.projects import Project

from espalier.commands.register import run
from espalier.errors import EspalierError


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_it_prints_a_line_per_model_and_its_check_finds_nothing_and_then_names_what_is_missing(
    tmp_path, capsys
):
    project = Project(tmp_path)
    run(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "teacher      version   1  new",
        "student      version   2  new",
        "student-p50  version   3  new",
        "models:/digits@NAME is the version that holds NAME as it is now",
    ]
    receipt = (tmp_path / "registered.json").read_bytes()
    run(tmp_path, check=True)
    assert capsys.readouterr().out == ""
    project.write_model("student", seed=5)
    with pytest.raises(
        EspalierError, match=r"'digits' to hold all 3 models .*; found student: version 2"
    ) as caught:
        run(tmp_path, check=True)
    assert caught.value.status == 1
    assert (tmp_path / "registered.json").read_bytes() == receipt
