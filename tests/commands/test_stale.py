"""A model that was made from other inputs than `params.yaml` has now is refused by name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from properties import assert_explains
from torch import nn

from espalier import files
from espalier.commands import evaluate, make, promote, register
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.models import load, save
from espalier.models.structure import replace_layer
from espalier.params import read_params
from espalier.params.lineage import declared_inputs, refuse_stale

NAMES = ("student", "student-p60", "student-int8")


@pytest.fixture(scope="module")
def judged(tiny, tmp_path_factory):
    """A project whose models are all made, evaluated and registered."""
    root = shutil.copytree(tiny, tmp_path_factory.mktemp("stale") / "project")
    for name in NAMES:
        make.run(root, name)
    (root / "mlflow").mkdir()
    (root / "mlflow" / "gates.yaml").write_text("champion: {}")
    evaluate.run(root)
    register.run(root)
    return root


@pytest.fixture
def project(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "project")


def edit(root, place, value):
    """Set one key of `params.yaml`, by its path with dots."""
    content = yaml.safe_load((root / "params.yaml").read_text())
    section, (*parents, last) = content, place.split(".")
    for one in parents:
        section = section.setdefault(one, {})
    section[last] = value
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def change_lineage(root, name, change):
    folder = root / "models" / name
    lineage = files.read_json(folder / "lineage.json")
    files.write_json(folder / "lineage.json", change(lineage))
    files.seal(folder)


EDITS = {
    "models.student.epochs": (4, ("student", "`epochs: 4`", "params.yaml", "found 2")),
    "training.batch_size": (32, ("teacher", "`batch_size: 32`", "found 64")),
    "seed": (3, ("teacher", "`seed: 3`", "found 0", "student-int8")),
    "models.student-p60.keep_macs": (0.7, ("student-p60", "`keep_macs: 0.7`", "found 0.6")),
    "models.student-p60.finetune.epochs": (2, ("student-p60", "`epochs: 2`", "found 1")),
    "models.student-int8.from": ("teacher", ("student-int8", "`from: teacher`", "found student")),
    "models.student.arguments.width": (6, ("student", "`arguments.width: 6`", "found 4")),
    "models.student.seeds": (2, ("student", "`seeds: 2`")),
}


@pytest.mark.parametrize("place", EDITS)
@pytest.mark.parametrize("command", [evaluate, register, promote])
def test_a_model_made_with_other_parameters_is_refused_by_name(project, place, command):
    value, words = EDITS[place]
    before = {path: path.read_bytes() for path in project.rglob("*.csv")}
    receipt = (project / "registered.json").read_bytes()
    edit(project, place, value)
    with pytest.raises(BadInput) as refused:
        command.run(project)
    assert_explains(refused.value, *words, "dvc repro")
    assert {path: path.read_bytes() for path in project.rglob("*.csv")} == before
    assert (project / "registered.json").read_bytes() == receipt


def test_check_refuses_it_too_and_the_former_value_is_accepted_again(project):
    edit(project, "models.student.epochs", 4)
    with pytest.raises(BadInput, match="`epochs: 4`"):
        register.run(project, check=True)
    edit(project, "models.student.epochs", 2)
    register.run(project, check=True)


def test_a_model_whose_parent_was_made_again_is_named(project):
    edit(project, "models.student.epochs", 1)
    make.run(project, "student")
    with pytest.raises(BadInput) as refused:
        register.run(project)
    assert_explains(refused.value, "student-p60", "as models/student says", "student-int8")


def test_a_model_of_other_data_is_named(project):
    path = project / "prepared" / "dataset.json"
    files.write_json(path, files.read_json(path) | {"name": "other"})
    with pytest.raises(BadInput) as refused:
        register.run(project)
    assert_explains(
        refused.value, "teacher", "`data: ", "as prepared says", "espalier make teacher"
    )


def test_sections_that_make_no_other_model_may_change(project):
    edit(project, "evaluation.threads", 2)
    edit(project, "registry.promote", True)
    edit(project, "trusted", ["somebody"])
    refuse_stale(project, read_params(project))


def test_keys_that_older_lineages_lack_count_by_their_defaults(project):
    def without(lineage):
        newer = ("patience", "sampler", "freeze")
        recipe = {key: value for key, value in lineage["recipe"].items() if key not in newer}
        entry = {key: value for key, value in lineage["entry"].items() if value is not None}
        return lineage | {"recipe": recipe, "entry": entry}

    for name in NAMES:
        change_lineage(project, name, without)
    refuse_stale(project, read_params(project))
    edit(project, "models.student.sampler", "balanced")
    with pytest.raises(BadInput, match=r"`sampler: balanced`.*found shuffle"):
        refuse_stale(project, read_params(project))
    for name in NAMES:
        change_lineage(project, name, lambda lineage: {"name": lineage["name"]})
    refuse_stale(project, read_params(project))


def templates():
    folder = Path(evaluate.__file__).parents[1] / "templates" / "recipes"
    return sorted(folder.glob("*.yaml"), key=lambda path: path.name)


LOSSES = """
teacher: {model: "espalier:resnet"}
models:
  student:
    from: teacher
    by: distill
    model: "espalier:resnet"
    seeds: 3
    losses:
      - {loss: soft_targets, weight: {start: 0.1, end: 0.9}, temperature: 4}
      - {loss: labels, weight: 0.1}
