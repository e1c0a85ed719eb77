"""Transfers that are refused: of models that did not pass their gates, or may be worse than the target's champion."""

import json
import shutil

import numpy as np
import onnx
import pytest
from commands.transfers import Side, allow, promote_at_home
from mlflow import MlflowClient
from properties import assert_explains
from registry.projects import tiny

from espalier import files
from espalier.commands import promote
from espalier.errors import BadInput
from espalier.models import content_hash
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import Audit, RefusedError, State
from espalier.registry.promotion.audit_chain import sha256
from espalier.registry.versions import Model, add_version, open_registry


def test_a_model_worse_than_the_target_champion_is_refused(ours, at):
    promote.run(ours, into="prod.digits", at=at)
    promote_at_home(ours, "poor")
    there = Side(ours, "prod.digits", at)
    before = there.all()
    with pytest.raises(RefusedError) as refused:
        promote.run(ours, into="prod.digits", at=at)
    words = (
        "gate of prod.digits@champion",
        "found none",
        "poor: champion_drop",
        "stays at version 1",
    )
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert there.all() == before
    allow(ours, "poor", 1.0)
    (move,) = promote.run(ours, into="prod.digits", at=at)
    assert (there.entry("champion"), there.entry("previous"), move.former) == ("poor", "good", "1")


def by_hand(ours):
    Side(ours, "dev.digits").client.set_registered_model_alias("dev.digits", "champion", "2")


def by_hand_to_where_another_alias_went(ours):
    side = Side(ours, "dev.digits")
    audit, run = Audit(side.client, side.name), side.moves()[0].run
    content = side.versions()["2"].tags["espalier.content"]
    audit.close_move(audit.open_move(run, alias="small", to="2", content=content), State.DONE)
    by_hand(ours)


def nobody(ours):
    Side(ours, "dev.digits").client.delete_registered_model_alias("dev.digits", "champion")


def unfinished(ours):
    """A crash before the line was closed, and so before it was written to the file."""
    client = Side(ours, "dev.digits").client
    client.set_model_version_tag("dev.digits.audit", "1", "espalier.state", "open")
    client.delete_model_version_tag("dev.digits.audit", "1", "espalier.seal")
    (ours / "mlflow" / "audit" / "dev.digits.jsonl").unlink()


def forged(ours):
    """A line of the store with another version, by a report that fits it."""
    side = Side(ours, "dev.digits")
    content = side.versions()["2"].tags["espalier.content"]
    text = gates(ours).read_text().replace(content_hash(ours / "models" / "good"), content)
    gates(ours).write_text(text)
    for key, value in {"to": "2", "content": content, "report": sha256(text)}.items():
        side.client.set_model_version_tag("dev.digits.audit", "1", f"espalier.{key}", value)
    by_hand(ours)


def without_its_lines(ours):
    """A store that lost its audit, so that the file alone has the move."""
    Side(ours, "dev.digits").client.delete_registered_model("dev.digits.audit")


def gates(ours):
    side = Side(ours, "dev.digits")
    uri = side.client.get_run(side.moves()[0].run).info.artifact_uri
    return ours / uri / "gates.json"


def no_report(ours):
    gates(ours).unlink()


def report_of_another(ours):
    gates(ours).write_text(
        gates(ours).read_text().replace(content_hash(ours / "models" / "good"), "0" * 64)
    )


def report_of_a_refusal(ours):
    report = json.loads(gates(ours).read_text())
    report["candidates"]["good"]["passed"] = False
    gates(ours).write_text(json.dumps(report))


def report_of_another_alias(ours):
    report = json.loads(gates(ours).read_text())
    gates(ours).write_text(json.dumps(report | {"alias": "small"}))


def report_that_is_none(ours):
    gates(ours).write_text("[]")


def damaged(ours):
    path = Side(ours, "dev.digits").files_of("3") / "model.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def exchanged(ours):
    """A version whose files and tag are another model's, intact, since it was promoted."""
    side = Side(ours, "dev.digits")
    shutil.rmtree(side.files_of("3"))
    shutil.copytree(side.files_of("2"), side.files_of("3"))
    tag = side.versions()["2"].tags["espalier.content"]
    side.client.set_model_version_tag("dev.digits", "3", "espalier.content", tag)


def no_data(ours):
    shutil.rmtree(ours / "prepared")


def other_data(ours):
    path = ours / "prepared" / "dataset.json"
    files.write_json(path, files.read_json(path) | {"seed": 1})


