"""One model of the tree, from its parent to a sealed folder; killed or stopped at any moment, the same bits."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from properties import assert_equal_outputs, assert_equal_weights, assert_explains

from espalier import cli, files
from espalier.commands import make
from espalier.data.prepared import read_split
from espalier.errors import BadInput, Stopped, TryAgain
from espalier.making import siblings
from espalier.making.baseline import epochs_until
from espalier.making.job import Job
from espalier.making.project import Project
from espalier.making.prune import prune
from espalier.measures.device import latency_device
from espalier.measures.macs import count_macs
from espalier.models import content_hash, load
from espalier.params import read_params
from espalier.runtimes import DEFAULT
from espalier.training.scoring import Inference

CONTRACT = {
    "architecture.json",
    "classes.json",
    "history.csv",
    "lineage.json",
    "manifest.json",
    "metrics.json",
    "model.onnx",
    "weights.safetensors",
}
COLUMNS = [
    "step",
    "epoch",
    "loss",
    "validation_loss",
    "accuracy",
    "learning_rate",
    "seconds",
    "time",
]

# A user's package: the network waits in the training step that GATE names, so that a signal meets
# it right there.
GATE = """
import os, time
from pathlib import Path
from espalier.models import build

def net(*, classes, shape):
    network = build("espalier:resnet", classes=classes, shape=shape, arguments={"depth": 8, "width": 4})
    steps = []
    def wait(module, images):
        steps.extend([1] * module.training)
        if module.training and len(steps) == int(os.environ.get("GATE", 0)):
            Path(f"reached-{os.getpid()}").write_text("the step")
            while not Path("go").exists():
                time.sleep(0.01)
    network.register_forward_pre_hook(wait)
    return network
"""
# The command, saying when it comes to the lock.
TELLING = """
import os, runpy, sys
from pathlib import Path
import filelock
acquire = filelock.FileLock.acquire
def tell(lock, *given, **more):
    Path(f"reached-{os.getpid()}").write_text("the lock")
    return acquire(lock, *given, **more)
