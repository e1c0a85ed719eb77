"""A store that was lost: the commands say how to get it back, and put no empty database in its place."""

import shutil
from pathlib import Path

import pytest
from commands.transfers import Side

from espalier import files
from espalier.commands import backup, doctor, models, promote, register, restore, rollback
from espalier.errors import BadInput, EspalierError

NOT_THERE = "sqlite:///nothere.db"


def lose(root):
    shutil.move(root / "mlflow" / "store", root.parent / "lost")


COMMANDS = {
    "promote": promote.run,
    "promote --into": lambda root: promote.run(root, into="prod.digits"),
    "rollback": rollback.run,
    "models": models.run,
    "register --check": lambda root: register.run(root, check=True),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_its_store_a_command_says_how_to_get_it_back_and_makes_none(ours, command):
    lose(ours)
    with pytest.raises(EspalierError) as refused:
        COMMANDS[command](ours)
    for words in ("no database there", "`espalier register`", "`espalier restore FILE`"):
        assert words in str(refused.value)
    assert databases(ours) == []


def databases(root):
    found = [path for path in root.rglob("*.db") if path.is_file()]
    return sorted(path.relative_to(root).as_posix() for path in found)


def test_a_backup_is_restored_after_a_promotion_that_found_no_store(ours, monkeypatch):
    monkeypatch.chdir(ours)
    backup.run(ours)
    (file,) = (ours / "backups").iterdir()
    before = Side(ours, "dev.digits").aliases()
    lose(ours)
    with pytest.raises(EspalierError):
        promote.run(ours)
    restore.run(ours, Path(file))
    assert Side(ours, "dev.digits").aliases() == before


def test_doctor_says_whether_the_registry_is_there_or_lost(ours, monkeypatch, capsys):
    def registry():
        doctor.run(ours)
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("registry")).split(maxsplit=1)[1]

    assert registry() == "there: sqlite:///mlflow/store/mlflow.db"
    lose(ours)
    assert registry().startswith("lost: no database sqlite:///mlflow/store/mlflow.db")
    shutil.rmtree(ours / "mlflow" / "audit")
    assert registry() == "not there yet"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    assert registry() == "on the server http://ann@127.0.0.1:9"


def test_a_refused_transfer_makes_no_database(ours):
    path = ours / "prepared" / "dataset.json"
    files.write_json(path, files.read_json(path) | {"seed": 1})
    with pytest.raises(BadInput, match="gates"):
        promote.run(ours, into="prod.digits", at=NOT_THERE)
    for command in (models.run, rollback.run):
        with pytest.raises(EspalierError, match="check the address"):
            command(ours, within="prod.digits", at=NOT_THERE)
    with pytest.raises(BadInput, match=r"no such file: check the name and the address"):
        restore.run(ours, within="prod.digits", at=NOT_THERE)
    assert databases(ours) == ["mlflow/store/mlflow.db"]


def test_a_transfer_makes_a_database_once_and_a_lost_one_is_restored_by_its_file(ours):
    promote.run(ours, into="prod.digits", at=NOT_THERE)
    (ours / "nothere.db").unlink()
    with pytest.raises(EspalierError, match=f"espalier restore --in NAME --at {NOT_THERE}"):
        promote.run(ours, into="prod.digits", at=NOT_THERE)
    assert databases(ours) == ["mlflow/store/mlflow.db"]
    restore.run(ours, within="prod.digits", at=NOT_THERE)
    assert Side(ours, "prod.digits", NOT_THERE).entry() == "good"
