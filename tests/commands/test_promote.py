"""Promotion: each kind of bad model is refused by the gate that is there for it, and a better one passes."""

import json
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest
import torch
import yaml
from mlflow import MlflowClient
from onnx import numpy_helper
from properties import assert_explains
from registry.aliases import Place, crashing, exit_status
from registry.projects import tiny as tiny_file
from selection import mostly_slow

from espalier import files
from espalier.commands import evaluate, make, models, promote, register, restore, rollback
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput, Notice, TryAgain
from espalier.export.onnx import export
from espalier.models import load, save
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import Audit, RefusedError, State, find_unchanged
from espalier.registry.promotion.alias_moves import AliasMove
from espalier.registry.versions import Model, add_version, open_registry
from espalier.report.page import render

SMALL = {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}}
PARAMS = {
    "training": {"batch_size": 64, "threads": 1, "views": 3},
    "teacher": {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}, "epochs": 2},
    "models": {
        "good": {"from": "teacher", "by": "train", "epochs": 1},
        "better": {"from": "good", "by": "train", "epochs": 1},
        "one-class": {"from": "better", "by": "train", "epochs": 0},
        "slow": {
            "from": "teacher",
            "by": "train",
            "epochs": 1,
            "model": "espalier:resnet",
            "arguments": {"depth": 20, "width": 32},
        },
        "not-a-number": {"from": "good", "by": "train", "epochs": 0},
        "stale": {"from": "better", "by": "train", "epochs": 0},
        "other-file": {"from": "better", "by": "train", "epochs": 0},
    },
    "evaluation": {"rounds": 9},
}
GATES = {
    "examples": 300,
    "drop": 0.06,
    "champion_drop": 0.06,
    "worst_class_drop": 0.4,
    "torch_agreement": 0.99,
}


AGAIN = {"alias": "champion", "again": "it was rolled back to try the way back"}


@pytest.fixture(scope="module")
def built_project(tiny, tmp_path_factory):
    """A project with a good model, a better one, and one of each kind of bad ones; evaluated and registered."""
    root = tmp_path_factory.mktemp("promotion") / "project"
    shutil.copytree(tiny, root, ignore=shutil.ignore_patterns("locks", "work"))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (root / "mlflow").mkdir()
    for name in PARAMS["models"]:
        make.run(root, name)
    never(root / "models" / "one-class", 3)
    poison(root / "models" / "not-a-number")
    never(root / "models" / "other-file", 5, deployed=False)
    evaluate.run(root)
    register.run(root)
    update(root / "models" / "stale", data="0" * 64)
    return root


def never(folder, label, *, deployed=True):
    """Make a model never predict one class; without `deployed`, only its torch network."""
    network = load(folder)
    with torch.no_grad():
        network.head.bias[label] = -100.0
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    save(network, folder)
    if deployed:
        prepared = folder.parents[1] / "prepared"
        dataset = read_dataset(prepared)
        images = read_split(prepared, "validation").inputs[:32]
        export(network, folder / "model.onnx", images, dataset.front())
    else:
        (folder / "model.onnx").write_bytes(kept["model.onnx"])
    files.seal(folder)


def update(folder, **inputs):
    """Change inputs in the lineage of a model."""
    lineage = files.read_json(folder / "lineage.json")
    files.write_json(folder / "lineage.json", lineage | inputs)
    files.seal(folder)


def repair_lineage(root):
    """Give `stale` the data of the project again, so that it can be evaluated and registered."""
    lineage = files.read_json(root / "models" / "teacher" / "lineage.json")
    update(root / "models" / "stale", data=lineage["data"])


def poison(folder):
    """One weight of the deployed file becomes NaN."""
    model = onnx.load(folder / "model.onnx")
    weight = next(one for one in model.graph.initializer if len(one.dims) == 2)
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, folder / "model.onnx")
    files.seal(folder)


@pytest.fixture
def project(built_project, tmp_path):
    """A copy whose champion is `good`, by promotion in its own folder: memos are of one folder."""
    root = shutil.copytree(built_project, tmp_path / "project")
    allow(root, "good")
    promote.run(root)
    return root


