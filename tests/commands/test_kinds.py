"""Rows, texts and clips go the whole way: prepared, taught, pruned, quantized, judged, registered and promoted."""

import json
import shutil

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
import yaml
from examples_of_kinds import pixels_as_table, pixels_of_heads, texts_as_lines, tones
from selection import mostly_slow

from espalier import files
from espalier.commands import data, evaluate, make, models, prepare, register, show
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput, Notice
from espalier.making.job import Job
from espalier.making.teachers import bank_of
from espalier.models import load
from espalier.models.folder import content_hash
from espalier.params import read_params
from espalier.paths import content_files
from espalier.registry.promotion import promote
from espalier.training.device import trains_in_bfloat16

pytestmark = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")

GATES = """\
champion: {gates: {examples: 20, drop: 0.9, champion_drop: 0.9, worst_class_drop: 1.0, torch_agreement: 0.8}}
"""
PARAMS = """\
data: {seed: 0, %s}
training: {batch_size: 32, optimizer: adamw, learning_rate: 0.005, epochs: %d, threads: 1}
teacher:
  model: %s
  arguments: %s
models:
  student: {from: teacher, by: distill, model: %s, arguments: %s}
  half: {from: student, by: prune, keep_macs: 0.6, align: 1, finetune: {epochs: 1}}
  int8: {from: half, by: quantize}
evaluation: {rounds: 3, threads: 1}
registry: {name: kinds}
"""
NETWORKS = {
    "table": ("'espalier:mlp'", "{hidden: [32]}", "'espalier:mlp'", "{hidden: [16]}"),
    "text": (
        "'espalier:text_encoder'",
        "{width: 16, layers: 1, heads: 2}",
        "'espalier:text_cnn'",
        "{width: 16, filters: 16}",
    ),
    "recurrent": (
        "'espalier:text_cnn'",
        "{width: 16, filters: 16}",
        "'espalier:text_lstm'",
        "{width: 16, hidden: 16}",
    ),
    "audio": (
        "'espalier:resnet'",
        "{depth: 8, width: 8}",
        "'espalier:resnet'",
        "{depth: 8, width: 4}",
    ),
}


def project(root, kind, epochs, settings):
    root.mkdir()
    files.write(root / "params.yaml", PARAMS % (settings, epochs, *NETWORKS[kind]))
    files.write(root / "mlflow" / "gates.yaml", GATES)
    return root


def ink(root, digits):
    project(root, "table", 6, "task: {name: regression, tolerance: 3}")
    return pixels_as_table(digits, root / "ink.csv", "ink")


def pages(root, _digits):
    project(root, "text", 4, "text: {vocabulary: 500}")
    return texts_as_lines(root / "texts.jsonl")


def words(root, _digits):
    project(root, "recurrent", 4, "text: {vocabulary: 500}")
    return texts_as_lines(root / "texts.jsonl", sets=True)


def sounds(root, _digits):
    project(root, "audio", 3, "audio: {mels: 16, window: 0.02, hop: 0.02}")
    return tones(root / "tones")


def heads(root, digits):
    keys = "heads: {digit: {}, ink: {weight: 2, tolerance: 3000}}"
    gates = GATES.replace("drop: 0.9", "head_drops: {digit: 0.9, ink: 0.9}, drop: 0.9", 1)
    files.write(project(root, "table", 6, keys) / "mlflow" / "gates.yaml", gates)
    return pixels_of_heads(digits, root / "heads.csv")


CASES = {
    "heads": (heads, "table", "outputs", "mean_score", ("digit.ece", "ink.rmse", "ink.drop_high")),
    "regression": (ink, "table", "value", "within_tolerance", ("rmse", "r2")),
    "texts": (pages, "text", "logits", "accuracy", ("ece",)),
    "multilabel": (words, "text", "logits", "jaccard", ("macro_f1", "map")),
    "clips": (sounds, "audio", "logits", "accuracy", ("ece",)),
}


only_heads = pytest.mark.parametrize("built", ["heads"], indirect=True)


@pytest.fixture(scope="module", params=mostly_slow(CASES, "heads", "regression", "multilabel"))
def built(request, tmp_path_factory, digits):
    """A project whose models are made, judged and registered."""
    write = CASES[request.param][0]
    root = tmp_path_factory.mktemp(request.param) / "project"
    source = write(root, digits)
    data.run(root, str(source), None)
    prepare.run(root)
    for name in read_params(root).names:
        make.run(root, name)
    evaluate.run(root)
    register.run(root)
    return root, *CASES[request.param][1:]


def test_the_deployed_files_take_and_give_what_the_data_say(built):
    root, kind, output, *_ = built
    dataset = read_dataset(root / "prepared")
    assert dataset.kind == kind
    for name in read_params(root).names:
        graph = onnx.load(root / "models" / name / "model.onnx").graph
        assert (graph.input[0].name, graph.output[0].name) == (kind, output)


