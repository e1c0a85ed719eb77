"""Resources that run out: every command ends in one sentence, the data are intact, and a second try works."""

import copy
import errno
import re
import resource
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sample_projects
import torch
from small_disks import bound, filled, mounted, permissions_enforced, read_only

from espalier import cli, files
from espalier.commands import doctor
from espalier.data.source import content_hash
from espalier.errors import BadInput, TryAgain
from espalier.making.room import checkpoint_bytes
from espalier.models.build import build
from espalier.models.folder import content_hash as model_hash
from espalier.outcomes import OUTCOME
from espalier.space import size_of_files
from espalier.system_errors import as_sentence, naming, sentences
from espalier.tasks.graph import Stage
from espalier.tasks.outcome import OutcomeFile
from espalier.tasks.reproduce import attempt
from espalier.training.checkpoint import Checkpoints, flatten
from espalier.training.optimizers import optimizer
from espalier.training.recipe import Recipe

PREPARE = Stage("prepare", "python stage.py prepare prepared data")

TEACHER_ALONE = """\
training: {batch_size: 64, threads: 1, views: 3}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}, epochs: 1}
evaluation: {rounds: 3}
"""


LIMITED_COMMAND = """\
import resource
from pathlib import Path

from espalier import cli
from espalier.commands import make

pages = int(Path("/proc/self/statm").read_text().split()[0])
room = pages * resource.getpagesize() + 250 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
cli.main()
"""


@pytest.fixture
def ended(monkeypatch, capsys):
    """Runs a command of the library in this process; returns its status and its last line."""

    def run(project: Path, *words: str) -> tuple[int, str]:
        monkeypatch.chdir(project)
        with pytest.raises(SystemExit) as caught:
            cli.main(list(words))
        said = capsys.readouterr().err
        assert said.count("espalier: Expected") == (caught.value.code != 0)
        return caught.value.code, said.strip()

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, value in cli._ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return run


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "4m") as folder:
        yield folder


@pytest.fixture
def project(tiny, disk):
    """The tiny project with raw data, on a disk of its own."""
    shutil.copytree(tiny, disk / "project", ignore=shutil.ignore_patterns("locks", "work"))
    return disk / "project"


@pytest.fixture
def with_data(project, ended):
    assert ended(project, "data", "digits") == (0, "")
    return project


class TestFullDisk:
    """Another try helps, so that the status is 75, and the path is named."""

    def test_new_data(self, with_data, disk, ended):
        before = content_hash(with_data / "data")
        with filled(disk, free=10_000):
            status, said = ended(with_data, "data", "digits")
        assert status == 75
        assert f"{with_data / '.espalier' / 'work'} to be writable; found: No space left" in said
        assert content_hash(with_data / "data") == before
        assert ended(with_data, "data", "digits")[0] == 0

    def test_prepared_data(self, with_data, disk, ended):
        before = files.sha256(with_data / "prepared" / "dataset.json")
        with filled(disk, free=240_000):  # enough for images and splits, but not for the manifest
            status, said = ended(with_data, "prepare")
        assert status == 75
        assert "found: No space left on device: free space on its file system and" in said
        assert files.sha256(with_data / "prepared" / "dataset.json") == before
        assert list((with_data / ".espalier" / "work").iterdir()) == []
        assert ended(with_data, "prepare")[0] == 0

    def test_a_training_continues_as_if_nothing_had_been(
        self, project, tiny, disk, ended, monkeypatch
    ):
        """The disk is full after the first epoch, which is not repeated; the bits are the same."""
        shutil.rmtree(project / "models" / "teacher")
        write = Checkpoints.write
        with ExitStack() as stack:

            def write_and_fill(checkpoints, *state):
                write(checkpoints, *state)
                stack.enter_context(filled(disk, free=50_000))
                monkeypatch.setattr(Checkpoints, "write", write)

            monkeypatch.setattr(Checkpoints, "write", write_and_fill)
            status, said = ended(project, "make", "teacher")
        assert (status, "/checkpoints/" in said, "No space" in said) == (75, True, True)
        assert ended(project, "make", "teacher")[0] == 0
        assert model_hash(project / "models/teacher") == model_hash(tiny / "models/teacher")

    def test_the_reports(self, project, disk, ended):
        shutil.rmtree(project / "models")
        (project / "params.yaml").write_text(TEACHER_ALONE)
        assert ended(project, "make", "teacher")[0] == 0
        with filled(disk, free=20_000):
            status, said = ended(project, "evaluate")
        assert (status, f"{project}/.espalier/work to be writable" in said) == (75, True)

    def test_the_outcome_itself(self, project, disk, ended, monkeypatch):
        path = disk / "outcome.json"
        monkeypatch.setenv(OUTCOME, str(path))
        shutil.rmtree(project / "models" / "teacher")
        with filled(disk):
            status, said = ended(project, "make", "teacher")
        assert (status, "free space on its" in said) == (75, True), said
        assert OutcomeFile(path).read() is None


