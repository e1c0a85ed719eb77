"""The parts of a fleet that need no worker: refusals, keys, checkpoints and results in DVC's remote."""

import base64
import contextlib
import functools
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sample_projects
import yaml

from espalier import files
from espalier.errors import BadInput, TryAgain
from espalier.params import check
from espalier.params.sections import Sweep
from espalier.tasks.dvc_repo import locked_repo
from espalier.tasks.fleet.handover import idempotency_key, record_result
from espalier.tasks.fleet.leftovers import sweep_home
from espalier.tasks.fleet.lock_entries import describe, read_entries, record_entry, write_entries
from espalier.tasks.fleet.remote import Remote, naming_remote
from espalier.tasks.fleet.repository import Source, find_source
from espalier.tasks.fleet.request import Request, Result
from espalier.tasks.fleet.workspace import HOME, Home
from espalier.tasks.graph import load_stage, read_graph
from espalier.tasks.project import Project, TimeLimits
from espalier.tasks.services.object_store import find_rclone
from espalier.tasks.services.service import http_answers
from espalier.waiting import Reminder

PARAMS = {
    "teacher": {"model": "espalier:resnet"},
    "models": {"student": {"by": "quantize", "from": "teacher"}},
}


@pytest.fixture(scope="module")
def object_store(tmp_path_factory):
    """A real S3 server with the bucket `team`; its address."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "team").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen(
        [
            find_rclone(),
            "serve",
            "s3",
            "--addr",
            place,
            "--auth-key",
            "someone,secret",
            str(folder),
        ],
        env=os.environ | {"RCLONE_CONFIG": "/dev/null"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not answers(f"http://{place}"):
        assert time.monotonic() < deadline, "the S3 server did not start"
        time.sleep(0.1)
    yield f"http://{place}"
    server.terminate()
    server.wait(30)


def answers(address):
    with contextlib.suppress(OSError):
        return http_answers(address)
    return False


@pytest.fixture(params=["folder", "s3"])
def remote(request, root, tmp_path, monkeypatch):
    """The remote of a project: a folder beside it, or a bucket."""
    if request.param == "s3":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("object_store"))
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name, value in os.environ.items():
            if name.startswith("AWS_"):
                monkeypatch.setitem(sample_projects.ENVIRONMENT, name, value)
        url = f"s3://team/{tmp_path.name}"
        sample_projects.call(root, "dvc", "remote", "add", "--default", "shared", url)
        return opened(root)
    sample_projects.call(
        root, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote")
    )
    return opened(root)


def opened(root):
    with locked_repo(root, silent()) as repo:
        return Remote.of(repo)


def silent():
    return Reminder(lambda line: None)


def commit(root):
    sample_projects.call(root, "git", "add", "--all")
    sample_projects.call(root, "git", "commit", "--quiet", "--message", "state")
    return sample_projects.call(root, "git", "rev-parse", "HEAD").strip()


@pytest.mark.parametrize(
    ("fleet", "sentence"),
    [
        ({"gpu": ["studnet"]}, "found 'studnet', which fits none of teacher, student, prepare, evaluate."),
        ({"gpu": ["register"]}, "found 'register', which fits none"),
        ({"a": ["teacher"], "b": ["teach*"]}, "Expected `fleet` to give teacher one queue; found 'a' and 'b'."),
        ({"a b": ["teacher"]}, "found 'a b' in params.yaml."),
    ],
)  # fmt: skip
def test_section_fleet_is_refused_with_a_sentence(fleet, sentence):
    with pytest.raises(BadInput) as refused:
        check(PARAMS | {"fleet": fleet})
    assert sentence in str(refused.value)


def test_queues_follow_names_and_patterns():
    params = check(PARAMS | {"fleet": {"gpu": ["t*"], "bench": ["evaluate", "prepare"]}})
    assert params.queues == {"teacher": "gpu", "evaluate": "bench", "prepare": "bench"}
    assert check(PARAMS).queues == {}


def test_commit_and_folder_of_a_project_are_found(root):
    first = commit(root)
    source = find_source(root)
    assert (source.commit, source.folder) == (first, "")
    assert source.repository == str(root)  # without a remote its own folder
    inner = root / "inner"
    inner.mkdir()
    assert find_source(inner).folder == "inner"


def test_code_that_workers_cannot_clone_is_refused(root, tmp_path):
    with pytest.raises(BadInput, match="a git repository with a commit"):
        find_source(tmp_path)
    commit(root)
    (root / "params.yaml").write_text("changed: true\n")  # travels with the request
    find_source(root)
    (root / "stage.py").write_text("changed")
    with pytest.raises(BadInput, match=r"found changes in stage\.py: commit and push them"):
        find_source(root)
    commit(root)
    subprocess.run(["git", "init", "--bare", "-q", str(tmp_path / "origin")], check=True)
    sample_projects.call(root, "git", "remote", "add", "origin", str(tmp_path / "origin"))
    with pytest.raises(BadInput, match="found it here alone: all files: `git push`"):
        find_source(root)
    sample_projects.call(root, "git", "push", "--quiet", "origin", "HEAD:refs/heads/main")
    sample_projects.call(root, "git", "fetch", "--quiet", "origin")
    pushed = sample_projects.call(root, "git", "rev-parse", "HEAD").strip()
    assert find_source(root) == Source(str(tmp_path / "origin"), pushed, "")
    (root / "params.yaml").write_text("recorded: true\n")
    commit(root)  # as a nightly run does, which does not push
    assert find_source(root).commit == pushed
    (root / "stage.py").write_text("changed again")
    commit(root)
    with pytest.raises(BadInput, match=r"found it here alone: stage\.py: `git push`"):
        find_source(root)


@pytest.mark.parametrize(
    ("address", "handed"),
    [
        ("https://ann:TOKEN@host:8/a@b.git", "https://host:8/a@b.git"),
        ("HTTP://TOKEN@host/x.git", "HTTP://host/x.git"),
        ("ftps://ann:a@b@host/x", "ftps://host/x"),
        ("ssh://ann@host/x.git", "ssh://ann@host/x.git"),
        ("git@host:ann/x.git", "git@host:ann/x.git"),
    ],
)
def test_credentials_of_the_repository_are_not_handed_over(root, address, handed):
    head = commit(root)
    sample_projects.call(root, "git", "remote", "add", "origin", address)
    sample_projects.call(root, "git", "update-ref", "refs/remotes/origin/main", head)
    assert find_source(root).repository == handed


class Private(SimpleHTTPRequestHandler):
    """Serves a folder to clients with the login `ann:TOKEN`."""

    def do_GET(self):
        login = base64.b64encode(b"ann:TOKEN").decode()
        if self.headers["Authorization"] == f"Basic {login}":
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm='x'")
        self.end_headers()

    def log_message(self, *words):
        """Write nothing."""


def test_worker_clones_by_the_credentials_of_its_machine(root, tmp_path, monkeypatch):
    head = commit(root)
    sample_projects.call(tmp_path, "git", "clone", "--quiet", "--bare", str(root), "x.git")
    sample_projects.call(tmp_path / "x.git", "git", "update-server-info")
    monkeypatch.setenv("HOME", str(tmp_path))
    handler = functools.partial(Private, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/x.git"
        home, request = Home(tmp_path / "home"), Request("teacher", "a" * 64, "1", address, head)
        try:
            with pytest.raises(TryAgain, match="could not read Username"), home.workspace(request):
                pass
            (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password TOKEN\n")
            with home.workspace(request) as clone:
                assert (clone / "stage.py").is_file()
        finally:
            server.shutdown()


def test_remote_must_be_a_place_that_all_machines_reach(root):
    with pytest.raises(BadInput, match="found none"):
        opened(root)
    sample_projects.call(root, "dvc", "remote", "add", "--default", "inside", str(root / "store"))
    with pytest.raises(BadInput, match="inside the project"):
        opened(root)


def test_key_is_equal_without_the_files_and_changes_with_inputs(built_project, tmp_path):
    key, entries = describe(built_project, "model@student", silent())
    assert entries.keys() == {"teacher"}
    sample_projects.call(built_project, "rm", "-r", "models/teacher")
    assert describe(built_project, "model@student", silent())[0] == key
    assert describe(built_project, "model@other", silent())[0] != key
    sample_projects.write_params(built_project, other={"keep_macs": 0.1})
    assert describe(built_project, "model@student", silent())[0] == key
    sample_projects.write_params(built_project, student={"keep_macs": 0.1})
    assert describe(built_project, "model@student", silent())[0] != key


def test_recorded_entry_makes_a_stage_unchanged_without_its_files(built_project):
    entry = read_entries(built_project)["model@student"]
    sample_projects.write_params(built_project, student={"keep_macs": 0.3})
    changed = yaml.safe_load(yaml.safe_dump(entry))
    changed["params"]["params.yaml"]["models.student"]["keep_macs"] = 0.3
    changed["outs"][0]["md5"] = "0123456789abcdef0123456789abcdef.dir"
    record_entry(built_project, "model@student", changed, silent())
    assert read_entries(built_project)["model@student"] == changed
    assert not (built_project / "models" / "student").exists()  # it was another one
    stages = {one.name: one for one in read_graph(built_project, allow_missing=True).stages}
    assert not stages["model@student"].stale
    assert {one.name for one in read_graph(built_project).stale} >= {"model@student"}


def test_dvc_can_add_its_entry_to_those_that_a_worker_got(root):
    """Text with a colon, as the name of a network, must stay readable."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["models"]["student"]["model"] = "espalier:resnet"
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    sample_projects.call(root, "dvc", "repro", "--quiet", "model@student-p50")
    entries = read_entries(root)
    write_entries(root, {"model@student": entries["model@student"]})
    sample_projects.call(root, "dvc", "repro", "--quiet", "--single-item", "model@student-p50")
    sample_projects.call(root, "dvc", "status", "model@student-p50")
    assert read_entries(root)["model@student-p50"] == entries["model@student-p50"]


