"""Leftovers of killed processes: found by age and size, and removed while nothing is at work."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espalier.commands import doctor, init
from espalier.errors import BadInput
from espalier.params import read_params
from espalier.params.sections import Sweep
from espalier.stage_lock import hold_stage
from espalier.upkeep.sweep import find_leftovers, is_at_work, sweep

DRAFTS, UNUSED = 24 * 3600, 30 * 24 * 3600  # seconds, by default
KEY, NOW = "0" * 32, time.time()


@pytest.fixture
def root(tmp_path):
    """A project with leftovers that were changed an hour ago."""
    for path in (
        f"work/student.{KEY}/weights",
        f"outcomes/{KEY}.json",
        f"checkpoints/student-{KEY}/fit/checkpoint-x.safetensors",
        f"checkpoints/gone-{KEY}/fit/checkpoint-x.safetensors",
        f"checkpoints/student-{KEY}/fit/.checkpoint-y.safetensors.{KEY}",
        "bank/abc/view-0000.safetensors",
        "bank/def/view-0000.safetensors",
        "locks/student.lock",
        "slots/cpu-0",
    ):
        file = tmp_path / ".espalier" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1000))
    model = tmp_path / "models" / "student"
    model.mkdir(parents=True)
    (model / ".gitignore").touch()
    (model / f".metrics.json.{KEY}").touch()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.utime(path, (NOW - 3600, NOW - 3600))
    return tmp_path


def stale(root, after, **bounds):
    found = find_leftovers(root, ["teacher", "student"], Sweep(**bounds), NOW + after)
    return sorted(str(one.path.relative_to(root)).replace(KEY, "KEY") for one in found)


def test_young_leftovers_can_belong_to_a_process(root):
    assert stale(root, 0) == []


def test_drafts_and_checkpoints_of_no_entry_are_stale_after_a_day(root):
    assert stale(root, DRAFTS) == [
        ".espalier/checkpoints/gone-KEY",
        ".espalier/checkpoints/student-KEY/fit/.checkpoint-y.safetensors.KEY",
        ".espalier/outcomes/KEY.json",
        ".espalier/work/student.KEY",
        "models/student/.metrics.json.KEY",
    ]


def test_checkpoints_and_outputs_of_teachers_are_stale_after_a_month(root):
    late = set(stale(root, UNUSED)) - set(stale(root, DRAFTS))
    assert late == {
        f".espalier/{one}" for one in ("checkpoints/student-KEY", "bank/abc", "bank/def")
    }


def test_the_oldest_outputs_of_teachers_go_above_the_bound(root):
    os.utime(root / ".espalier" / "bank" / "abc", (NOW, NOW))
    assert stale(root, 0, bank_bytes=1500) == [".espalier/bank/def"]
    assert stale(root, 0, bank_bytes=2000) == []
    assert stale(root, 0, bank_bytes=0) == [".espalier/bank/abc", ".espalier/bank/def"]


def test_the_ages_are_parameters(root):
    hour, day = 3600, 24 * 3600
    assert stale(root, hour, drafts_hours=3, unused_days=2) == []
    assert stale(root, 3 * hour, drafts_hours=3, unused_days=2) == stale(root, DRAFTS)
    assert stale(root, 2 * day, drafts_hours=3, unused_days=2) == stale(root, UNUSED)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("{drafts_hours: 0.5}", "sweep.drafts_hours"),
        ("{unused_days: 0}", "sweep.unused_days"),
        ("{bank_bytes: -1}", "sweep.bank_bytes"),
        ("{bank: 3}", "bank"),
    ],
)
def test_bounds_that_are_not_valid_are_named(tmp_path, given, found):
    (tmp_path / "params.yaml").write_text(f"teacher: {{model: 'espalier:mlp'}}\nsweep: {given}\n")
    with pytest.raises(BadInput, match=found):
        read_params(tmp_path)


def test_a_folder_is_as_old_as_the_newest_file_in_it(root):
    draft = root / ".espalier" / "work" / f"student.{KEY}" / "weights"
    os.utime(draft, (NOW + DRAFTS, NOW + DRAFTS))
    assert ".espalier/work/student.KEY" not in stale(root, DRAFTS)


@pytest.mark.parametrize("gone", [f"student.{KEY}", "abc", "student"])
@pytest.mark.parametrize(("owner", "call"), [(os, "scandir"), (Path, "lstat")])
def test_the_others_are_found_while_one_is_renamed(root, monkeypatch, gone, owner, call):
    """The draft, the folder of the bank or the model goes between two calls of the system."""
    original, before = getattr(owner, call), stale(root, UNUSED)

    def rename_first(path, *rest):
        if Path(path).name == gone and Path(path).is_dir():
            Path(path).rename(root / "renamed")
        return original(path, *rest)

    monkeypatch.setattr(owner, call, rename_first)
    found = stale(root, UNUSED)
    assert (root / "renamed").exists()
    name = f"/{gone}".replace(KEY, "KEY")
    assert {one for one in before if name not in one} <= set(found) <= set(before)


def test_nothing_is_removed_while_a_process_is_at_work(root):
    leftovers = find_leftovers(root, ["student"], Sweep(), NOW + UNUSED)
    assert len(leftovers) == 7
    code = (
        "import sys, time; from pathlib import Path; from espalier.stage_lock import hold_stage\n"
        "with hold_stage(Path(sys.argv[1]), 'student', print):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert is_at_work(root)
        assert sweep(leftovers, root) == 0
        assert all(one.path.exists() for one in leftovers)
        holder.kill()
    assert not is_at_work(root)
    assert sweep(leftovers, root) == 7000
    assert not any(one.path.exists() for one in leftovers)
    assert (root / "models" / "student" / ".gitignore").exists()


def test_a_stage_lock_names_its_holder_while_it_is_held(root):
    record = root / ".espalier" / "locks" / "student.json"
    with hold_stage(root, "student", pytest.fail):
        assert f'"pid": {os.getpid()}' in record.read_text()
    assert not record.exists()


def test_the_doctor_lists_what_is_stale_and_mends_it_on_request(tmp_path, capsys):
    init.run(tmp_path, "folder")
    draft = tmp_path / ".espalier" / "work" / f"student.{KEY}"
    draft.mkdir(parents=True)
    os.utime(draft, (NOW - 2 * DRAFTS, NOW - 2 * DRAFTS))
    params = tmp_path / "params.yaml"
    text = params.read_text()
    params.write_text(text + "\nsweep: {drafts_hours: 72}\n")
    doctor.run(tmp_path)
    assert "draft" not in capsys.readouterr().out
    params.write_text(text)
    doctor.run(tmp_path)
    assert "draft of a process that has ended" in capsys.readouterr().out
    assert draft.exists()
    doctor.run(tmp_path, mend=True)
    assert "swept" in capsys.readouterr().out
    assert not draft.exists()
