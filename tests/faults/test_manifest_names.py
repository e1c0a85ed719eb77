"""Names in manifests from elsewhere lead nowhere outside their folder, and nothing unlisted is read."""

import json
import os
from pathlib import Path

import pytest
import torch
from properties import assert_explains
from safetensors.torch import save_file

from espalier import files
from espalier.errors import BadInput
from espalier.models import build, load, save
from espalier.models.folder import content_hash
from espalier.registry.versions.model import read_model

EVIL = [
    "../evil.txt",
    "../../evil.txt",
    "/tmp/evil.txt",
    "sub/evil.txt",
    "sub\\evil.txt",
    "..",
    ".",
    ".hidden",
    "",
    "nul\0.txt",
    "line\nbreak",
    "C:evil",
    "\udcff.txt",
    "x" * 300,
    "manifest.json",
]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A sealed model, in a project two folders deep."""
    folder = tmp_path / "models" / "student"
    save(build("espalier:mlp", classes=3, shape=(1, 4, 4)), folder)
    (folder / "model.onnx").write_bytes(b"deployed")
    files.seal(folder)
    return folder


def rewrite(folder: Path, change) -> None:
    """Change the entries of a manifest as an attacker would: it stays well-formed JSON."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["files"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_a_name_that_is_not_plain_is_refused_before_it_becomes_a_path(folder, name, monkeypatch):
    entry = {"sha256": files.sha256(folder / "model.onnx"), "bytes": 8}
    rewrite(folder, lambda entries: entries.update({name: entry}))
    opened: list[str] = []
    monkeypatch.setattr(files, "sha256", lambda path: opened.append(str(path)))
    for read in (files.verify, load, content_hash):
        with pytest.raises(BadInput) as caught:
            read(folder)
        assert_explains(caught.value, str(folder / "manifest.json"), "plain file names")
    assert opened == []


@pytest.mark.parametrize("content", ['{"files": {}}', "{}", "[]", '{"files": []}', "null", "3"])
def test_a_manifest_without_files_is_refused(folder, content):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(BadInput) as caught:
        files.verify(folder)
    assert_explains(caught.value, str(folder / "manifest.json"))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "a" * 64,
        {},
        {"sha256": "a" * 64},
        {"sha256": "a" * 63, "bytes": 1},
        {"sha256": 3, "bytes": 1},
        {"sha256": "a" * 64, "bytes": -1},
        {"sha256": "a" * 64, "bytes": True},
    ],
)
def test_an_entry_without_hash_and_size_is_refused(folder, entry):
    rewrite(folder, lambda entries: entries.update({"model.onnx": entry}))
    with pytest.raises(BadInput) as caught:
        files.verify(folder)
    assert_explains(caught.value, str(folder / "manifest.json"), "model.onnx")


@pytest.mark.parametrize("name", ["weights.safetensors", "architecture.json"])
def test_files_that_the_manifest_does_not_list_are_not_loaded(folder, name):
    rewrite(folder, lambda entries: entries.pop(name))
    with pytest.raises(BadInput) as caught:
        load(folder)
    assert_explains(caught.value, name)


def test_metrics_that_the_manifest_does_not_list_are_not_registered(folder):
    (folder / "metrics.json").write_text('{"accuracy": 1.0}')

    class Params:
        @staticmethod
        def entry(name):
            return type("Entry", (), {"parent": "teacher", "by": "prune"})

    model = read_model(folder.parents[1], Params, "student")
    assert model.path("metrics.json") is None
    assert model.path("model.onnx") == folder / "model.onnx"


def test_links_lead_nowhere_outside_but_to_a_cache_of_dvc(folder, tmp_path):
    content = (folder / "model.onnx").read_bytes()
    outside, inside = tmp_path / "outside.onnx", folder / "copy.onnx"
    cached = tmp_path / "cache" / "files" / "md5" / "ab" / ("0" * 30)
    for place in (outside, inside, cached):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    for target, allowed in ((inside, True), (cached, True), (outside, False)):
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").symlink_to(target)
        if allowed:
            assert "model.onnx" in files.verify(folder)
            continue
        with pytest.raises(BadInput) as caught:
            files.verify(folder)
        assert_explains(caught.value, str(folder / "model.onnx"), "link", str(outside))


@pytest.mark.parametrize("kind", ["fifo", "folder", "broken link"])
def test_a_listed_name_that_is_no_file_is_named(folder, kind):
    path = folder / "model.onnx"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(folder / "nothing")
    with pytest.raises(BadInput) as caught:
        files.verify(folder)
    assert_explains(caught.value, str(path), "no file")


def test_a_seal_lists_the_plain_files_of_the_folder_alone(tmp_path):
    names = ["good.txt", ".hidden", "with space.txt", os.fsdecode(b"caf\xe9.txt")]
    for name in names:
        (tmp_path / name).write_text("content")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.txt").write_text("content")
    files.seal(tmp_path)
    assert set(files.verify(tmp_path)) == {"good.txt"}


def test_weights_that_were_swapped_with_their_hash_left_out_are_not_loaded(folder):
    save_file({"evil": torch.zeros(1)}, folder / "weights.safetensors")
    rewrite(folder, lambda entries: entries.pop("weights.safetensors"))
    with pytest.raises(BadInput) as caught:
        load(folder)
    assert_explains(caught.value, "weights.safetensors")
