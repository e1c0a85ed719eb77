import json
import os
import shutil

import mlflow
import numpy as np
import onnx
import pytest
from mlflow import MlflowClient
from onnx import TensorProto
from registry.projects import HISTORY, TIMES, tiny
from safetensors.numpy import load_file
from selection import mostly_slow

from espalier import files, models
from espalier.errors import BadInput
from espalier.registry import missing, register
from espalier.registry.connection.store import find_store

NAMES = ("teacher", "student", "student-p50")


def client_of(project):
    return MlflowClient(find_store(project.root).uri)


def versions_of(project):
    found = client_of(project).search_model_versions("name = 'digits'")
    return sorted((int(one.version), one.tags["espalier.entry"]) for one in found)


def aliases_of(project):
    return {
        name: str(version)
        for name, version in client_of(project).get_registered_model("digits").aliases.items()
    }


def runs_of(project):
    client = client_of(project)
    return client.search_runs([client.get_experiment_by_name("digits").experiment_id])


def test_every_model_is_a_version_with_the_entry_as_alias(project):
    reported = []
    done = register(project.root, project.params, reported.append)
    assert [one.entry for one in done] == list(NAMES)
    assert all(one.new for one in done)
    assert reported == list(done)
    assert versions_of(project) == [(1, "teacher"), (2, "student"), (3, "student-p50")]
    assert aliases_of(project) == {"teacher": "1", "student": "2", "student-p50": "3"}
    assert missing(project.root, project.params) == {}


def test_a_version_answers_as_the_deployed_file_does_and_has_a_signature_and_an_example(
    project, monkeypatch
):
    register(project.root, project.params)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find_store(project.root).uri)
    model = mlflow.pyfunc.load_model("models:/digits@student")
    images = project.images()
    np.testing.assert_array_equal(
        model.predict(images)["logits"], project.answers("student", images)
    )
    assert model.metadata.signature.inputs.to_dict() == [
        {
            "name": "image",
            "type": "tensor",
            "tensor-spec": {"dtype": "uint8", "shape": (-1, 1, 8, 8)},
        }
    ]
    assert model.metadata.signature.outputs.inputs[0].shape == (-1, 10)
    validation = load_file(project.root / "prepared" / "validation.safetensors")["images"]
    np.testing.assert_array_equal(model.input_example["image"], validation[:4])
    assert model.metadata.flavors["onnx"]["providers"] == ["CPUExecutionProvider"]


def test_the_files_of_a_version_are_the_model_folder_byte_for_byte(project, tmp_path, monkeypatch):
    folder = project.root / "models" / "student"
    described = onnx.load(folder / "model.onnx")
    # an unknown field at the front: a file that any writer would order otherwise
    (folder / "model.onnx").write_bytes(b"\xba\x3e\x01x" + described.SerializeToString())
    files.seal(folder)
    register(project.root, project.params)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find_store(project.root).uri)
    fetched = mlflow.artifacts.download_artifacts(
        "models:/digits@student", dst_path=str(tmp_path / "fetched")
    )
    assert files.verify(type(tmp_path)(fetched)) == files.verify(folder)


def test_the_receipt_says_what_holds_each_model_and_no_absolute_path(project):
    done = register(project.root, project.params)
    receipt = json.loads((project.root / "registered.json").read_text())
    assert receipt["registered_model"] == "digits"
    assert receipt["tracking_uri"] == "sqlite:///mlflow/store/mlflow.db"
    student = receipt["models"]["student"]
    assert student == {"version": "2", "run_id": done[1].run_id, "content": done[1].content}
    assert student["content"] == models.content_hash(project.root / "models" / "student")


def test_registering_again_adds_nothing(project):
    register(project.root, project.params)
    receipt = (project.root / "registered.json").read_bytes()
    again = register(project.root, project.params)
    assert not any(one.new for one in again)
    assert len(versions_of(project)) == len(runs_of(project)) == len(NAMES)
    assert (project.root / "registered.json").read_bytes() == receipt