class TestEstimates:
    """Too little space is refused before the work, with the needed and the free bytes."""

    @pytest.mark.parametrize(
        ("words", "free", "content"),
        [
            (("data", "digits"), 200_000, "115.0 kB of free space .* for the decoded images"),
            (("prepare",), 180_000, "115.0 kB of free space .* for the prepared data"),
            (("make", "teacher"), 200_000, "kB of free space .* for checkpoints"),
            (("make", "student"), 20_000, "kB of free space .* for the outputs of the teachers"),
        ],
    )
    def test_a_refusal(self, with_data, disk, ended, words, free, content):
        if words[-1] == "teacher":
            shutil.rmtree(with_data / "models" / "teacher")
        with filled(disk, free=free):
            status, said = ended(with_data, *words)
        assert status == 75
        assert re.search(content, said)
        assert re.search(r"; found \d+\.\d kB: free space on its file system and try again\.", said)
        assert not list(with_data.rglob("checkpoint-*"))
        assert ended(with_data, *words)[0] == 0

    @pytest.mark.parametrize(
        "keys",
        [{}, {"momentum": 0.0}, {"optimizer": "adamw"}, {"ema": 0.9}, {"patience": 3}],
        ids=str,
    )
    def test_a_checkpoint_is_as_large_as_estimated(self, tmp_path, keys):
        """The header is not estimated."""
        recipe = Recipe(**keys)
        network = build("espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8})
        parts = {"network": network, "optimizer": optimizer(network, recipe)}
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        parts["optimizer"].step()
        further = {name: copy.deepcopy(network) for name in ("ema", "patience") if keys.get(name)}
        Checkpoints(tmp_path).write(flatten({**parts, **further}), {})
        found, expected = size_of_files(tmp_path), checkpoint_bytes(network, None, recipe)
        assert expected <= found <= expected + 20_000

    def test_a_small_disk_is_enough_for_digits(self, tiny, tmp_path, ended):
        with mounted(tmp_path / "disk", "1m") as disk:
            shutil.copy(tiny / "params.yaml", disk)
            for words in (("data", "digits"), ("prepare",), ("make", "teacher")):
                assert ended(disk, *words) == (0, "")


class TestOutcomeThatIsMissing:
    """The status that DVC prints, and the stage's sentence, say whether to try again."""

    @pytest.fixture
    def stage(self, root, request):
        from espalier.tasks.project import Project, TimeLimits

        code = "os.environ.pop('ESPALIER_OUTCOME')\n"
        sample_projects.behave(root, "prepare", code + request.param)
        return Project(root, (), TimeLimits(delay=0.05))

    @pytest.mark.parametrize(
        ("stage", "kind"),
        [
            ("print('espalier: Expected room; found none.')\nend(75, '')", TryAgain),
            ("print('espalier: Expected `a`; found `b`.')\nend(2, '')", BadInput),
        ],
        indirect=["stage"],
    )
    def test_its_kind(self, stage, kind):
        with pytest.raises(kind, match=r"^prepare: Expected .*; found .*\.$") as raised:
            attempt(PREPARE, stage, lambda _line: None)
        assert type(raised.value) is kind


@pytest.mark.parametrize("words", [("data", "digits"), ("prepare",), ("make", "student")])
def test_a_read_only_disk_is_not_worth_another_try(with_data, disk, ended, words):
    with read_only(disk):
        status, said = ended(with_data, *words)
    assert status == 2
    assert f"Expected {with_data}" in said
    assert "found: Read-only file system: mount its file system for writing." in said


@pytest.mark.parametrize("words", [("data", "digits"), ("prepare",), ("make", "student")])
def test_no_permission_is_not_worth_another_try(with_data, ended, words):
    (with_data / ".espalier" / "work").chmod(0o555)
    (with_data / ".espalier" / "checkpoints").chmod(0o555)
    with permissions_enforced():
        status, said = ended(with_data, *words)
    assert status == 2
    assert f"Expected {with_data / '.espalier'}" in said
    assert "found: Permission denied: give this user the permission." in said


@contextmanager
def limited(kind: int, amount: int) -> Iterator[None]:
    """Lower a limit of this process."""
    former = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, former)