def allow(root, *candidates, policy=None, **gates):
    policy = {
        "choose": "most_accurate",
        "candidates": list(candidates),
        "gates": GATES | gates,
        **(policy or {}),
    }
    (root / "mlflow" / "gates.yaml").write_text(yaml.safe_dump({"champion": policy}))


def client_of(root):
    return MlflowClient(find_store(root).uri)


def champion(root):
    """The entry that the champion is, and the one before."""
    client = client_of(root)
    aliases = dict(client.get_registered_model("digits").aliases)
    tags = {
        a: client.get_model_version("digits", v).tags["espalier.entry"] for a, v in aliases.items()
    }
    return tags.get("champion"), tags.get("previous")


def last_report(root):
    """The gate report that the last attempt left."""
    client = client_of(root)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    last = next(run for run in runs if run.info.run_name == "promote champion")
    return json.loads((root / last.info.artifact_uri / "gates.json").read_text())


def refused_gates(root):
    """The gates that refused each candidate, by the report that the last attempt left."""
    report = last_report(root)
    return {
        name: [verdict["gate"] for verdict in one["verdicts"] if not verdict["passed"]]
        for name, one in report["candidates"].items()
    }


def stored(root, entry):
    client = client_of(root)
    version = client.get_model_version_by_alias("digits", entry)
    logged = version.source.removeprefix("models:/")
    return root / client.get_logged_model(logged).artifact_location


def test_a_better_model_passes_and_the_former_champion_is_kept_as_previous(project, capsys):
    assert champion(project) == ("good", None)
    allow(project, "better", drop=0.5)
    (move,) = promote.run(project)
    assert champion(project) == ("better", "good")
    assert move.content == files.digest(
        {
            name: files.verify(project / "models" / "better")[name]
            for name in ("architecture.json", "weights.safetensors", "model.onnx", "classes.json")
        }
    )
    assert "champion is version" in capsys.readouterr().out


def damage(root, entry):
    path = stored(root, entry) / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def test_a_champion_with_damaged_files_is_compared_by_another_version_of_its_content(project):
    damage(project, "good")
    repair_lineage(project)
    register.run(project)
    allow(project, "better", drop=0.5)
    promote.run(project)
    assert champion(project) == ("better", "good")


def test_the_alias_moves_from_damaged_files_to_intact_ones_of_the_same_content(project):
    damage(project, "good")
    repair_lineage(project)
    register.run(project)
    (move,) = promote.run(project)
    assert (move.content, int(move.to) > int(move.former)) == (move.former_content, True)
    assert promote.run(project) == []


def test_a_champion_whose_files_are_lost_is_replaced_with_a_reason_in_the_audit(project):
    damage(project, "good")
    allow(project, "better", drop=0.5)
    with pytest.raises(BadInput, match=r"model\.onnx.*--without-champion REASON"):
        promote.run(project)
    with pytest.raises(BadInput, match="with --alias ALIAS"):
        promote.run(project, without_champion="a disk failed")
    (move,) = promote.run(project, "champion", without_champion="a disk failed")
    assert move.reason == "promoted without the champion: a disk failed"
    assert champion(project) == ("better", "good")


def test_an_intact_champion_is_not_left_out(project):
    allow(project, "better", drop=0.5)
    with pytest.raises(BadInput, match=r"found version \d+ intact"):
        promote.run(project, "champion", without_champion="it is in the way")
    assert champion(project) == ("good", None)


def point_to_other_inputs(root):
    """The champion becomes a version for smaller images than those of the test split."""
    folder = root.with_name("smaller")
    shutil.copytree(root / "models" / "good", folder)
    onnx.save(tiny_file(np.zeros((16, 10), np.float32), sides=(4, 4)), folder / "model.onnx")
    files.seal(folder)
    # another project, whose prepared data would refuse the file
    store = find_store(folder, find_store(root).uri)
    with connect(store) as client:
        registry = open_registry(client, store, "digits")
        model = Model("good", folder, files.verify(folder), "teacher", "train")
        version = add_version(registry, model, {}).version
        client.set_registered_model_alias("digits", "champion", version)
    return version


