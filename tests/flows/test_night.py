"""A night of a team: code and data are fetched, results are committed, and a failure is reported."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import sample_projects
import yaml
from sample_projects import call

from espalier.errors import BadInput
from espalier.flows.compress import compress
from espalier.tasks.project import TimeLimits

LIMITS = TimeLimits(delay=0.05, grace=5.0)
pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(autouse=True)
def author(monkeypatch):
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "A")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@example.org")


@pytest.fixture
def clones(root, tmp_path):
    """The project with an origin and a remote of data, and a colleague's clone of it."""
    origin, remote, clone = tmp_path / "origin.git", tmp_path / "remote", tmp_path / "clone"
    call(root, "dvc", "remote", "add", "--default", "shared", str(remote))
    call(root, "git", "add", ".")
    call(root, "git", "commit", "--quiet", "-m", "start")
    call(root, "dvc", "push", "--quiet")
    call(root, "git", "init", "--quiet", "--bare", str(origin))
    call(root, "git", "remote", "add", "origin", str(origin))
    call(root, "git", "push", "--quiet", "--set-upstream", "origin", "HEAD")
    call(tmp_path, "git", "clone", "--quiet", str(origin), str(clone))
    call(clone, "dvc", "pull", "--quiet", "data.dvc")
    return root, clone


def night(root, **arguments):
    return compress(str(root), limits=LIMITS, return_state=True, **arguments)


def with_address(root, address):
    content = yaml.safe_load((root / "params.yaml").read_text())
    content["registry"] = {"name": "sample", "webhook": address}
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture
def received():
    """A server that keeps the messages that it gets, and its address."""
    messages = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            messages.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            del arguments

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield messages, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_the_data_of_a_colleague_are_fetched_and_the_results_committed(clones):
    root, clone = clones
    (clone / "data" / "content").write_text("new data\n")
    call(clone, "dvc", "add", "--quiet", "data")
    call(clone, "dvc", "push", "--quiet")
    call(clone, "git", "commit", "--quiet", "-am", "data: add examples")
    call(clone, "git", "push", "--quiet")
    (root / "notes.txt").write_text("not to be committed")
    state = night(root, fetch_first=True, commit_after=True)
    assert state.is_completed(), state.message
    assert (root / "data" / "content").read_text() == "new data\n"
    changed = call(root, "git", "show", "--stat", "--format=%s", "HEAD")
    assert changed.startswith("Record data and results of a run")
    assert "dvc.lock" in changed
    assert "notes.txt" not in changed
    before = call(root, "git", "rev-parse", "HEAD")
    assert night(root, fetch_first=True, commit_after=True).is_completed()
    assert call(root, "git", "rev-parse", "HEAD") == before  # nothing new: no commit


def test_a_branch_that_went_its_own_way_is_one_sentence_and_nothing_runs(clones):
    root, clone = clones
    for folder in (root, clone):
        (folder / "file.txt").write_text(folder.name)
        call(folder, "git", "add", "file.txt")
        call(folder, "git", "commit", "--quiet", "-m", folder.name)
    call(clone, "git", "push", "--quiet")
    state = night(root, fetch_first=True)
    assert state.is_failed()
    assert isinstance(state.result(raise_on_failure=False), BadInput)
    assert "`git pull --ff-only --quiet` to succeed" in state.message
    assert sample_projects.events(root) == []


@pytest.mark.slow
def test_without_an_upstream_only_data_are_fetched(root):
    state = night(root, fetch_first=True)
    assert state.is_completed(), state.message


def test_a_failed_run_is_reported_to_the_address(root, received):
    messages, address = received
    with_address(root, address)
    sample_projects.behave(root, "teacher", "import sys; sys.exit(2)")
    assert night(root).is_failed()
    (message,) = messages
    assert (message["model"], message["state"]) == ("sample", "failed")
    assert "teacher" in message["message"]


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_a_warning(root):
    with_address(root, "http://127.0.0.1:9/")
    sample_projects.behave(root, "teacher", "import sys; sys.exit(2)")
    with pytest.warns(UserWarning, match="the failure of a run of sample"):
        assert night(root).is_failed()