def test_other_times_do_not_make_another_model(project):
    register(project.root, project.params)
    project.write_model("student", seed=1, history=((21, 1, 2.5, 0.25, 0.1, 9.0, TIMES[1]),))
    assert not any(one.new for one in register(project.root, project.params))


def test_a_changed_model_adds_a_version_and_a_change_taken_back_only_moves_the_alias(project):
    register(project.root, project.params)
    project.write_model("student", seed=8)
    assert set(missing(project.root, project.params)) == {"student"}
    changed = register(project.root, project.params)
    assert [one.new for one in changed] == [False, True, False]
    assert aliases_of(project)["student"] == "4"
    project.write_model("student", seed=1)
    back = register(project.root, project.params)
    assert not any(one.new for one in back)
    assert aliases_of(project) == {"teacher": "1", "student": "2", "student-p50": "3"}
    assert len(versions_of(project)) == 4


def test_two_entries_with_the_same_content_have_a_version_each(project):
    project.write_model("student-p50", seed=1)
    register(project.root, project.params)
    assert aliases_of(project) == {"teacher": "1", "student": "2", "student-p50": "3"}


def test_an_entry_taken_out_keeps_its_versions_and_its_alias(project):
    register(project.root, project.params)
    path = project.root / "params.yaml"
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if "student-p50" not in line)
    )
    assert [one.entry for one in register(project.root, project.params)] == ["teacher", "student"]
    assert aliases_of(project)["student-p50"] == "3"
    assert "student-p50" not in json.loads((project.root / "registered.json").read_text())["models"]


def test_history_keeps_its_steps_and_times_and_the_run_the_time_of_the_training(project):
    done = register(project.root, project.params)
    client = client_of(project)
    loss = client.get_metric_history(done[1].run_id, "history/loss")
    stamps = [int(time * 1000) for time in TIMES]
    assert [(one.step, one.timestamp, one.value) for one in loss] == [
        (row[0], stamp, row[2]) for row, stamp in zip(HISTORY, stamps, strict=True)
    ]
    run = client.get_run(done[1].run_id)
    assert (run.info.start_time, run.info.end_time) == (stamps[0] - 5000, stamps[1])
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {
        "history/loss": 1.5,
        "history/accuracy": 0.5,
        "history/learning_rate": 0.05,
        "metrics/accuracy": 0.5,
        "accuracy": 0.875,
        "latency_1_ms": 2.0,
    }


def test_lineage_becomes_parameters_and_tags(project):
    done = register(project.root, project.params)
    client = client_of(project)
    run = client.get_run(done[2].run_id)
    assert (
        run.data.params.items()
        >= {
            "by": "prune",
            "keep_macs": "0.5",
            "finetune.epochs": "3",
            "lineage.data": "d" * 64,
            "lineage.versions.torch": "2.15",
            "lineage.seconds": "1.5",
            "lineage.finished": "1800000000.0",
        }.items()
    )
    version = client.get_model_version_by_alias("digits", "student-p50")
    assert {key: value for key, value in version.tags.items() if key.startswith("espalier.")} == {
        "espalier.entry": "student-p50",
        "espalier.content": done[2].content,
        "espalier.by": "prune",
        "espalier.parent": "student",
        "espalier.data": "d" * 64,
    }
    assert "espalier.parent" not in client.get_model_version_by_alias("digits", "teacher").tags


@pytest.mark.parametrize(
    ("names", "tag"), [(["cat", "Z\u00fcri"], '["cat", "Z\u00fcri"]'), (["c" * 60] * 100, None)]
)
def test_the_names_of_the_classes_are_a_tag_if_they_fit(project, names, tag):
    folder = project.root / "models" / "student"
    files.write_json(folder / "classes.json", {"classes": names})
    files.seal(folder)
    register(project.root, project.params)
    client = client_of(project)
    version = client.get_model_version_by_alias("digits", "student")
    assert version.tags.get("espalier.classes") == tag