def test_a_champion_for_other_inputs_passes_no_candidate_but_for_a_reason(project):
    version = point_to_other_inputs(project)
    allow(project, "better", drop=0.5)
    with pytest.raises(RefusedError) as refused:
        promote.run(project)
    found = (
        "champion_drop could not be evaluated",
        f"digits@champion (version {version}) to take inputs",
        "(1, 8, 8); found (1, 4, 4)",
        "--alias champion --without-champion REASON",
    )
    assert [words for words in found if words not in str(refused.value)] == []
    assert "/" not in str(refused.value)
    allow(project, "one-class", drop=0.5)
    with pytest.raises(RefusedError):
        promote.run(project, "champion", without_champion="the images are larger")
    assert refused_gates(project) == {"one-class": ["worst_class_drop"]}
    allow(project, "better", drop=0.5)
    (move,) = promote.run(project, "champion", without_champion="the images are larger")
    assert move.reason == "promoted without the champion: the images are larger"
    assert (move.former, champion(project)[0]) == (version, "better")


def test_without_a_gate_that_compares_it_a_champion_for_other_inputs_stops_nothing(project):
    version = point_to_other_inputs(project)
    allow(project, "one-class", drop=0.5, champion_drop=None)
    with pytest.raises(RefusedError, match=r"worst_class_drop [^`]*$"):
        promote.run(project)
    allow(project, "better", drop=0.5, champion_drop=None)
    (move,) = promote.run(project)
    assert (move.former, move.reason, champion(project)[0]) == (version, "promoted", "better")
    promote.run(project, into="prod.digits")  # the report without this number is evidence


def test_a_second_promotion_moves_nothing_and_writes_no_line(project):
    assert promote.run(project) == []
    assert len(Audit(client_of(project), "digits").moves()) == 1


def promoted_without_judging(root):
    """The output of `espalier promote` in a process of its own, which must not import what judges."""
    code = (
        "import sys; from espalier.cli import main\n"
        "try:\n    main(['promote'])\n"
        "finally:\n    assert not {'torch', 'mlflow', 'pandas', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert "AssertionError" not in done.stderr
    return done


def test_an_unchanged_promotion_says_its_outcome_and_judges_nothing(project):
    done = promoted_without_judging(project)
    assert done.returncode == 0, done.stderr
    version = client_of(project).get_model_version_by_alias("digits", "champion").version
    assert done.stdout == f"digits@champion stays at version {version}: good, as it is now\n"
    assert find_unchanged(project, "champion") is None  # other arguments are another question


CHANGES = {
    "an alias moved by hand": lambda root: client_of(root).set_registered_model_alias(
        "digits", "champion", client_of(root).get_model_version_by_alias("digits", "better").version
    ),
    "a damaged file of the champion": lambda root: damage(root, "good"),
    "a damaged model": lambda root: (root / "models" / "good" / "cut").write_text(""),
    "other gates": lambda root: allow(root, "good", drop=0.05),
    "an altered line of the audit": lambda root: client_of(root).set_model_version_tag(
        "digits.audit", "1", "espalier.who", "another"
    ),
    "a device": lambda root: tag_device(root, "another processor"),
    "no count of uses": lambda root: (root / ".espalier" / "test_splits.json").unlink(),
}


@pytest.mark.parametrize("change", mostly_slow(CHANGES, "a damaged model", "other gates"))
def test_a_change_of_what_decides_is_judged_again(project, change):
    assert find_unchanged(project) is not None
    CHANGES[change](project)
    assert find_unchanged(project) is None


def test_an_alias_that_was_moved_by_hand_is_moved_back_by_the_next_promotion(project):
    allow(project, "good", champion_drop=1.0)
    assert promote.run(project) == []
    CHANGES["an alias moved by hand"](project)
    assert champion(project)[0] == "better"
    (move,) = promote.run(project)
    assert (move.entry, champion(project)[0]) == ("good", "good")


def test_an_unchanged_refusal_is_the_same_sentence_and_logs_no_further_run(project):
    gate, gates = BAD["one-class"]
    allow(project, "one-class", **gates)
    with pytest.raises(RefusedError, match=gate) as first:
        promote.run(project)
    database = files.sha256(project / "mlflow" / "store" / "mlflow.db")
    with pytest.raises(RefusedError) as second:
        promote.run(project)
    assert str(second.value) == str(first.value)
    assert files.sha256(project / "mlflow" / "store" / "mlflow.db") == database
    done = promoted_without_judging(project)
    assert (done.returncode, done.stderr) == (1, f"espalier: {first.value}\n")


def test_the_memo_of_a_move_is_of_the_next_judgement(built_project, tmp_path):
    """The first champion passes a margin that it would not pass in comparison with itself."""
    root = shutil.copytree(built_project, tmp_path / "project")
    allow(root, "good", champion_drop=0.0)
    assert len(promote.run(root)) == 1
    (unchanged,) = find_unchanged(root).refusals
    (root / ".espalier" / "memos" / "promotion.json").unlink()
    with pytest.raises(RefusedError) as judged:
        promote.run(root)
    assert unchanged == str(judged.value)


def test_no_memo_of_a_project_with_code_of_its_own(project):
    """A change of that code could change the answers of its networks."""
    (project / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "trusted": ["mine"]}))
    assert promote.run(project) == []
    assert find_unchanged(project) is None