def test_the_table_has_the_score_of_the_task_with_its_interval_and_further_figures(built):
    root, _, _, headline, further = built
    table = pd.read_csv(root / "reports" / "models.csv", index_col="model")
    for name, row in table.iterrows():
        assert 0 <= row[f"{headline}_low"] <= row[headline] <= row[f"{headline}_high"] <= 1
        assert row["drop_low"] <= row["drop"] <= row["drop_high"], name
        assert np.isfinite(row[list(further)].to_numpy(float)).all()
    assert table[headline]["teacher"] > {"within_tolerance": 0.5, "jaccard": 0.3}.get(headline, 0.4)


def test_the_predictions_are_those_of_the_file_in_the_unit_of_the_targets(built):
    root, _, output, headline, _ = built
    task = read_dataset(root / "prepared").build_task()
    targets = read_split(root / "prepared", "test").targets.numpy()
    found = pd.read_parquet(root / "reports" / "predictions" / "student.parquet")
    outputs = np.stack(found[output].to_list())
    scores = task.scores(task.answers(outputs), targets)
    table = pd.read_csv(root / "reports" / "models.csv", index_col="model")
    assert scores.mean() == pytest.approx(table[headline]["student"])
    if task.name == "regression":
        assert abs(outputs.mean() - targets.mean()) < targets.std()


def test_the_bank_holds_what_the_network_of_the_teacher_computes(built):
    """A teacher answers by its deployed file where that computes the same: not in the unit of the targets."""
    taught = Job.of(built[0], "student", read_params(built[0]))
    network, data = taught.project.load("teacher"), taught.data
    kept = bank_of(taught, "teacher").view(0)
    batch = next(data.train.batches([torch.arange(64)], 0))
    with torch.no_grad():
        computed = network(data.front(data.augmentations.apply(batch.inputs, batch.index, 0)))
    in_bfloat16 = trains_in_bfloat16(taught.recipe, taught.processes.device)
    tolerance = 5e-2 if in_bfloat16 else 2e-3  # of 8 bits in each layer, or of float16 that is kept
    assert torch.allclose(kept[:64], computed, rtol=tolerance, atol=tolerance)


def test_the_best_model_is_promoted_by_its_gates(built, capsys):
    root, _, _, headline, _ = built
    assert [move.alias for move in promote(root)] == ["champion"]
    assert promote(root) == []
    models.run(root)
    shown = capsys.readouterr().out
    assert "champion" in shown
    words = {"jaccard": "Jaccard", "within_tolerance": "within", "mean_score": "mean score"}
    assert words.get(headline, "%") in shown


def test_the_page_shows_forgotten_examples_as_they_are(built):
    root, kind, *_ = built
    page = (root / "reports" / "index.html").read_text()
    table = pd.read_csv(root / "reports" / "models.csv")
    if kind in ("table", "text") and table["forgotten"].any():
        assert "<blockquote>" in page
    assert read_dataset(root / "prepared").build_task().headline.title in page