filelock.FileLock.acquire = tell
sys.argv = ["espalier", "make", "teacher"]
runpy.run_module("espalier", run_name="__main__")
"""
STEPS = 1222 // 64  # per epoch


def change(project, **entries):
    """Change entries of params.yaml, the teacher or models, key by key."""
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    for name, keys in entries.items():
        entry = (
            content["teacher"]
            if name == "teacher"
            else content["models"].setdefault(name.replace("_", "-"), {})
        )
        entry.update(keys)
    path.write_text(yaml.safe_dump(content))


def kept(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def built_project(tiny, tmp_path_factory):
    """The tiny project with all of its models."""
    project = tmp_path_factory.mktemp("built_project") / "tiny"
    shutil.copytree(tiny, project)
    for name in ("student", "student-p60", "student-int8"):
        make.run(project, name)
    return project


ALL = pytest.mark.parametrize("name", ["teacher", "student", "student-p60", "student-int8"])


@ALL
def test_a_model_folder_holds_what_the_contract_says_and_its_seal_is_right(built_project, name):
    folder = built_project / "models" / name
    contract = CONTRACT | {"cut.json"} if name == "student-p60" else CONTRACT
    assert {path.name for path in folder.iterdir()} == contract
    assert set(files.verify(folder)) == contract - {"manifest.json"}
    assert list((built_project / ".espalier" / "work").iterdir()) == []
    assert not list((built_project / ".espalier" / "checkpoints").glob("*"))


@ALL
def test_the_lineage_says_all_that_fixed_the_bits(built_project, name):
    lineage = files.read_json(built_project / "models" / name / "lineage.json")
    parents = {
        "teacher": [],
        "student": ["teacher"],
        "student-p60": ["student", "teacher"],
        "student-int8": ["student"],
    }
    declared = yaml.safe_load((built_project / "params.yaml").read_text())
    entry = declared["teacher"] if name == "teacher" else declared["models"][name]
    assert lineage["name"] == name
    assert lineage["parent"] == next(iter(parents[name]), None)
    assert lineage["models"] == {
        parent: files.sha256(built_project / "models" / parent / "weights.safetensors")
        for parent in parents[name]
    }
    recorded = lineage["entry"] | lineage["entry"].get("overrides", {})
    assert {key: recorded[key] for key in entry} == entry
    assert (lineage["recipe"]["batch_size"], lineage["recipe"]["threads"], lineage["seed"]) == (
        64,
        1,
        0,
    )
    assert lineage["data"] == files.sha256(built_project / "prepared" / "dataset.json")
    assert lineage["versions"]["torch"] == torch.__version__
    assert lineage["device"]
    assert lineage["processes"] == 1
    assert lineage["seconds"] > 0


@ALL
def test_the_history_has_a_row_per_epoch(built_project, name):
    with (built_project / "models" / name / "history.csv").open() as file:
        table = csv.DictReader(file)
        rows = list(table)
    assert table.fieldnames == COLUMNS
    epochs = {"teacher": 2, "student": 2, "student-p60": 1, "student-int8": 0}[name]
    assert [(int(row["epoch"]), int(row["step"])) for row in rows] == [
        (e, STEPS * e) for e in range(1, epochs + 1)
    ]


@ALL
def test_the_metrics_are_flat_and_those_of_the_deployed_file(built_project, name):
    folder = built_project / "models" / name
    metrics = files.read_json(folder / "metrics.json")
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert metrics["bytes"] == (folder / "model.onnx").stat().st_size
    job = Job.of(built_project, name, read_params(built_project))
    images, labels = job.data.stored("validation")
    logits = DEFAULT.open(folder / "model.onnx", 1).outputs(images.numpy())
    assert metrics["validation_accuracy"] == (logits.argmax(1) == labels.numpy()).mean()
    network = load(folder)
    assert metrics["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    with torch.no_grad():
        ours = network(job.data.front(images)).numpy()
    difference = abs(ours - logits).max() / max(1, abs(ours).max())
    assert difference <= 1e-4 or name == "student-int8"


def test_the_work_of_a_cut_is_the_fraction_that_was_asked_for(built_project):
    student, cut = (
        files.read_json(built_project / "models" / name / "metrics.json")
        for name in ("student", "student-p60")
    )
    assert cut["base_macs"] == student["base_macs"] == student["macs"]
    assert 0.4 * student["macs"] < cut["macs"] <= 0.6 * student["macs"]


@pytest.mark.filterwarnings(
    "ignore::espalier.errors.Notice"
)  # that such narrow layers miss the target
def test_fractions_of_a_chain_are_of_the_model_that_no_pruning_had_touched(
    tiny_copy, built_project
):
    project = tiny_copy()
    for name in ("student", "student-p60"):
        shutil.copytree(built_project / "models" / name, project / "models" / name)
    cut = {"by": "prune", "keep_macs": 0.4, "align": 1, "finetune": {"epochs": 0}}
    change(project, student_p40={"from": "student-p60", **cut}, direct={"from": "student", **cut})
    found = {}
    for name in ("student-p40", "direct"):
        make.run(project, name)
        found[name] = files.read_json(project / "models" / name / "metrics.json")
    base = files.read_json(built_project / "models" / "student" / "metrics.json")["macs"]
    assert all(
        one["base_macs"] == base and 0.3 * base < one["macs"] <= 0.4 * base
        for one in found.values()
    )


@pytest.mark.parametrize("worse", ["the kept network", "a rejected epoch"])
def test_a_recovery_that_made_the_network_worse_is_judged_by_what_is_kept(
    tiny_copy, built_project, monkeypatch, worse
):
    project = tiny_copy()
    shutil.copytree(built_project / "models" / "student", project / "models" / "student")

    def fit(_job, network, *_given, **_more):
        if worse == "the kept network":
            torch.nn.init.zeros_(list(network.parameters())[-1])
            torch.nn.init.zeros_(list(network.parameters())[-2])
        return [{"step": 1, "epoch": 1, "accuracy": float(worse == "the kept network")}]

    monkeypatch.setattr(Job, "fit", fit)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prune(Job.of(project, "student-p60", read_params(project)))
    said = any("fine-tuning to improve" in str(one.message) for one in caught)
    assert said == (worse == "the kept network")


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")  # about speed and a missed target
def test_the_lineage_names_the_device_of_latencies_where_a_cut_depends_on_them(
    tiny_copy, built_project, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    project = tiny_copy()
    shutil.copytree(built_project / "models" / "student", project / "models" / "student")
    change(project, student_p60={"budget": "latency"})
    make.run(project, "student-p60")
    lineage = files.read_json(project / "models" / "student-p60" / "lineage.json")
    assert lineage["latency_device"] == latency_device(DEFAULT, 1)
    former = files.read_json(built_project / "models" / "student-p60" / "lineage.json")
    assert "latency_device" not in former


def test_a_quantized_model_keeps_the_weights_of_its_parent_and_says_how_its_file_was_made(
    built_project,
):
    parent, quantized = (built_project / "models" / name for name in ("student", "student-int8"))
    assert_equal_weights(load(quantized), load(parent))
    assert files.read_json(quantized / "architecture.json")["quantization"] == {
        "scheme": "static",
        "calibration": "entropy",
        "per_channel": True,
        "reduce_range": True,
    }
    assert content_hash(quantized) != content_hash(parent)


def test_the_packed_size_is_recorded_only_of_deployed_weights(built_project):
    metrics = {
        name: files.read_json(built_project / "models" / name / "metrics.json")
        for name in ("student", "student-int8")
    }
    assert metrics["student"]["packed_bytes"] > 0
    assert "packed_bytes" not in metrics["student-int8"]


def test_nothing_is_made_from_a_quantized_model(tiny_copy, built_project):
    project = tiny_copy()
    shutil.copytree(built_project / "models" / "student-int8", project / "models" / "student-int8")
    change(
        project,
        cut={"from": "student-int8", "by": "prune", "keep_macs": 0.5},
        pupil={"from": "student-int8", "by": "distill", "model": "espalier:mlp", "epochs": 1},
        again={"from": "student-int8", "by": "quantize"},
    )
    for name in ("cut", "pupil", "again"):
        with pytest.raises(BadInput) as caught:
            make.run(project, name)
        assert_explains(caught.value, f"models.{name}.from", "'student-int8'", "quantize last")
        assert not (project / "models" / name).exists()


def test_a_model_that_is_trained_further_starts_from_its_parent(tiny_copy):
    project = tiny_copy()
    change(
        project,
        further={"from": "teacher", "by": "train", "epochs": 0},
        new={"from": "teacher", "by": "train"},
    )
    change(project, new={"model": "espalier:mlp", "arguments": {"hidden": [8]}, "epochs": 1})
    for name in ("further", "new"):
        make.run(project, name)
    assert_equal_outputs(
        load(project / "models" / "further"),
        load(project / "models" / "teacher"),
        torch.randn(4, 1, 8, 8),
    )
    assert (project / "models" / "further" / "history.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert (
        files.read_json(project / "models" / "new" / "architecture.json")["factory"]
        == "espalier:mlp"
    )


def test_a_student_that_is_taught_further_starts_from_its_parent_and_learns_from_the_teacher(
    tiny_copy,
):
    project = tiny_copy()
    kept = {"from": "student", "by": "distill", "epochs": 0}
    change(project, kept=kept, further={**kept, "epochs": 1, "soft": {"weight": 1}})
    for name in ("student", "kept", "further"):
        make.run(project, name)
    student = load(project / "models" / "student")
    assert_equal_outputs(load(project / "models" / "kept"), student, torch.randn(4, 1, 8, 8))
    lineage = files.read_json(project / "models" / "further" / "lineage.json")
    assert set(lineage["models"]) == {"student", "teacher"}
    assert lineage["base_macs"] == count_macs(student, torch.zeros(1, 1, 8, 8))
    images = read_split(project / "prepared", "validation").inputs
    front = Job.of(project, "further", read_params(project)).data.front
    answers = load(project / "models" / "teacher")(front(images)).softmax(1)

    def distance(name):
        outputs = load(project / "models" / name)(front(images))
        return float(-(answers * outputs.log_softmax(1)).sum(1).mean().detach())

    assert distance("further") < distance("kept")


def test_the_same_entry_gives_the_same_bytes_elsewhere(tiny, tiny_copy):
    project = tiny_copy("teacher")
    torch.rand(17)
    make.run(project, "teacher")
    assert content_hash(project / "models" / "teacher") == content_hash(tiny / "models" / "teacher")


def test_a_finished_model_is_not_made_again(tiny_copy, capsys, monkeypatch):
    project = tiny_copy()
    before = kept(project / "models" / "teacher")
    monkeypatch.setattr(siblings, "operation_named", None)
    make.run(project, "teacher")
    assert capsys.readouterr().out == "teacher: already made from these inputs\n"
    assert kept(project / "models" / "teacher") == before


def test_training_imports_neither_a_compiler_nor_tables_nor_statistics(tiny, tiny_copy):
    """Each costs as much as making a small model: torch's compiler 1.3 s, scipy's statistics 0.6 s, pandas 0.3 s."""
    project = tiny_copy("teacher")
    program = (
        "import sys\n"
        "from espalier.cli import main\n"
        "try:\n"
        "    main(['make', 'teacher'])\n"
        "except SystemExit as ended:\n"
        "    heavy = {'torch._dynamo', 'sympy', 'scipy', 'pandas', 'torchvision', 'onnxscript'}\n"
        "    print(ended.code, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    assert content_hash(project / "models" / "teacher") == content_hash(tiny / "models" / "teacher")


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_a_damaged_model_is_made_again(tiny, tiny_copy, name):
    project = tiny_copy()
    path = project / "models" / "teacher" / name
    path.write_bytes(path.read_bytes()[:-1])
    make.run(project, "teacher")
    assert content_hash(project / "models" / "teacher") == content_hash(tiny / "models" / "teacher")


@pytest.mark.parametrize(
    "keys",
    [{"epochs": 1}, {"learning_rate": 0.05}, {"arguments": {"depth": 8, "width": 4}}],
    ids=str,
)
def test_another_entry_is_made_anew_in_the_place_of_the_former(tiny_copy, keys):
    project = tiny_copy()
    before = content_hash(project / "models" / "teacher")
    change(project, teacher=keys)
    make.run(project, "teacher")
    assert content_hash(project / "models" / "teacher") != before
    assert [path.name for path in (project / "models").iterdir()] == ["teacher"]


@pytest.fixture
def edit_meanwhile(monkeypatch):
    """Change a project at the end of the training of its next model."""
    make_siblings = siblings.make

    def after_training(change):
        def make_and_change(job):
            result = make_siblings(job)
            monkeypatch.undo()
            change()
            return result

        monkeypatch.setattr(siblings, "make", make_and_change)

    return after_training


def test_an_entry_that_was_edited_while_it_trained_is_not_published(tiny_copy, edit_meanwhile):
    project = tiny_copy("teacher")
    edit_meanwhile(lambda: change(project, teacher={"epochs": 1}))
    with pytest.raises(TryAgain, match=r"of teacher .*found other `entry`, `recipe` \(epochs\)"):
        make.run(project, "teacher")
    assert not (project / "models" / "teacher").exists()
    assert any((project / ".espalier" / "checkpoints").iterdir())
    make.run(project, "teacher")
    lineage = Project(project, read_params(project), torch.device("cpu")).lineage("teacher")
    assert lineage["recipe"]["epochs"] == 1


def test_a_parent_that_was_replaced_meanwhile_is_noticed(tiny_copy, edit_meanwhile):
    project = tiny_copy()
    parent = project / "models" / "teacher"

    def replace_parent():
        shutil.rmtree(parent)
        change(project, teacher={"learning_rate": 0.03})
        make.run(project, "teacher")

    edit_meanwhile(replace_parent)
    with pytest.raises(TryAgain, match=r"found other `models`"):
        make.run(project, "student")
    assert not (project / "models" / "student").exists()


def test_other_entries_may_be_edited_meanwhile(tiny_copy, edit_meanwhile):
    project = tiny_copy("teacher")
    edit_meanwhile(lambda: change(project, student={"epochs": 7}))
    make.run(project, "teacher")
    assert (project / "models" / "teacher").exists()


def test_a_checkpoint_of_another_entry_is_not_gone_on_from(tiny_copy, monkeypatch):
    """The teacher is stopped in its first epoch; what is made then has another learning rate from its first step."""
    project, other = tiny_copy("teacher"), tiny_copy("teacher")
    requests = []
    monkeypatch.setattr(
        "espalier.training.engine._Run._stop_asked", lambda run, request: requests.append(1) or True
    )
    with pytest.raises(Stopped):
        make.run(project, "teacher")
    monkeypatch.undo()
    (stale,) = (project / ".espalier" / "checkpoints").iterdir()
    for one in (project, other):
        change(one, teacher={"learning_rate": 0.05, "epochs": 1})
        make.run(one, "teacher")
    assert content_hash(project / "models" / "teacher") == content_hash(
        other / "models" / "teacher"
    )
    assert stale.exists()


def test_the_key_changes_with_every_input_of_the_result_and_with_nothing_else(tiny_copy):
    project = tiny_copy()

    def key(name="teacher"):
        return Job.of(project, name, read_params(project)).key

    keys = [key()]
    for keys_of_entry in ({"epochs": 3}, {"arguments": {"depth": 8, "width": 4}}, {"threads": 2}):
        change(project, teacher=keys_of_entry)
        keys.append(key())
    path = project / "params.yaml"
    path.write_text(path.read_text() + "seed: 1\n")
    keys.append(key())
    dataset = project / "prepared" / "dataset.json"
    dataset.write_text(dataset.read_text() + "\n")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    students = key("student")
    change(project, student_p60={"keep_macs": 0.7})
    assert (key(), key("student")) == (keys[-1], students)
    weights = project / "models" / "teacher"
    network = load(weights)
    with torch.no_grad():
        network.head.bias[0] += 1
    from espalier.models import save

    save(network, weights)
    assert key("student") != students


def test_the_threads_of_an_entry_are_those_it_is_made_with(tiny_copy):
    project = tiny_copy()
    change(project, teacher={"threads": 2})
    Job.of(project, "teacher", read_params(project))
    assert torch.get_num_threads() == 2
    Job.of(project, "student", read_params(project))
    assert torch.get_num_threads() == 1


def test_the_test_split_is_not_needed_and_cannot_be_read(tiny, tiny_copy):
    project = tiny_copy("teacher")
    (project / "prepared" / "test.safetensors").unlink()
    make.run(project, "teacher")
    assert content_hash(project / "models" / "teacher") == content_hash(tiny / "models" / "teacher")
    with pytest.raises(BadInput) as caught:
        Job.of(project, "teacher", read_params(project)).data.open("test")
    assert_explains(caught.value, "train and validation", "test")


def test_a_baseline_is_trained_as_long_as_its_parent_and_their_ancestors(tiny_copy, built_project):
    """The student's two epochs and the cut's one."""
    project = tiny_copy()
    shutil.copytree(built_project / "models", project / "models", dirs_exist_ok=True)
    change(project, fresh={"from": "student-p60", "by": "baseline"})
    make.run(project, "fresh")
    epochs = {
        name: len((project / "models" / name / "history.csv").read_text().splitlines()) - 1
        for name in ("student", "student-p60", "fresh")
    }
    assert epochs["fresh"] == epochs["student"] + epochs["student-p60"] == 3
    cut, fresh = (load(project / "models" / name) for name in ("student-p60", "fresh"))
    shapes = [{key: value.shape for key, value in one.state_dict().items()} for one in (cut, fresh)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("finetune", "epochs"), [({}, 3 + 1), ({"epochs": 5}, 5 + 1)])
def test_the_epochs_of_a_baseline_of_a_baseline_are_counted_from_the_first_one_on(
    tiny_copy, finetune, epochs
):
    project = tiny_copy()
    change(
        project,
        fresh={"from": "student-p60", "by": "baseline", "finetune": finetune},
        cut={"from": "fresh", "by": "prune", "keep_macs": 0.5, "finetune": {"epochs": 1}},
        again={"from": "cut", "by": "baseline"},
    )
    assert epochs_until(Job.of(project, "again", read_params(project)), "cut") == epochs


def test_a_baseline_of_a_network_from_elsewhere_needs_its_epochs(tiny_copy):
    project = tiny_copy()
    text = (project / "params.yaml").read_text()
    imported = {
        "from": "teacher",
        "by": "import",
        "model": "espalier:mlp",
        "weights": "models/teacher/weights.safetensors",
    }
    change(project, other=imported, fresh={"from": "other", "by": "baseline"})
    assert text != (project / "params.yaml").read_text()
    with pytest.raises(BadInput, match=r"`finetune: \{epochs: ...\}` of fresh"):
        epochs_until(Job.of(project, "fresh", read_params(project)), "other")


def _refuse_a_transform(outputs):
    """`Inference.outputs` that fails for augmented examples, which only teachers are asked about."""

    def outputs_as_stored(inference, network, transform=None, **keywords):
        assert transform is None
        return outputs(inference, network, transform, **keywords)

    return outputs_as_stored


def test_students_and_cuts_ask_the_teacher_once(tiny_copy, built_project, monkeypatch):
    """The cut and a second student read the answers that the first student's training left."""
    (bank,) = (built_project / ".espalier" / "bank").iterdir()
    assert sorted(path.name.partition("-")[2][:4] for path in bank.iterdir()) == ["0000", "0001"]
    project = tiny_copy()
    shutil.copytree(bank.parent, project / ".espalier" / "bank")
    shutil.copytree(built_project / "models" / "student", project / "models" / "student")
    change(
        project, second={"from": "teacher", "by": "distill", "model": "espalier:mlp", "epochs": 2}
    )
    monkeypatch.setattr(Inference, "outputs", _refuse_a_transform(Inference.outputs))
    make.run(project, "second")
    make.run(project, "student-p60")
    assert content_hash(project / "models" / "student-p60") == content_hash(
        built_project / "models" / "student-p60"
    )


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
@pytest.mark.parametrize("child", ["student", "student-int8"])
def test_a_damaged_parent_is_refused_by_the_file(
    tiny_copy, built_project, monkeypatch, capsys, name, child
):
    project = tiny_copy()
    shutil.copytree(built_project / "models" / "student", project / "models" / "student")
    path = project / "models" / ("teacher" if child == "student" else "student") / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before = kept(project / "models" / "student")
    change(project, student={"learning_rate": 0.05})
    monkeypatch.chdir(project)
    monkeypatch.setattr(
        warnings, "showwarning", warnings.showwarning
    )  # the command line puts its own there
    with pytest.raises(SystemExit) as caught:
        cli.main(["make", child])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(path) in said
    assert kept(project / "models" / "student") == before
    assert not (project / "models" / "student-int8").exists()