BAD = {
    "one-class": ("worst_class_drop", {"drop": 0.5, "champion_drop": 0.5}),
    "slow": (
        "latency_ratio",
        {"drop": 1.0, "champion_drop": 1.0, "worst_class_drop": 1.0, "latency_ratio": 2.0},
    ),
    "not-a-number": (
        "finite",
        {"drop": 1.0, "champion_drop": 1.0, "worst_class_drop": 1.0, "torch_agreement": 0.0},
    ),
    "stale": ("data", {}),
    "other-file": ("torch_agreement", {}),
}


@pytest.mark.parametrize("name", BAD)
def test_each_bad_model_is_refused_by_its_gate_alone_and_the_champion_stays(project, name):
    gate, gates = BAD[name]
    allow(project, name, **gates)
    with pytest.raises(RefusedError) as refused:
        promote.run(project)
    assert_sentence(refused.value, name, gate)
    assert refused_gates(project) == {name: [gate]}
    assert champion(project) == ("good", None)


def assert_sentence(error, *words):
    assert all(word in str(error) for word in ("Expected", "found", "stays", *words)), str(error)
    assert error.status == 1


def test_a_file_altered_by_one_byte_in_the_store_is_refused(project):
    path = stored(project, "better") / "model.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    allow(project, "better", drop=0.5)
    with pytest.raises(RefusedError) as refused:
        promote.run(project)
    assert_sentence(refused.value, "files", "model.onnx")
    assert champion(project) == ("good", None)


def test_a_version_whose_files_are_gone_is_refused(project):
    shutil.rmtree(stored(project, "better"))
    allow(project, "better", drop=0.5)
    with pytest.raises(RefusedError) as refused:
        promote.run(project)
    assert refused_gates(project) == {"better": ["files"]}
    assert champion(project) == ("good", None)
    assert_sentence(refused.value, "files")


def test_a_full_folder_for_temporary_files_is_no_verdict(project, monkeypatch):
    """It says nothing about the models: the promotion is worth a retry, and no gate refuses."""

    def full(*_given, **_more):
        raise OSError("[Errno 28] No space left on device: '/tmp/x'")

    allow(project, "better", drop=0.5)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.artifacts.download_artifacts", full)
        with pytest.raises(TryAgain, match="to have room for the files of models:/digits/"):
            promote.run(project)
    assert champion(project) == ("good", None)
    promote.run(project)
    assert champion(project) == ("better", "good")


def test_the_file_of_the_audit_has_every_move_and_its_gate_report(project):
    allow(project, "better", drop=0.5)
    promote.run(project)
    rollback.run(project)
    folder = project / "mlflow" / "audit"
    lines = [json.loads(line) for line in (folder / "digits.jsonl").read_text().splitlines()]
    assert [(line["entry"], line["reason"], line["state"]) for line in lines] == [
        ("good", "promoted", "done"),
        ("better", "promoted", "done"),
        ("good", "rolled back", "done"),
    ]
    for line in lines:
        report = folder / "digits" / f"gates-{line['report'][:32]}.json"
        assert files.sha256(report) == line["report"]
        judged = files.read_json(report)["candidates"][line["entry"]]
        assert (judged["content"], judged["passed"]) == (line["content"], True)