def test_texts_come_with_their_tokenizer_and_it_counts_as_content(built):
    root, kind, *_ = built
    folder = root / "models" / "student"
    if kind != "text":
        assert not (folder / "tokenizer.json").exists()
        return
    written = json.loads((folder / "tokenizer.json").read_text())
    dataset = read_dataset(root / "prepared")
    learned = {
        key: dataset.facts.tokenizer[key] for key in ("normalizer", "pre_tokenizer", "model")
    }
    assert learned.items() <= written.items()
    assert written["truncation"]["max_length"] == dataset.shape[0]
    before = content_hash(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        content_hash(folder)
    files.write_json(folder / "tokenizer.json", written)
    assert content_hash(folder) == before


def test_outputs_that_are_classes_have_their_names_beside_the_file(built):
    root, _, _, headline, _ = built
    path = root / "models" / "int8" / "classes.json"
    if headline not in ("accuracy", "jaccard"):
        assert not path.exists()
        return
    names = json.loads(path.read_text())["classes"]
    assert tuple(names) == read_dataset(root / "prepared").classes
    assert path.name in content_files(files.read_manifest(path.parent))


def test_layers_are_listed_with_what_losses_can_pair_or_with_their_weights(built, capsys):
    root, kind, *_ = built
    show.run(root, "student")
    header, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    if kind == "audio":
        assert header[-3:] == ["pair", "in", "teacher"]
        return
    assert header == ["layer", "kind", "weights"]
    assert len(lines) > 1
    modules = {
        name: type(one).__name__ for name, one in load(root / "models" / "student").named_modules()
    }
    assert all(modules[name] == kind for name, kind, *_ in lines)


def test_losses_of_other_tasks_are_refused_with_the_known_ones(built, tmp_path):
    root, _, _, headline, _ = built
    if headline == "accuracy":
        pytest.skip("a classification has every loss")
    project = tmp_path / "project"
    shutil.copytree(root, project)
    text = (project / "params.yaml").read_text()
    changed = text.replace("by: distill,", "by: distill, losses: [{loss: decoupled}],")
    (project / "params.yaml").write_text(changed)
    with pytest.raises(BadInput, match="soft_targets, squared_error, labels"):
        make.run(project, "student")


def test_the_plots_of_dvc_name_columns_that_every_task_has(built, project_root):
    root, _, _, headline, _ = built
    for plots in yaml.safe_load((project_root / "dvc.yaml").read_text())["plots"]:
        for path, keys in plots.items():
            tables = sorted((root / path).iterdir()) if (root / path).is_dir() else [root / path]
            assert tables
            for one in tables:
                table = pd.read_csv(one)
                assert {keys["x"], keys["y"]} <= set(table.columns)
                assert table[keys["y"]].equals(table[headline])


@only_heads
def test_every_head_is_judged_by_itself_and_survives_integers(built):
    root, *_ = built
    table = pd.read_csv(root / "reports" / "models.csv", index_col="model")
    each = {"digit": "accuracy", "ink": "within_tolerance"}
    assert table["mean_score"].to_numpy() == pytest.approx(
        sum(table[f"{head}.{name}"] for head, name in each.items()).to_numpy() / 2
    )
    for head, name in each.items():
        assert (table[f"{head}.{name}_low"] <= table[f"{head}.{name}_high"]).all()
        assert table[f"{head}.{name}"]["teacher"] > 0.6
        # one scale for logits and for values of 70,000 would leave no step for a logit
        assert table[f"{head}.{name}"]["int8"] > table[f"{head}.{name}"]["half"] - 0.15
    groups = pd.read_csv(root / "reports" / "classes.csv")["class"]
    assert {"digit: 3", "ink: highest quarter"} <= set(groups)
    page = (root / "reports" / "index.html").read_text()
    assert "digit: accuracy %" in page
    assert "head drops.ink" in page


@only_heads
def test_a_head_is_known_by_the_columns_of_its_outputs(built):
    root, *_ = built
    outputs = json.loads((root / "models" / "int8" / "heads.json").read_text())
    found = pd.read_parquet(root / "reports" / "predictions" / "int8.parquet")
    values, targets = np.stack(found["outputs"].to_list()), np.stack(found["label"].to_list())
    first, last = outputs["digit"]["columns"]
    assert outputs["ink"]["columns"] == [last, values.shape[1]]
    table = pd.read_csv(root / "reports" / "models.csv", index_col="model")
    right = values[:, first:last].argmax(1) == targets[:, 0]
    assert right.mean() == pytest.approx(table["digit.accuracy"]["int8"])
    near = abs(values[:, -1] - targets[:, 1]) <= 3000
    assert near.mean() == pytest.approx(table["ink.within_tolerance"]["int8"])


@only_heads
def test_the_bytes_of_a_cut_are_those_of_the_deployed_file_of_a_table(built, tmp_path):
    root, *_ = built
    project = tmp_path / "project"
    shutil.copytree(root, project)
    most = int(0.8 * (root / "models" / "student" / "model.onnx").stat().st_size)
    text = (root / "params.yaml").read_text().replace("keep_macs: 0.6", f"bytes: {most}")
    (project / "params.yaml").write_text(text)
    make.run(project, "half")
    found = (project / "models" / "half" / "model.onnx").stat().st_size
    assert 0.95 * most <= found <= most  # a channel of the small student is 4 % of it


@only_heads
def test_a_loss_can_be_of_one_head_alone(built, tmp_path):
    root, *_ = built
    project = tmp_path / "project"
    shutil.copytree(root, project)
    text = (root / "params.yaml").read_text()

    def make_with(losses):
        changed = text.replace("by: distill,", f"by: distill, losses: [{losses}],")
        (project / "params.yaml").write_text(changed)
        make.run(project, "student")

    make_with("{loss: decoupled, head: digit}, {loss: labels, head: ink, weight: 3}")
    metrics = json.loads((project / "models" / "student" / "metrics.json").read_text())
    assert metrics["validation_mean_score"] > 0.4
    with pytest.warns(Notice, match="No loss of student reaches ink, so these outputs"):
        make_with("{loss: labels, head: digit}")
    with pytest.raises(
        BadInput, match=r"`class_weights` of student .* found several heads: `head`"
    ):
        make_with("{loss: labels, class_weights: balanced}")
    with pytest.raises(BadInput, match="`head` of student to be digit, ink; found 'ink_'"):
        make_with("{loss: labels, head: ink_}")
    with pytest.raises(BadInput, match="a regression, the head ink has: soft_targets, squared_err"):
        make_with("{loss: dist, head: ink}")
