"""The files of a version are verified when it is fetched: the store itself accepts anything."""

import shutil

import pytest
from mlflow import MlflowClient
from properties import assert_explains

from espalier import models
from espalier.errors import BadInput
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