def test_no_alias_moves_while_file_and_store_disagree(project):
    allow(project, "better", drop=0.5)
    client_of(project).set_model_version_tag("digits.audit", "1", "espalier.who", "another")
    for move in (promote.run, rollback.run):
        with pytest.raises(BadInput, match=r"`who` of line 1.*espalier restore"):
            move(project)
    assert champion(project) == ("good", None)
    restore.run(project)
    promote.run(project)
    assert champion(project) == ("better", "good")


def test_reports_of_other_data_or_another_model_are_no_figures(project):
    conditions = project / "reports" / "conditions.json"
    content = files.read_json(conditions)
    for change in ({"data": "0" * 64}, {"models": content["models"] | {"better": "0" * 64}}):
        files.write_json(conditions, content | change)
        files.seal(project / "reports", nested=True)
        with pytest.raises(BadInput) as refused:
            promote.run(project)
        assert_explains(refused.value, "espalier evaluate")
    assert champion(project) == ("good", None)


def test_an_unregistered_model_cannot_be_promoted(project):
    never(project / "models" / "slow", 7)
    repair_lineage(project)
    evaluate.run(project)
    allow(project, "slow")
    with pytest.raises(BadInput) as refused:
        promote.run(project)
    assert_explains(refused.value, "slow", "espalier register")


def test_back_is_the_same_way_and_only_to_what_was_champion_before(project):
    allow(project, "better", drop=0.5)
    promote.run(project)
    rollback.run(project)
    assert champion(project) == ("good", "better")
    moves = Audit(client_of(project), "digits").moves()
    assert [(move.reason, move.state) for move in moves] == [
        ("promoted", State.DONE),
        ("promoted", State.DONE),
        ("rolled back", State.DONE),
    ]
    rollback.run(project, to=moves[1].to)
    assert champion(project) == ("better", "good")
    slow = client_of(project).get_model_version_by_alias("digits", "slow").version
    with pytest.raises(BadInput) as refused:
        rollback.run(project, to=str(slow))
    assert_explains(refused.value, "never")
    with pytest.raises(BadInput) as refused:
        rollback.run(project, to=moves[1].to)
    assert_explains(refused.value, f"version {moves[1].to}, which it has now")


def test_the_night_after_a_rollback_does_not_undo_it(project, capsys):
    allow(project, "better", drop=0.5)
    promote.run(project)
    capsys.readouterr()
    rollback.run(project)
    assert "--alias champion --again REASON" in capsys.readouterr().out
    for _ in range(2):  # the second night repeats the first by its memo
        with pytest.raises(
            RefusedError, match=r"better: rollback rolled back by .* --again REASON"
        ):
            promote.run(project)
    assert champion(project) == ("good", "better")
    assert refused_gates(project) == {"better": ["rollback"]}

    promote.run(project, alias="champion", again="its camera was broken")
    assert champion(project) == ("better", "good")
    last = Audit(client_of(project), "digits").moves()[-1]
    assert last.reason == "promoted again: its camera was broken"
    promote.run(project)  # from now on as any other
    assert champion(project) == ("better", "good")


def test_a_wrong_name_in_one_policy_is_refused_before_another_alias_moves(project):
    allow(project, "better", drop=0.5)
    path = project / "mlflow" / "gates.yaml"
    policies = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(policies | {"fast": {"candidates": ["gone"], "gates": {}}}))
    before = champion(project)
    with pytest.raises(BadInput) as refused:
        promote.run(project)
    assert_explains(refused.value, "gone", "candidates")
    assert champion(project) == before