"""
RECIPES = {path.stem: path.read_text() for path in templates()} | {"losses": LOSSES}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_inputs_that_every_kind_of_entry_declares_equal_those_of_its_lineage(recipe, tmp_path):
    (tmp_path / "params.yaml").write_text(RECIPES[recipe])
    params = read_params(tmp_path)
    for name in params.names:
        lineage = json.loads(json.dumps(declared_inputs(params, name)))
        files.write_json(tmp_path / "models" / name / "lineage.json", lineage)
    refuse_stale(tmp_path, params)
    last = params.names[-1]
    files.write_json(tmp_path / "models" / last / "lineage.json", lineage | {"seed": 99})
    with pytest.raises(BadInput, match=f"{last} .*`seed: .*found 99"):
        refuse_stale(tmp_path, params)


def test_a_key_within_a_list_of_losses_is_named_and_a_newer_one_counts_by_its_default(tmp_path):
    (tmp_path / "params.yaml").write_text(LOSSES)
    lineage = json.loads(json.dumps(declared_inputs(read_params(tmp_path), "student")))
    del lineage["entry"]["losses"][1]["class_weights"]
    files.write_json(tmp_path / "models" / "student" / "lineage.json", lineage)
    refuse_stale(tmp_path, read_params(tmp_path))
    (tmp_path / "params.yaml").write_text(LOSSES.replace("temperature: 4", "temperature: 2"))
    with pytest.raises(BadInput, match=r"`losses\.0\.temperature: 2\.0`.*found 4\.0"):
        refuse_stale(tmp_path, read_params(tmp_path))


def test_the_comparison_needs_no_torch():
    program = (
        "import sys; import espalier.params.lineage; import espalier.commands.register; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_teacher_of_equal_weights_in_another_network_is_another_teacher(project, capsys):
    """Its architecture counts: corrected arguments of an imported network, for example."""
    folder = project / "models" / "teacher"
    network = load(folder)
    before = files.sha256(folder / "weights.safetensors")
    taught = files.sha256(project / "models" / "student" / "weights.safetensors")
    replace_layer(network, "stages.0.0.shortcut", nn.Tanh())
    save(network, folder)
    dataset, images = read_dataset(project / "prepared"), read_split(project / "prepared", "test")
    export(network, folder / "model.onnx", images.inputs[:32], dataset.front())
    files.seal(folder)
    assert files.sha256(folder / "weights.safetensors") == before
    with pytest.raises(BadInput) as error:
        refuse_stale(project, read_params(project))
    assert_explains(error.value, "student", "teacher")
    make.run(project, "student")
    assert "already made" not in capsys.readouterr().out
    assert files.sha256(project / "models" / "student" / "weights.safetensors") != taught
    assert len(list((project / ".espalier" / "bank").iterdir())) == 2