def test_a_missing_parent_and_an_unknown_entry_are_refused(tiny_copy):
    project = tiny_copy("teacher")
    with pytest.raises(BadInput) as caught:
        make.run(project, "student")
    assert_explains(caught.value, str(project / "models" / "teacher"))
    with pytest.raises(BadInput) as caught:
        make.run(project, "pupil")
    assert_explains(caught.value, "teacher, student, student-p60", "'pupil'")


def test_a_loss_that_stays_not_finite_leaves_the_former_model(tiny_copy):
    project = tiny_copy()
    before = kept(project / "models" / "teacher")
    change(
        project,
        teacher={"learning_rate": 1e30, "clip_norm": 0, "rollbacks": 1, "schedule": "constant"},
    )
    with pytest.raises(BadInput) as caught:
        make.run(project, "teacher")
    assert_explains(caught.value, "loss", "finite", "`learning_rate = 1e+30`")
    assert kept(project / "models" / "teacher") == before


@pytest.fixture
def gated(tiny_copy):
    """Projects whose teacher waits in the step that GATE names."""

    def copy():
        project = tiny_copy("teacher")
        (project / "gate.py").write_text(GATE)
        change(project, teacher={"model": "gate:net", "arguments": {}})
        path = project / "params.yaml"
        path.write_text(path.read_text() + "trusted: [gate]\n")
        return project

    return copy