def test_rollback_after_a_crash_before_previous_was_set_restores_the_former_champion(
    project,
):
    """`previous` is wrong after such a crash: it is from the move before, or missing."""
    allow(project, "better", drop=0.5)
    for former, to in (("good", "better"), ("better", "slow")):
        assert (
            exit_status(place_of(project, former, to).move_in_a_process(CRASHING))
            == -signal.SIGKILL
        )
        assert champion(project)[0] == to
        rollback.run(project)
        assert champion(project) == (former, to)
        if to == "better":
            promote.run(project, **AGAIN)
    assert [move.state for move in Audit(client_of(project), "digits").moves()] == [State.DONE] * 6


def test_a_crashed_promotion_is_finished_by_the_next_one_without_a_move(project):
    allow(project, "better", drop=0.5)
    assert (
        exit_status(place_of(project, "good", "better").move_in_a_process(CRASHING))
        == -signal.SIGKILL
    )
    assert champion(project) == ("better", None)
    assert promote.run(project) == []
    assert champion(project) == ("better", "good")
    assert [move.state for move in Audit(client_of(project), "digits").moves()] == [State.DONE] * 2


CRASHING = crashing(
    "set_registered_model_alias", 1, "after"
)  # the alias stands, `previous` does not


def place_of(root, former, to):
    client = client_of(root)
    versions = [client.get_model_version_by_alias("digits", entry) for entry in (former, to)]
    contents = [version.tags["espalier.content"] for version in versions]
    run = Audit(client, "digits").moves()[-1].run
    numbers = [str(version.version) for version in versions]
    return Place(
        root,
        find_store(root).uri,
        "digits",
        AliasMove("champion", *numbers, *contents[::-1], "promoted", run),
    )


def test_back_to_files_that_were_changed_is_refused(project):
    allow(project, "better", drop=0.5)
    promote.run(project)
    (stored(project, "good") / "weights.safetensors").unlink()
    with pytest.raises(BadInput):
        rollback.run(project)
    assert champion(project) == ("better", "good")


def test_the_versions_and_every_move_are_listed(project, capsys):
    allow(project, "better", drop=0.5)
    promote.run(project)
    capsys.readouterr()
    models.run(project)
    listed = capsys.readouterr().out
    lines = [line.split() for line in listed.splitlines()]
    assert any("better" in line and "champion" in line for line in lines)
    assert sum("promoted" in line and "done" in line for line in lines) == 2


def test_an_unknown_alias_or_candidate_is_refused_by_name(project):
    with pytest.raises(BadInput) as refused:
        promote.run(project, alias="staging")
    assert_explains(refused.value, "staging", "champion")
    allow(project, "nobody")
    with pytest.raises(BadInput) as refused:
        promote.run(project)
    assert_explains(refused.value, "nobody")


def tag_device(root, device):
    """Give the version of the champion the device of other latencies."""
    version = client_of(root).get_model_version_by_alias("digits", "champion").version
    client_of(root).set_model_version_tag("digits", version, "device", device)


def test_a_version_and_its_run_name_the_device_of_the_latencies(project):
    device = files.read_json(project / "reports" / "conditions.json")["device"]
    version = client_of(project).get_model_version_by_alias("digits", "better")
    assert version.tags["device"] == device
    assert device in version.description
    assert client_of(project).get_run(version.run_id).data.tags["device"] == device


def test_latencies_of_another_device_than_the_champions_are_refused_and_the_rest_is_not(project):
    device = files.read_json(project / "reports" / "conditions.json")["device"]
    tag_device(project, "another processor, 1 thread")
    allow(project, "better", drop=0.5, latency_ratio=100.0)
    with pytest.raises(RefusedError) as refused:
        promote.run(project)
    assert_sentence(
        refused.value, "device", device, "another processor", "fleet: {bench: [evaluate]}"
    )
    assert refused_gates(project) == {"better": ["device"]}
    assert champion(project) == ("good", None)
    allow(project, "better", drop=0.5)
    promote.run(project)
    assert champion(project) == ("better", "good")