def test_result_is_found_by_its_key_alone(root, remote):
    sample_projects.call(root, "dvc", "repro", "--quiet", "model@student")
    with locked_repo(root, silent()) as repo:
        stage = repo.stage.load_one(str(root / "dvc.yaml"), "model@student")
        assert remote.find_entry(stage) is None
        remote.push_entry(stage)
        assert remote.find_entry(stage) is None  # its outputs are not there
    sample_projects.call(root, "dvc", "push", "--quiet", "model@student")
    with locked_repo(root, silent()) as repo:
        stage = repo.stage.load_one(str(root / "dvc.yaml"), "model@student")
        assert remote.find_entry(stage) == read_entries(root)["model@student"]


def test_projects_with_different_remotes_share_no_flow_run(root, tmp_path):
    request = Request("teacher", "a" * 64, "1", str(root), "0" * 40)
    places = [
        "url = s3://b/x",
        "url = s3://b/y",
        "url = s3://b/x\nendpointurl = http://e",
        f"url = {tmp_path}",
    ]
    keys = []
    for place in (*places, f"{places[0]}\nsecret_access_key = secret"):
        (root / ".dvc" / "config").write_text(
            f"[core]\nremote = shared\n['remote \"shared\"']\n{place}\n"
        )
        keys.append(idempotency_key(request, opened(root)))
    assert keys[-1] == keys[0]  # the same place, by other credentials
    assert len(set(keys)) == len(places)


