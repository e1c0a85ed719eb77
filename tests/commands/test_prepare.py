import shutil
from pathlib import Path

import pytest

from espalier.commands import prepare
from espalier.data.prepared import read_dataset
from espalier.errors import BadInput, TryAgain

PARAMS = """\
seed: 5
data: {validation: 0.25, crop: 0, duplicates: drop, split: exact}
teacher: {model: "espalier:resnet"}
"""


@pytest.fixture
def project(project_root, tmp_path) -> Path:
    from espalier.data.sources import import_data
    from espalier.settings.data import DataSettings

    shutil.copytree(project_root / ".dvc" / "embedded", tmp_path / ".dvc" / "embedded")
    import_data(
        "digits",
        tmp_path / "data",
        None,
        tmp_path / ".espalier" / "work",
        DataSettings(),
    )
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def test_parameters_reach_the_data(project, capsys):
    prepare.run(project)
    dataset = read_dataset(project / "prepared")
    assert (dataset.seed, dataset.facts.crop, dataset.facts.flip) == (5, 0, False)
    assert dataset.counts["validation"] == pytest.approx(
        0.25 * (1797 - dataset.counts["test"]), abs=5
    )
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"digits: {dataset.counts['train']} train, ")
    assert said[-1] == f"prepared/ is ready, from data {dataset.source_hash[:12]}"


def test_dropped_examples_are_reported(project, capsys):
    import pyarrow.parquet as pq

    table = pq.read_table(project / "data" / "digits.parquet")
    (project / "data" / "digits.parquet").unlink()
    pq.write_table(table.slice(0, 1500), project / "data" / "train.parquet")
    pq.write_table(table.slice(1490), project / "data" / "test.parquet")
    prepare.run(project)
    assert "Warning: left out 10 examples" in capsys.readouterr().out


def test_bad_data_leave_what_was_prepared(project):
    prepare.run(project)
    before = (project / "prepared" / "dataset.json").read_bytes()
    (project / "data" / "digits.parquet").write_bytes(b"")
    with pytest.raises(BadInput, match=r"digits\.parquet to be a sound parquet file"):
        prepare.run(project)
    assert (project / "prepared" / "dataset.json").read_bytes() == before


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: (root / "data" / "README").write_text("other words"),
        lambda root: (root / "data" / "more").write_text("a new file"),
        lambda root: (root / "params.yaml").write_text(PARAMS.replace("0.25", "0.2")),
    ],
    ids=["a file", "a new file", "a parameter"],
)
def test_data_edited_meanwhile_are_not_recorded(project, monkeypatch, edit):
    (project / "data" / "README").write_text("words")
    real = prepare.prepare

    def prepare_and_edit(*given, **named):
        dataset = real(*given, **named)
        edit(project)
        return dataset

    monkeypatch.setattr(prepare, "prepare", prepare_and_edit)
    with pytest.raises(TryAgain, match="prepare again"):
        prepare.run(project)