class Making:
    """A process `espalier make teacher`, or a program in its place, that waits in a step."""

    def __init__(self, project: Path, step: int, program: str = ""):
        environment = os.environ | {
            "GATE": str(step),
            "PYTHONPATH": os.pathsep.join(
                [str(project), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "ESPALIER_OUTCOME": str(project / "outcome.json"),
        }
        command = [
            sys.executable,
            *(["-c", program] if program else ["-m", "espalier", "make", "teacher"]),
        ]
        self.project = project
        self.process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.reached = project / f"reached-{self.process.pid}"

    def wait(self) -> None:
        deadline = time.monotonic() + 120
        while not self.reached.exists():
            assert self.process.poll() is None, (
                f"ended with {self.process.returncode} before the step"
            )
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        (self.project / "go").touch()
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said


@pytest.fixture
def making():
    started = []

    def start(*given):
        started.append(Making(*given))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The hash of the gated teacher without interruption."""
    project = tmp_path_factory.mktemp("whole") / "tiny"
    shutil.copytree(tiny, project)
    (project / "gate.py").write_text(GATE)
    change(project, teacher={"model": "gate:net", "arguments": {}})
    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text() + "trusted: [gate]\n"
    )
    sys.path.insert(0, str(project))
    make.run(project, "teacher")
    yield content_hash(project / "models" / "teacher")
    sys.path.remove(str(project))
    sys.modules.pop("gate", None)


def checkpoints(project):
    return list(
        (project / ".espalier" / "checkpoints").glob("teacher-*/fit/checkpoint-*.safetensors")
    )


def test_killed_in_its_second_epoch_and_run_again_it_ends_with_the_same_bits(gated, making, whole):
    project = gated()
    one = making(project, STEPS + 3)
    one.wait()
    assert len(checkpoints(project)) == 1  # of the first epoch
    one.process.send_signal(signal.SIGKILL)
    assert one.process.wait() == -signal.SIGKILL
    assert not (project / "models" / "teacher").exists()
    make.run(project, "teacher")
    assert content_hash(project / "models" / "teacher") == whole
    assert checkpoints(project) == []


def test_stopped_it_says_so_and_run_again_it_ends_with_the_same_bits(gated, making, whole):
    project = gated()
    one = making(project, 3)
    one.wait()
    assert checkpoints(project) == []
    one.process.send_signal(signal.SIGTERM)
    status, _ = one.end()
    assert status == 143
    outcome = json.loads((project / "outcome.json").read_text())
    assert outcome["status"] == 143
    assert "after step 3" in outcome["message"]
    assert len(checkpoints(project)) == 1  # of the middle of the first epoch
    assert not (project / "models" / "teacher").exists()
    make.run(project, "teacher")
    assert content_hash(project / "models" / "teacher") == whole


@pytest.mark.slow
def test_a_stage_that_waits_for_another_process_is_stopped_by_sigterm(gated, making):
    project = gated()
    first = making(project, 2)
    first.wait()
    second = making(project, 2, TELLING)
    second.wait()
    time.sleep(0.5)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 143
    assert first.process.poll() is None  # it holds the lock
    outcome = json.loads((project / "outcome.json").read_text())
    assert outcome["message"].startswith("teacher: The command was stopped while it waited")


def test_two_at_once_train_once(gated, making, whole):
    """The second comes to the lock while the first is in its second step, and waits until the first is done."""
    project = gated()
    first = making(project, 2)
    first.wait()
    second = making(project, 2, TELLING)
    second.wait()
    time.sleep(1)
    assert second.process.poll() is None
    ended = [first.end(), second.end()]
    assert [status for status, _ in ended] == [0, 0]
    assert "already made" not in ended[0][1]
    waiting, last = ended[1][1].splitlines()
    holder = rf"process {first.process.pid} on \S+, since \d\d:\d\d"
    assert re.fullmatch(rf"teacher: waiting: another process is making it \({holder}\)", waiting)
    assert last == "teacher: already made from these inputs"
    assert {path.name: path.read_text() for path in project.glob("reached-*")} == {
        first.reached.name: "the step",
        second.reached.name: "the lock",
    }
    assert content_hash(project / "models" / "teacher") == whole