def test_result_whose_outputs_are_not_in_the_remote_is_not_recorded(root, tmp_path):
    config = f"[core]\nremote = shared\n['remote \"shared\"']\nurl = {tmp_path / 'remote'}\n"
    (root / ".dvc" / "config").write_text(config)
    entry = {"outs": [{"path": "prepared", "md5": f"{7:032x}.dir"}]}
    result = Result(entry, "host", "device", executed=True)
    project = Project(root, (), TimeLimits())
    with pytest.raises(TryAgain, match=r"remote to have the outputs .*; found none"):
        record_result(result, load_stage(root, "prepare"), project, opened(root), print)
    assert read_entries(root) == {}


def test_checkpoints_travel_through_the_remote(root, remote, tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "student-key").mkdir(parents=True)
    (folder / "student-key" / "checkpoint-a.safetensors").write_bytes(b"first")
    assert remote.push_checkpoints(folder, "key") == 1
    assert remote.push_checkpoints(folder, "key") == 0
    (folder / "student-key" / "checkpoint-a.safetensors").unlink()
    (folder / "student-key" / "checkpoint-b.safetensors").write_bytes(b"second")
    assert remote.push_checkpoints(folder, "key") == 1

    other = tmp_path / "other"
    assert remote.fetch_checkpoints(other, "key") == 1
    assert [path.name for path in other.rglob("*.safetensors")] == ["checkpoint-b.safetensors"]
    assert remote.fetch_checkpoints(other, "key") == 0  # its own are newer
    assert remote.fetch_checkpoints(tmp_path / "none", "another key") == 0
    remote.remove_checkpoints("key")
    assert remote.fetch_checkpoints(tmp_path / "third", "key") == 0