def test_a_repeated_evaluation_adds_figures_and_no_version(project):
    done = register(project.root, project.params)
    project.write_report(latency=1.0)
    register(project.root, project.params)
    register(project.root, project.params)
    client = client_of(project)
    assert [one.value for one in client.get_metric_history(done[1].run_id, "latency_1_ms")] == [
        2.0,
        1.0,
    ]
    assert len(client.get_metric_history(done[1].run_id, "accuracy")) == 1
    assert client.get_run(done[1].run_id).data.metrics["latency_1_ms"] == 1.0
    assert len(versions_of(project)) == len(NAMES)


def test_a_quantized_model_without_history_is_registered(project):
    project.write_model("student-p50", seed=2, history=())
    done = register(project.root, project.params)
    run = client_of(project).get_run(done[2].run_id)
    assert "history/loss" not in run.data.metrics
    assert (run.info.start_time, run.info.end_time) == (1_799_999_998_500, 1_800_000_000_000)
    assert aliases_of(project)["student-p50"] == "3"


def test_a_wiped_store_is_filled_again(project):
    register(project.root, project.params)
    shutil.rmtree(project.root / "mlflow")
    assert all(one.new for one in register(project.root, project.params))
    assert missing(project.root, project.params) == {}


@pytest.mark.parametrize("harm", ["gone", "other size", "other bytes"])
def test_a_version_whose_files_are_not_the_model_is_not_taken_for_it(project, harm):
    register(project.root, project.params)
    held = client_of(project).get_model_version_by_alias("digits", "student")
    folder = (
        project.root
        / client_of(project)
        .get_logged_model(held.source.removeprefix("models:/"))
        .artifact_location
    )
    deployed = folder / "model.onnx"
    content = deployed.read_bytes()
    if harm == "gone":
        shutil.rmtree(folder)
    else:
        deployed.write_bytes(
            content[:-1] + b"" if harm == "other size" else content[:-1] + bytes([content[-1] ^ 1])
        )
    if harm != "other bytes":  # the quick check compares sizes
        assert missing(project.root, project.params) == {
            "student": "version 2 without all of its files"
        }
    assert [one.new for one in register(project.root, project.params)] == [False, True, False]
    assert aliases_of(project)["student"] == "4"
    assert missing(project.root, project.params) == {}


def test_a_deleted_version_comes_back_from_its_own_run(project):
    done = register(project.root, project.params)
    client_of(project).delete_model_version("digits", "2")
    assert missing(project.root, project.params) == {"student": "no version"}
    again = register(project.root, project.params)
    assert (again[1].version, again[1].run_id) == ("4", done[1].run_id)
    assert aliases_of(project)["student"] == "4"


def test_a_deleted_run_or_experiment_is_made_good(project):
    done = register(project.root, project.params)
    client = client_of(project)
    client.delete_run(done[1].run_id)
    assert set(missing(project.root, project.params)) == {"student"}
    assert [one.new for one in register(project.root, project.params)] == [False, True, False]
    client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
    register(project.root, project.params)
    assert missing(project.root, project.params) == {}


CALLS = (
    "create_run",
    "create_logged_model",
    "log_batch",
    "log_model_artifacts",
    "log_outputs",
    "finalize_logged_model",
    "set_terminated",
    "set_tag",
    "create_model_version",
    "set_registered_model_alias",
)


def kill_at(project, patch, call, *, after):
    original = getattr(MlflowClient, call)

    def killed(self, *arguments, **keywords):
        if after:
            original(self, *arguments, **keywords)
        raise KeyboardInterrupt

    patch.setattr(MlflowClient, call, killed)
    with pytest.raises(KeyboardInterrupt):
        register(project.root, project.params)


@pytest.mark.parametrize("after", mostly_slow([False, True], False))
def test_a_registration_killed_anywhere_is_completed_without_duplicates(
    project, monkeypatch, after
):
    (project.root / "params.yaml").write_text('teacher: {model: "espalier:resnet", epochs: 1}')
    for number, call in enumerate(
        CALLS, start=1
    ):  # one store for all: opening a new one costs a second
        project.write_model("teacher", seed=number)
        with monkeypatch.context() as patch:
            kill_at(project, patch, call, after=after)
        assert not (project.root / "registered.json").exists()
        register(project.root, project.params)
        assert missing(project.root, project.params) == {}, call
        assert versions_of(project) == [(one, "teacher") for one in range(1, number + 1)], call
        runs = runs_of(project)
        assert [run.info.status for run in runs] == number * ["FINISHED"], call
        logged = client_of(project).search_logged_models([runs[0].info.experiment_id])
        assert [str(one.status) for one in logged] == number * ["READY"], call
        (project.root / "registered.json").unlink()