def test_a_new_device_that_the_policy_names_is_accepted(project):
    device = files.read_json(project / "reports" / "conditions.json")["device"]
    tag_device(project, "another processor, 1 thread")
    allow(project, "better", drop=0.5, latency_ratio=100.0, device=device)
    promote.run(project)
    assert champion(project) == ("better", "good")
    passed = last_report(project)["candidates"]["better"]["verdicts"]
    assert {"gate": "device", "should": device, "found": device, "passed": True} in passed


def test_the_list_numbers_the_devices_only_where_there_are_several(project, capsys):
    models.run(project)
    assert "device" not in capsys.readouterr().out
    tag_device(project, "another processor, 1 thread")
    models.run(project)
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split()[-1] == "device"
    own = files.read_json(project / "reports" / "conditions.json")["device"]
    assert f"device 1: {own}" in listed
    assert "device 2: another processor, 1 thread" in listed
    (good,) = [line for line in listed if " champion" in line and "good" in line and "kB" in line]
    assert good.split()[-1] == "2"


def split_hash(root):
    return read_dataset(root / "prepared").files["test.safetensors"]


def test_the_report_counts_candidates_and_promotions_on_the_same_test_split(project, capsys):
    first = last_report(project)["test_split"]
    assert (first["sha256"], first["candidates"], first["models"]) == (split_hash(project), 1, 1)
    assert (first["promotions"], first["unknown"]) == (0, 0)
    allow(project, "better", "good", drop=0.5)
    promote.run(project)
    second = last_report(project)["test_split"]
    assert (second["candidates"], second["models"], second["promotions"]) == (2, 2, 1)
    rollback.run(project)
    capsys.readouterr()
    promote.run(project, **AGAIN)
    assert last_report(project)["test_split"]["promotions"] == 2  # a rollback decides nothing
    assert "promotions of digits decided before 2" in capsys.readouterr().out


def test_promotions_that_record_no_split_count_as_unknown(project):
    client = client_of(project)
    (move,) = Audit(client, "digits").moves()
    client.delete_tag(move.run, "espalier.test_split")
    allow(project, "better", drop=0.5)
    promote.run(project)
    found = last_report(project)["test_split"]
    assert (found["promotions"], found["unknown"]) == (0, 1)


def test_a_split_that_has_decided_too_often_is_named(project):
    allow(project, "better", drop=0.5, policy={"reuse_warning": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        promote.run(project)
    rollback.run(project)
    with pytest.warns(Notice, match=rf"at most 1 .*{split_hash(project)[:12]} has decided 2"):
        promote.run(project, **AGAIN)


def test_the_page_says_how_often_the_test_split_has_decided(project):
    text = render(project, project / "reports").decode()
    assert "had decided 0 promotions of digits" in text
    assert "Candidates judged on the same test split: 1." in text
    allow(project, policy={"candidates": "holm"})
    (project / ".espalier" / "test_splits.json").unlink()
    text = render(project, project / "reports").decode()
    assert "has decided no promotion from this folder" in text
    assert "`correction: holm` is not applied here" in text


def test_holm_asks_more_of_each_of_several_candidates(project):
    """The margin lies between the bounds at 95 % and at 97.5 %, half of the error for each of two candidates."""
    bounds = []
    for policy in ({}, {"correction": "holm"}):
        allow(project, "better", "slow", drop=-0.9, champion_drop=1.0, policy=policy)
        with pytest.raises(RefusedError):
            promote.run(project)
        candidates = last_report(project)["candidates"]
        bounds.append(candidates["better"]["figures"]["drop"])
    assert candidates["better"]["level"] == pytest.approx(0.975)
    assert last_report(project)["correction"] == "holm"
    assert bounds[0] < bounds[1]
    between = {"drop": sum(bounds) / 2, "champion_drop": 1.0, "worst_class_drop": 1.0}
    allow(project, "better", "slow", **between, latency_ratio=2.0)
    promote.run(project)
    rollback.run(project)
    allow(project, "better", "slow", **between, latency_ratio=2.0, policy={"correction": "holm"})
    with pytest.raises(RefusedError, match=r"better: drop"):
        promote.run(project, **AGAIN)
    allow(project, "better", **between, policy={"correction": "holm"})
    promote.run(project, **AGAIN)  # of one candidate nothing is corrected
    assert champion(project)[0] == "better"