def test_remote_that_is_away_is_worth_another_try():
    with (
        pytest.raises(
            TryAgain, match="Expected DVC's remote s3://bucket to answer; found: no route"
        ),
        naming_remote("s3://bucket"),
    ):
        raise OSError("no route")


def test_workspace_has_the_files_of_the_run_and_is_kept_after_a_failure(root, tmp_path):
    first = commit(root)
    (root / "stage.py").write_text("# a later commit\n")
    commit(root)
    request = Request(
        "teacher", "a" * 64, "1", str(root), first, files={"params.yaml": "seed: 7\n"}
    )
    home = Home(tmp_path / "a home, 'b' #1")
    with contextlib.suppress(TryAgain), home.workspace(request) as clone:
        assert (clone / "params.yaml").read_text() == "seed: 7\n"
        with locked_repo(clone, silent()) as repo:
            assert Path(repo.cache.local.path).parents[1] == home.path / "cache"
        assert "later" not in (clone / "stage.py").read_text()
        (clone / ".espalier" / "checkpoints").mkdir()
        raise TryAgain("lost")
    with home.workspace(request) as clone:
        assert (clone / ".espalier" / "checkpoints").is_dir()
    assert not clone.exists()
    unknown = home.workspace(Request("teacher", "b" * 64, "1", str(root), "0" * 40))
    with pytest.raises(BadInput, match="found no such commit: push it"), unknown:
        pass


@pytest.mark.parametrize(
    "left",
    [
        "stages/KEY-0/.git/HEAD",
        "stages/KEY-0/.git/index.lock",
        "repositories/NAME/refs/heads/BRANCH.lock",
    ],
)
def test_work_of_a_killed_git_is_repeated_and_checkpoints_stay(root, tmp_path, left):
    """Such a git leaves a clone without its last files, or locks."""
    (root / "former.py").touch()
    home, request = (
        Home(tmp_path / "home"),
        Request("teacher", "a" * 64, "1", str(root), commit(root)),
    )
    with contextlib.suppress(TryAgain), home.workspace(request) as clone:
        files.write(clone / ".espalier" / "checkpoints" / "half", "half")
        raise TryAgain("lost")
    (root / "former.py").rename(root / "later.py")
    request = replace(request, commit=commit(root))
    branch = sample_projects.call(root, "git", "branch", "--show-current").strip()
    mirror = next(path for path in (home.path / "repositories").iterdir() if path.is_dir())
    for name, value in (("KEY", "a" * 32), ("NAME", mirror.name), ("BRANCH", branch)):
        left = left.replace(name, value)
    (home.path / left).write_text("")
    with home.workspace(request) as again:
        assert again == clone
        assert (clone / ".espalier" / "checkpoints" / "half").read_text() == "half"
        assert (clone / "later.py").exists()
        assert not (clone / "former.py").exists()