class TestLimitsOfTheProcess:
    def test_open_files(self, with_data, ended):
        is_open = len(list(Path("/proc/self/fd").iterdir()))
        with limited(resource.RLIMIT_NOFILE, is_open):
            status, said = ended(with_data, "prepare")
        assert (status, "raise the limit on open files (`ulimit -n`)" in said) == (2, True)
        assert ended(with_data, "prepare")[0] == 0

    @pytest.mark.parametrize("words", [("data", "digits"), ("prepare",), ("make", "student")])
    def test_size_of_files(self, with_data, ended, words):
        with limited(resource.RLIMIT_FSIZE, 8192):
            status, said = ended(with_data, *words)
        assert (status, "raise the limit on file sizes (`ulimit -f`)" in said) == (2, True)
        assert ended(with_data, *words)[0] == 0

    def test_memory(self, tiny_copy):
        """A step of 1,222 images through wide layers takes twice the 250 MB that are left.

        Half of it in bfloat16, which a processor with AMX would choose. The process is a new one: what earlier
        tests have freed would be room for such a step.
        """
        project = tiny_copy("teacher")
        wide = '{model: "espalier:resnet", arguments: {depth: 8, width: 128}, batch_size: 1222'
        (project / "params.yaml").write_text(
            f"training: {{threads: 1, views: 3, precision: float32}}\nteacher: {wide}, epochs: 1}}\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", LIMITED_COMMAND, "make", "teacher"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "this process (`ulimit -v`) to have room for" in done.stderr
        assert "lower `batch_size` of the entry" in done.stderr

    def test_64_open_files_are_enough(self, with_data):
        command = f"ulimit -n 64 && exec {sys.executable} -m espalier make student"
        done = subprocess.run(
            ["bash", "-c", command], cwd=with_data, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestSentences:
    def test_a_device_that_fails_is_worth_another_try(self, tmp_path):
        """Linux answers a read of address 0 with EIO."""
        expected = rf"{tmp_path}.*Input/output error: check the device"
        with pytest.raises(TryAgain, match=expected), sentences(tmp_path):
            files.sha256(Path("/proc/self/mem"))

    def test_libraries_that_report_the_error_as_text(self, tmp_path):
        from safetensors.torch import save_file

        with (
            mounted(tmp_path / "disk", "16k") as disk,
            pytest.raises(Exception, match="No space left") as raised,
        ):
            save_file({"a": torch.zeros(16_384)}, disk / "a.safetensors")
        assert not isinstance(raised.value, OSError)
        found = as_sentence(raised.value, disk)
        assert isinstance(found, TryAgain)
        assert str(found).startswith(f"Expected {disk} to be writable; found: No space left")

    def test_a_cause_counts_and_its_path_is_named(self):
        error = RuntimeError("export failed")
        error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/a/b")
        assert str(as_sentence(error)).startswith("Expected /a/b to be writable")

    def test_temporary_files_are_named_by_their_folder(self):
        error = OSError(errno.ENOSPC, "No space left on device", "/scratch/tmpa1b2c3d4/model.onnx")
        expected = "Expected /scratch, which holds temporary files (TMPDIR), to be writable"
        assert str(as_sentence(error)).startswith(expected)

    def test_other_errors_are_left_alone(self):
        assert as_sentence(ValueError("a defect")) is None
        assert as_sentence(FileNotFoundError(errno.ENOENT, "No such file", "/a")) is None
        assert as_sentence(BadInput("Expected a; found: No space left on device.")) is None

    def test_a_draft_is_named_by_its_place(self, tmp_path):
        draft = tmp_path / "draft.0123"
        with pytest.raises(PermissionError) as raised, naming(tmp_path, draft):
            raise PermissionError(errno.EACCES, "Permission denied", str(draft / "a"))
        assert raised.value.filename == str(tmp_path)


class TestSeveralFileSystems:
    """Folders of a project that lie on different file systems: nothing can be renamed between them."""

    @pytest.fixture
    def bare(self, tmp_path):
        project = tmp_path / "project"
        project.mkdir()
        (project / "params.yaml").write_text(TEACHER_ALONE)
        return project

    @pytest.mark.parametrize("apart", ["models", ".espalier"])
    def test_every_stage_works(self, bare, ended, apart):
        with mounted(bare / apart, "4m"):
            for words in (("data", "digits"), ("prepare",), ("make", "teacher"), ("evaluate",)):
                assert ended(bare, *words) == (0, "")
            assert [path.name for path in (bare / "models").iterdir()] == ["teacher"]

    def test_folders_of_one_device_that_are_mounted_apart(self, project, disk, ended):
        with bound(disk / "elsewhere", project / "models"):
            (project / "params.yaml").write_text(TEACHER_ALONE)
            assert project.stat().st_dev == (project / "models").stat().st_dev
            assert ended(project, "make", "teacher") == (0, "")

    def test_a_mount_point_is_refused_before_work(self, bare, ended):
        assert ended(bare, "data", "digits") == (0, "")
        with mounted(bare / "prepared", "4m"):
            status, said = ended(bare, "prepare")
        assert (status, "to be a folder that can be replaced; found a mount" in said) == (2, True)


def test_doctor_shows_the_free_space_of_each_file_system(tmp_path):
    (tmp_path / "params.yaml").write_text(TEACHER_ALONE)
    with mounted(tmp_path / "models", "4m"):
        lines = doctor._disks(tmp_path)
    assert [line.split(" free at ")[1] for line in lines] == [str(tmp_path), f"{tmp_path}/models"]
    assert lines[1].startswith("4.2 MB free at ")