def test_a_registration_killed_before_its_first_model_is_completed(project, monkeypatch):
    for call in ("create_experiment", "create_registered_model"):
        with monkeypatch.context() as patch:
            kill_at(project, patch, call, after=True)
    register(project.root, project.params)
    run = runs_of(project)[0]
    assert run.info.artifact_uri.startswith("mlflow/store/artifacts/")
    assert missing(project.root, project.params) == {}


def test_an_interrupted_upload_leaves_no_version(project, monkeypatch):
    def full(self, logged, folder):
        raise OSError(28, "No space left on device", folder)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", full)
    with pytest.raises(Exception, match="No space left"):
        register(project.root, project.params)
    assert versions_of(project) == []


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "architecture.json"])
def test_a_damaged_folder_is_refused_by_the_name_of_the_file(project, name):
    path = project.root / "models" / "student" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadInput, match=f"student/{name}"):
        register(project.root, project.params)
    assert client_of(project).search_registered_models() == []


def test_a_model_without_a_deployed_file_is_refused(project):
    folder = project.root / "models" / "student"
    (folder / "model.onnx").unlink()
    files.seal(folder)
    with pytest.raises(BadInput, match=r"to hold model\.onnx"):
        register(project.root, project.params)


@pytest.mark.parametrize("deployed", [{"kind": TensorProto.FLOAT}, {"batch": 1}])
def test_a_deployed_file_that_takes_something_else_is_refused(project, deployed):
    folder = project.root / "models" / "student"
    onnx.save(tiny(np.zeros((64, 10), np.float32), **deployed), folder / "model.onnx")
    files.seal(folder)
    with pytest.raises(BadInput, match=r"to take one of .*`image` uint8"):
        register(project.root, project.params)
    assert [entry for _, entry in versions_of(project)] == ["teacher"]


def test_a_moved_project_finds_its_models(project, tmp_path, monkeypatch):
    register(project.root, project.params)
    expected = project.answers("student", project.images())
    project.root = project.root.rename(tmp_path / "moved elsewhere")
    assert missing(project.root, project.params) == {}
    assert not any(one.new for one in register(project.root, project.params))
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find_store(project.root).uri)
    model = mlflow.pyfunc.load_model("models:/digits@student")
    np.testing.assert_array_equal(model.predict(project.images())["logits"], expected)


def test_the_current_folder_and_the_environment_are_left_as_they_were(
    project, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    register(project.root, project.params)
    assert os.getcwd() == str(tmp_path)  # noqa: PTH109
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]


def test_an_experiment_of_dvc_adds_versions_and_moves_no_alias(project, monkeypatch):
    register(project.root, project.params)
    before = aliases_of(project)
    project.write_model("student", seed=8)
    monkeypatch.setenv("DVC_EXP_NAME", "brave-fox")
    register(project.root, project.params)
    assert len(versions_of(project)) == 4
    assert aliases_of(project) == before
    monkeypatch.delenv("DVC_EXP_NAME")
    register(project.root, project.params)
    assert len(versions_of(project)) == 4
    assert aliases_of(project) == before | {"student": "4"}


def test_a_version_shows_its_figures_and_those_of_a_repeated_evaluation(project):
    register(project.root, project.params)
    before = client_of(project).get_model_version("digits", "2")
    assert float(before.tags["accuracy"]) == pytest.approx(
        client_of(project).get_run(before.run_id).data.metrics["accuracy"], abs=1e-4
    )
    assert before.description.startswith("student (accuracy ")
    project.write_report(latency=9.0)
    register(project.root, project.params)
    after = client_of(project).get_model_version("digits", "2")
    assert after.tags["latency_1_ms"] != before.tags["latency_1_ms"]
    assert after.tags["latency_1_ms"] in after.description
