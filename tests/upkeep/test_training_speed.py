import pytest

from espalier.commands import bench
from espalier.commands.table import COMMANDS
from espalier.errors import BadInput
from espalier.upkeep.training_speed import EMPTY, FULL, IN_MEMORY, PLAIN, DistillationSpeed


def test_each_way_trains_and_only_a_full_bank_is_kept(tmp_path):
    speed = DistillationSpeed(tmp_path, images=32)
    seconds = speed.seconds(rounds=1)
    assert list(seconds) == [PLAIN, IN_MEMORY, EMPTY, FULL]
    assert min(seconds.values()) > 0
    (kept,) = (tmp_path / "bank").glob("view-0000-*")
    written = kept.stat().st_mtime_ns
    speed.ways[FULL]()
    assert kept.stat().st_mtime_ns == written
    assert {path.name for path in tmp_path.iterdir()} <= {"bank", "teacher.onnx"}


def test_the_command_runs_outside_a_project():
    (command,) = (one for one in COMMANDS if one.name == "bench")
    assert command.anywhere


def test_the_command_needs_a_round():
    with pytest.raises(BadInput, match="`--rounds` of at least 1; found 0"):
        bench.run(rounds=0)