WRONG = {
    nobody: ("dev.digits@champion", "espalier promote"),
    by_hand: ("finished move", "the last one went to version 3"),
    by_hand_to_where_another_alias_went: ("finished move", "the last one went to version 3"),
    unfinished: ("finished move", "not finished", "`espalier promote` completes it"),
    forged: ("of line 1 to be the same", "was altered", "espalier restore"),
    without_its_lines: ("to hold the 1 moves", "espalier register"),
    no_report: ("gates.json", "to hold"),
    report_of_another: ("gates.json", "passed"),
    report_of_a_refusal: ("gates.json", "passed"),
    report_of_another_alias: ("gates.json", "champion"),
    report_that_is_none: ("gates.json", "gate report"),
    damaged: ("model.onnx", "SHA-256"),
    exchanged: ("promoted",),
    no_data: ("prepared/", "none", "espalier prepare"),
    other_data: ("prepared/", "gates"),
}


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_a_model_without_passed_gates_is_not_transferred(ours, spoil):
    spoil(ours)
    with pytest.raises(BadInput) as refused:
        promote.run(ours, into="prod.digits")
    assert_explains(refused.value, *WRONG[spoil])
    there = Side(ours, "prod.digits")
    assert (there.versions(), there.aliases(), there.moves()) == ({}, {}, [])


def test_files_that_do_not_arrive_as_they_left_bear_no_alias(
    ours, elsewhere, tmp_path, monkeypatch
):
    at = elsewhere
    real = MlflowClient.log_model_artifacts

    def spoiling(self, logged, folder):
        real(self, logged, folder)
        path = tmp_path / self.get_logged_model(logged).artifact_location / "model.onnx"
        path.write_bytes(path.read_bytes()[:-1] + b"x")

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", spoiling)
    with pytest.raises(BadInput) as refused:
        promote.run(ours, into="prod.digits", at=at)
    assert_explains(refused.value, "model.onnx")
    there = Side(ours, "prod.digits", at)
    assert (there.aliases(), there.moves()) == ({}, [])
    monkeypatch.setattr(MlflowClient, "log_model_artifacts", real)
    promote.run(ours, into="prod.digits", at=at)  # the spoilt version is not taken for a copy
    assert there.aliases() == {"champion": "2"}


def test_a_damaged_target_champion_is_refused(ours, at):
    promote.run(ours, into="prod.digits", at=at)
    promote_at_home(ours, "poor")
    there = Side(ours, "prod.digits", at)
    (there.files_of("1") / "weights.safetensors").unlink()
    with pytest.raises(BadInput) as refused:
        promote.run(ours, into="prod.digits", at=at)
    assert_explains(refused.value, "weights.safetensors")
    assert there.aliases() == {"champion": "1"}


def test_a_target_champion_with_another_input_shape_is_refused(ours, elsewhere, tmp_path):
    """A registered model can be that of another task: what cannot be compared does not pass."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    weights = np.zeros((16, 10), np.float32)
    onnx.save(tiny(weights, sides=(4, 4)), folder / "model.onnx")
    for name in ("architecture.json", "weights.safetensors"):
        (folder / name).write_text("{}")
    files.seal(folder)
    store = find_store(folder, elsewhere)
    with connect(store) as client:
        registry = open_registry(client, store, "prod.digits")
        held = add_version(
            registry, Model("theirs", folder, files.verify(folder), None, "train"), {}
        )
        client.set_registered_model_alias("prod.digits", "champion", held.version)
    with pytest.raises(BadInput) as refused:
        promote.run(ours, into="prod.digits", at=elsewhere)
    assert_explains(refused.value, "(1, 8, 8)", "(1, 4, 4)")
    assert Side(ours, "prod.digits", elsewhere).aliases() == {"champion": "1"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"into": "dev.digits"}, ("--into", "dev.digits")),
        ({"into": "prod/digits"}, ("'/'",)),
        ({"into": "prod:digits"}, ("':'",)),
        ({"into": "prod.digits.audit"}, (".audit",)),
        ({"into": "prod.digits", "alias": "small"}, ("small", "champion")),
        ({"into": "prod.digits", "at": "elsewhere"}, ("--at", "elsewhere")),
        ({"into": "prod.digits", "at": ""}, ("--at",)),
        ({"at": "sqlite:///elsewhere/mlflow.db"}, ("--into",)),
    ],
)
def test_an_impossible_transfer_is_refused_before_the_store_is_opened(ours, given, words):
    with pytest.raises(BadInput) as refused:
        promote.run(ours, **given)
    assert_explains(refused.value, *words)
    assert not (ours / "elsewhere").exists()
