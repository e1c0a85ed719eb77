"""Passwords and tokens of addresses, variables and settings are in no output and no written file."""

import os
import subprocess
import sys
import threading

import pytest
from registry.projects import Project

from espalier.settings.secrets import without_secrets
from espalier.tasks import processes

PASSWORD, TOKEN = "PLANTED-pass", "PLANTED-token"
CLOSED = "127.0.0.1:9"
TRACKING = f"http://ann:{PASSWORD}@{CLOSED}/base?token={TOKEN}"
OWN = ("params.yaml", ".dvc/config")  # files of the user, in which the secrets are


@pytest.fixture
def project(tmp_path):
    """A project with secrets in its webhook and in the address of DVC's remote."""
    project = Project(tmp_path / "project")
    params = project.root / "params.yaml"
    webhook = f"http://ann:{PASSWORD}@{CLOSED}/hook?token={TOKEN}"
    params.write_text(
        params.read_text().replace("name: digits}", f"name: digits, webhook: '{webhook}'}}")
    )
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=project.root, check=True
    )
    (project.root / ".dvc" / "config").write_text(
        "[core]\n    remote = far\n    no_scm = true\n"
        f"['remote \"far\"']\n    url = http://ann:{PASSWORD}@{CLOSED}/data?token={TOKEN}\n"
        f"    password = {PASSWORD}\n"
    )
    (project.root / "data.dvc").write_text(
        "outs: [{md5: 0123456789abcdef0123456789abcdef, size: 3, hash: md5, path: data}]\n"
    )
    return project.root


def run(root, *command, **variables):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=kept | limits | variables,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def assert_planted_nowhere(root, output=""):
    assert "PLANTED" not in output, output
    for path in root.rglob("*"):
        if path.is_file() and path.relative_to(root).as_posix() not in OWN:
            assert b"PLANTED" not in path.read_bytes(), path


@pytest.mark.parametrize("command", ["register", "models", "rollback"])
def test_a_store_that_is_away_is_named_without_its_secrets(project, command, tmp_path):
    outcome = tmp_path / "project" / "outcome.json"
    ended = run(
        project,
        "-m", "espalier", command,
        MLFLOW_TRACKING_URI=TRACKING,
        ESPALIER_OUTCOME=str(outcome),
    )  # fmt: skip
    assert (ended.returncode, outcome.is_file()) == (75, True), ended.stderr
    assert f"{CLOSED}/base" in ended.stderr
    assert_planted_nowhere(project, ended.stdout + ended.stderr)


def test_an_address_of_an_unknown_kind_shows_no_secret(project):
    for address in (f"ftp://ann:{PASSWORD}@{CLOSED}", f"//ann:{PASSWORD}@{CLOSED}?token={TOKEN}"):
        ended = run(project, "-m", "espalier", "register", MLFLOW_TRACKING_URI=address)
        assert ended.returncode != 0
        assert_planted_nowhere(project, ended.stdout + ended.stderr)


def test_versions_runs_and_receipt_in_a_local_store_hold_no_secret(project):
    ended = run(
        project, "-m", "espalier", "register",
        MLFLOW_TRACKING_TOKEN=TOKEN, MLFLOW_TRACKING_PASSWORD=PASSWORD,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert_planted_nowhere(project, ended.stdout + ended.stderr)


def test_the_output_of_commands_that_a_flow_starts_is_redacted(project):
    """DVC, git and stages: their lines go to the terminal, to Prefect's logs and into errors."""
    lines = []
    status = processes.run(
        [sys.executable, "-m", "dvc", "pull", "data.dvc", "-v"],
        folder=project,
        environment=os.environ | {"DVC_NO_ANALYTICS": "1"},
        on_line=lines.append,
        stop=threading.Event(),
    )
    output = "\n".join(lines)
    assert status != 0
    assert CLOSED in output
    assert_planted_nowhere(project, output)


def test_tracebacks_of_defects_are_redacted(tmp_path):
    program = (
        "from espalier import cli\n"
        "def run(arguments):\n"
        f"    raise RuntimeError('{TRACKING}')\n"
        "parser, commands = cli.build()\n"
        "commands.add_parser('fail').set_defaults(run=run)\n"
        "cli.main(['fail'], parser)\n"
    )
    (tmp_path / "program.py").write_text(program)
    outcome = tmp_path / "outcome"
    ended = run(tmp_path, "program.py", ESPALIER_OUTCOME=str(outcome), MLFLOW_TRACKING_URI=TRACKING)
    assert "RuntimeError: http://***@127.0.0.1:9/base?***" in ended.stderr
    assert "Traceback" in ended.stderr
    assert "PLANTED" not in ended.stderr + outcome.read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://ann:{PASSWORD}@host/x", "http://***@host/x"),
        (f"https://{TOKEN}@host/x.git is away", "https://***@host/x.git is away"),
        (f"ssh://ann:p@{PASSWORD}@host", "ssh://***@host"),
        (f"found 's3://bucket/a?X-Amz-Signature={TOKEN}'.", "found 's3://bucket/a?***'."),
        (
            f"exceeded with url: /api/runs?api_key={TOKEN}&page=2 (x)",
            "exceeded with url: /api/runs?api_key=***&page=2 (x)",
        ),
    ],
)
def test_secrets_are_found_in_sentences(text, shown):
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "models:/digits@champion is version 3 now; it was version 2",
        "sqlite:///mlflow/store/mlflow.db",
        '{"model": "student", "token_accuracy": 0.5, "key": 3}',
        "Expected `keep_macs` in (0, 1]; found 1.5. Is a@b?",
        "see https://example.org/page, or ask ann@example.org",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert without_secrets(text) == text


def test_values_of_variables_are_found_without_their_address(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "PLANTED-value")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:PLANTED%2Fpass@host?token=PLANTED-query")
    text = "header PLANTED-value, PLANTED/pass, PLANTED%2Fpass, PLANTED-query"
    assert without_secrets(text) == "header ***, ***, ***, ***"


@pytest.mark.parametrize(
    "name", ["PREFECT_API_AUTH_STRING", "MLFLOW_FLASK_SERVER_SECRET_KEY", "PGPASSWORD"]
)
def test_passwords_of_servers_are_found_by_the_names_of_their_variables(monkeypatch, name):
    monkeypatch.setenv(name, "user:PLANTED-value")
    assert without_secrets("login user:PLANTED-value failed") == "login *** failed"