@pytest.mark.parametrize(
    "odd",
    [{"files": {"../evil": "x"}}, {"files": {"..": "x"}}, {"folder": "../x"}, {"key": "../x"}],
)
def test_workspace_refuses_paths_that_lead_out_of_it(odd, root, tmp_path):
    request = replace(Request("teacher", "a" * 64, "1", str(root), commit(root)), **odd)
    with pytest.raises(BadInput, match="found '"), Home(tmp_path / "home").workspace(request):
        pass


def test_frozen_attempt_does_not_hold_up_the_next_one(root, tmp_path):
    request = Request("teacher", "a" * 64, "1", str(root), commit(root))
    home = Home(tmp_path / "home")
    with home.workspace(request) as first, home.workspace(request) as second:
        assert first != second


def test_home_loses_old_clones_of_failed_stages_and_old_outputs_of_teachers(root, tmp_path):
    home, sweep = Home(tmp_path / "home"), Sweep(unused_days=2, bank_bytes=1500)
    head = commit(root)
    first, second, own = (Request("teacher", one * 64, "1", str(root), head) for one in "abc")
    clones = []
    for request in (first, second):
        with contextlib.suppress(TryAgain), home.workspace(request) as clone:
            clones.append(clone)
            raise TryAgain("lost")
    for name in ("old", "new"):
        files.write(home.path / "bank" / name / "view", bytes(1000))
        time.sleep(0.01)
    now = time.time()
    with home.workspace(second) as busy, home.workspace(own) as clone:
        assert busy == clones[1]
        assert sweep_home(home, sweep, clone, now) == 0
        assert sweep_home(home, sweep, clone, now + 3 * 24 * 3600) > 0
        assert not clones[0].exists()  # nothing is made in it
        assert busy.exists()
        assert clone.exists()
        assert len(list((home.path / "bank").iterdir())) == 2  # the other stage may be reading
    with home.workspace(own) as clone:
        assert sweep_home(home, sweep, clone, now) == 1000
        assert [path.name for path in (home.path / "bank").iterdir()] == ["new"]
        assert clone.exists()
    assert sweep_home(home, sweep, now=now + 3 * 24 * 3600) == 1000
    with home.workspace(first) as clone:
        assert clone == clones[0]  # and the mirror and the lock are there


def test_user_without_a_home_is_named_the_variable(monkeypatch):
    for name in (HOME, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", raising_no_home)
    with pytest.raises(BadInput, match="set ESPALIER_WORKER_HOME to a folder"):
        Home.of_this_user()
    monkeypatch.setenv(HOME, "/somewhere")
    assert Home.of_this_user().path == Path("/somewhere")


def raising_no_home():
    raise RuntimeError("Could not determine home directory.")


ORPHAN = """
import logging, pathlib, sys
from prefect.logging.handlers import PrefectConsoleHandler
from espalier.tasks.fleet.orphaned import survive_the_worker
survive_the_worker()
log = logging.getLogger("orphan")
log.addHandler(PrefectConsoleHandler(stream=sys.stderr))
log.error("first")
sys.stdin.readline()
for line in range(3):
    log.error("a line for a worker that was killed")
print("and one without Prefect", flush=True)
pathlib.Path(sys.argv[1]).write_text("the stage is ended")
"""


def test_a_flow_run_whose_worker_was_killed_ends_its_stage(tmp_path):
    """The worker holds the other end of both pipes."""
    end = tmp_path / "end"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", ORPHAN, str(end)]
    run = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert b"first" in run.stderr.readline()
    run.stdout.close()
    run.stderr.close()
    run.stdin.write(b"\n")
    run.stdin.close()
    assert run.wait(60) == 0
    assert end.read_text() == "the stage is ended"
