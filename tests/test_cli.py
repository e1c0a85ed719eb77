import errno
import json
import subprocess
import sys
import warnings

import pytest
import torch

from espalier import cli
from espalier.errors import BadInput, Notice, Stopped, TryAgain


@pytest.fixture
def outcome(tmp_path, monkeypatch):
    """Where the command is to tell how it ended."""
    path = tmp_path / "outcome.json"
    monkeypatch.setenv("ESPALIER_OUTCOME", str(path))
    (tmp_path / "params.yaml").write_text('teacher: {model: "espalier:resnet"}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    for name in cli._ENVIRONMENT:
        monkeypatch.setenv(name, "kept")
    return path


@pytest.fixture
def ending(monkeypatch):
    """Runs `espalier make` with a step that raises an error."""

    def run(error=None):
        def step(root, name):
            if error:
                raise error

        monkeypatch.setattr("espalier.commands.make.run", step)
        with pytest.raises(SystemExit) as caught:
            cli.main(["make", "teacher"])
        return caught.value.code

    return run


@pytest.mark.parametrize(
    ("module", "function"), [("espalier.cli", "main"), ("espalier.flows.cli", "run_command")]
)
def test_help_imports_nothing_heavy(module, function):
    program = (
        "import sys\n"
        f"from {module} import {function}\n"
        "sys.argv = ['espalier', '--help']\n"
        "try:\n"
        f"    {function}()\n"
        "except SystemExit as ended:\n"
        "    heavy = {'torch', 'pandas', 'mlflow', 'prefect', 'dvc', 'onnxruntime', 'pydantic', 'numpy'}\n"
        "    print(ended.code, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "usage: espalier" in done.stdout


def test_every_command_of_the_design_is_there_with_a_sentence_of_help(capsys):
    for command in ("prepare", "make", "evaluate", "register", "data", "show", "doctor"):
        with pytest.raises(SystemExit) as caught:
            cli.build()[0].parse_args([command, "--help"])
        assert caught.value.code == 0
        assert f"usage: espalier {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("Expected `a` to be b; found c."), 2),
        (TryAgain("Expected the server to answer; found nothing."), 75),
        (Stopped("Stopped as asked."), 143),
    ],
)
def test_our_own_errors_end_with_their_status_and_their_sentence_alone(
    outcome, ending, capsys, error, status
):
    assert ending(error) == status
    assert capsys.readouterr().err == f"espalier: {error}\n"
    assert json.loads(outcome.read_text()) == {
        "status": status,
        "message": str(error),
        "defect": False,
    }


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (torch.AcceleratorError("unspecified launch failure"), 75, ["device", "launch failure"]),
        (
            OSError(errno.ENOSPC, "No space left on device", "/models/a"),
            75,
            ["/models/a", "No space left"],
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/models/a"), 75, ["/models/a", "quota"]),
        (OSError(errno.EIO, "Input/output error", "/models/a"), 75, ["/models/a", "Input/output"]),
        (OSError(errno.EROFS, "Read-only file system", "/models/a"), 2, ["/models/a", "Read-only"]),
        (
            PermissionError(errno.EACCES, "Permission denied", "/models/a"),
            2,
            ["/models/a", "Permission denied"],
        ),
        (KeyboardInterrupt(), 130, ["Interrupted"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_failures_outside_the_project_have_a_status_of_their_own_and_name_the_path(
    outcome, ending, capsys, error, status, words
):
    assert ending(error) == status
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words)
    content = json.loads(outcome.read_text())
    assert content["status"] == status
    assert f"espalier: {content['message']}\n" == said


def test_memory_that_no_machine_has_is_not_worth_a_retry(outcome, ending, capsys):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert ending(caught.value) == 2
    assert "lower `batch_size`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ValueError("a defect"), OSError(errno.ENOEXEC, "Exec format error"), KeyError("x")]
)
def test_a_defect_is_raised_with_its_traceback(outcome, monkeypatch, error):
    def step(root, name):
        raise error

    monkeypatch.setattr("espalier.commands.make.run", step)
    with pytest.raises(type(error)) as caught:
        cli.main(["make", "teacher"])
    assert caught.value is error
    assert json.loads(outcome.read_text()) == {
        "status": 1,
        "message": f"{type(error).__name__}: {error}",
        "defect": True,
    }


def test_a_defect_of_a_process_ends_it_with_1(outcome):
    program = (
        "import espalier.cli as cli\n"
        "def run(step, **given): raise ValueError('a defect')\n"
        "cli._run = run\n"
        "cli.main(['show'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ValueError: a defect\n")
    assert json.loads(outcome.read_text()) == {
        "status": 1,
        "message": "ValueError: a defect",
        "defect": True,
    }


@pytest.mark.parametrize("error", [BadInput("Expected a; found b."), ZeroDivisionError("a defect")])
def test_one_of_several_processes_records_its_end_and_prints_nothing(
    tmp_path, monkeypatch, capsys, error
):
    def step(root, name):
        raise error

    monkeypatch.setenv("ESPALIER_WORKERS", str(tmp_path))
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr("espalier.commands.make.run", step)
    with pytest.raises(SystemExit):
        cli.main(["make", "teacher"])
    assert capsys.readouterr().err == ""
    found = json.loads((tmp_path / "3.json").read_text())
    assert str(error) in found["message"]
    assert found["defect"] == ("Traceback" in found.get("trace", ""))
    assert found["defect"] == isinstance(error, ZeroDivisionError)


def test_a_command_that_is_done_says_so(outcome, ending, capsys):
    assert ending() == 0
    assert capsys.readouterr().err == ""
    assert json.loads(outcome.read_text()) == {"status": 0, "message": "", "defect": False}


def test_the_outcome_is_printed_without_an_option(outcome, ending, monkeypatch):
    monkeypatch.delenv("ESPALIER_OUTCOME")
    assert ending(BadInput("A sentence.")) == 2
    assert not outcome.exists()


def test_a_command_works_from_a_folder_inside_the_project_and_says_so_outside(
    outcome, ending, tmp_path, monkeypatch
):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert ending() == 0
    (tmp_path / "params.yaml").unlink()
    assert ending() == 2
    assert "params.yaml" in json.loads(outcome.read_text())["message"]


def test_our_warnings_are_a_sentence_and_those_of_others_stay_theirs(outcome, monkeypatch, capsys):
    def step(root, name):
        warnings.simplefilter("always")  # pytest puts its own filters back
        warnings.warn("The target was missed by 3 %.", Notice, stacklevel=1)
        warnings.warn("old", UserWarning, stacklevel=1)

    monkeypatch.setattr("espalier.commands.make.run", step)
    monkeypatch.setattr(
        warnings, "showwarning", lambda message, *more: sys.stderr.write(f"theirs: {message}\n")
    )
    with pytest.raises(SystemExit):
        cli.main(["make", "teacher"])
    assert (
        capsys.readouterr().err == "espalier: warning: The target was missed by 3 %.\ntheirs: old\n"
    )


def test_words_that_are_no_command_end_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["shrink"])
    assert caught.value.code == 2
    assert "prepare" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completions_name_the_commands_and_their_choices(shell):
    done = subprocess.run(
        [sys.executable, "-m", "espalier", "--print-completion", shell],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "quantize" in done.stdout
    assert "spoken-digits" in done.stdout
