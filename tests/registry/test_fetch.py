"""The files of a version are verified when it is fetched: the store itself accepts anything."""

import errno
import shutil

import mlflow
import pytest
from mlflow import MlflowClient
from properties import assert_explains
from registry.servers import serving

from espalier import models
from espalier.errors import BadInput, TryAgain
from espalier.registry import register
from espalier.registry.connection.store import connect, find_store
from espalier.registry.versions import Registry, fetch


@pytest.fixture
def registered(project):
    register(project.root, project.params)
    return project


def fetched(project, version, target):
    store = find_store(project.root)
    with connect(store) as client:
        return fetch(Registry(client, store, "digits"), version, target)


def stored(project, version):
    client = MlflowClient(find_store(project.root).uri)
    logged = client.get_model_version("digits", version).source.removeprefix("models:/")
    return project.root / client.get_logged_model(logged).artifact_location


def test_it_is_the_model_folder_and_the_hash_is_its_own(registered, tmp_path):
    content = fetched(registered, "2", tmp_path / "here")
    assert content == models.content_hash(registered.root / "models" / "student")
    assert content == models.content_hash(tmp_path / "here")


def test_a_version_that_others_have_loaded_is_whole(registered, tmp_path, monkeypatch):
    """MLflow writes a file into the folder of a local store as it loads the model by its address."""
    monkeypatch.chdir(registered.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find_store(registered.root).uri)
    mlflow.pyfunc.load_model("models:/digits@student")
    assert (stored(registered, "2") / "registered_model_meta").is_file()
    content = fetched(registered, "2", tmp_path / "here")
    assert content == models.content_hash(registered.root / "models" / "student")


def test_a_file_that_was_altered_by_one_byte_is_named(registered, tmp_path):
    path = stored(registered, "2") / "model.onnx"
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(BadInput) as refused:
        fetched(registered, "2", tmp_path / "here")
    assert_explains(refused.value, "model.onnx", "SHA-256")


def test_files_that_are_gone_are_said_to_be(registered, tmp_path):
    shutil.rmtree(stored(registered, "2"))
    with pytest.raises(BadInput) as refused:
        fetched(registered, "2", tmp_path / "here")
    assert_explains(refused.value, "models:/digits/2")


def test_a_whole_folder_of_another_model_is_not_the_version(registered, tmp_path):
    folder = stored(registered, "2")
    shutil.rmtree(folder)
    shutil.copytree(stored(registered, "3"), folder)
    with pytest.raises(BadInput) as refused:
        fetched(registered, "2", tmp_path / "here")
    assert_explains(refused.value, "models:/digits/2", "tagged")


FOREIGN = {
    "a folder": "file:///{folder}",
    "a path": "{folder}",
    "a run": "runs:/{run}/model",
    "another store": "s3://bucket/model",
}


@pytest.mark.parametrize("source", FOREIGN.values(), ids=FOREIGN)
def test_files_outside_the_store_are_refused_before_they_are_copied(registered, tmp_path, source):
    folder, target = tmp_path / "large", tmp_path / "here"
    shutil.copytree(stored(registered, "2"), folder)
    store = find_store(registered.root)
    client = MlflowClient(store.uri)
    tags = client.get_model_version("digits", "2").tags
    run = client.get_model_version("digits", "2").run_id
    client.create_model_version("digits", source.format(folder=folder, run=run), run, tags=tags)
    with pytest.raises(BadInput) as refused:
        fetched(registered, "4", target)
    assert_explains(refused.value, "models:/digits/4", "source")
    assert not target.exists()


@pytest.mark.parametrize("link", ["folder", "file", "inside"])
def test_a_link_out_of_the_store_is_refused_before_it_is_followed(registered, tmp_path, link):
    folder, outside = stored(registered, "2"), tmp_path / "outside"
    shutil.copytree(folder, outside)
    if link == "folder":
        shutil.rmtree(folder)
        folder.symlink_to(outside)
    elif link == "file":
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").symlink_to(outside / "model.onnx")
    else:
        (folder / "more").symlink_to("model.onnx")
    if link == "inside":
        fetched(registered, "2", tmp_path / "here")
        return
    with pytest.raises(BadInput) as refused:
        fetched(registered, "2", tmp_path / "here")
    assert_explains(refused.value, "models:/digits/2", "store")
    assert not (tmp_path / "here").exists()
    assert [one.new for one in register(registered.root, registered.params)] == [False, True, False]


def failing_copy(monkeypatch, message):
    """A download that fails as a disk does."""

    def fail(*_given, **_more):
        raise OSError(message)

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", fail)


def test_a_full_disk_here_says_nothing_about_the_version(registered, tmp_path, monkeypatch):
    failing_copy(monkeypatch, "[Errno 28] No space left on device: '/tmp/x'")
    with pytest.raises(TryAgain, match=rf"Expected {tmp_path} to have room.*No space left"):
        fetched(registered, "2", tmp_path / "here")


def test_files_that_are_listed_and_cannot_be_read_may_come_back(registered, tmp_path, monkeypatch):
    failing_copy(monkeypatch, "[Errno 5] Input/output error")
    with pytest.raises(TryAgain, match=r"models:/digits/2 to be downloaded.*Input/output error"):
        fetched(registered, "2", tmp_path / "here")


def test_a_transfer_that_was_cut_may_succeed_the_next_time(registered, tmp_path, monkeypatch):
    import mlflow.artifacts

    real = mlflow.artifacts.download_artifacts

    def cut(**arguments):
        real(**arguments)
        path = tmp_path / "here" / "model.onnx"
        path.write_bytes(path.read_bytes()[:-1])

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", cut)
    with pytest.raises(TryAgain, match=r"bytes of model\.onnx.*the transfer was cut"):
        fetched(registered, "2", tmp_path / "here")


@pytest.mark.slow
def test_a_server_that_went_away_is_not_a_damaged_version(project, tmp_path, monkeypatch):
    """Files that a running server lacks are missing; nothing is known of the files of a server that is away."""
    store_folder = tmp_path / "server"
    store_folder.mkdir()
    with serving(store_folder) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        register(project.root, project.params)
        store = find_store(project.root)
        with connect(store) as client:
            registry = Registry(client, store, "digits")
            fetch(registry, "2", tmp_path / "first")
            for path in store_folder.rglob("model.onnx"):
                path.unlink()
            with pytest.raises(BadInput, match=r"model\.onnx.*no file"):
                fetch(registry, "2", tmp_path / "second")
            version = client.get_model_version("digits", "2")
    gone = store.uri
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(MlflowClient, "get_model_version", lambda *_: version)
    with pytest.raises(TryAgain, match=gone):
        fetched(project, "2", tmp_path / "third")


def test_a_full_folder_for_temporary_files_is_named(registered, tmp_path, monkeypatch):
    def full(*_given, **_more):
        raise OSError(errno.ENOSPC, "No space left on device", "/full/folder")

    with (
        pytest.raises(TryAgain, match="Expected /full/folder to have room for temporary files"),
        connect(find_store(registered.root)),
    ):
        full()
