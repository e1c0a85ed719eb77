"""Rows, texts and clips go the whole way: prepared, taught, pruned, quantized, judged, registered and promoted."""

import json
import shutil

import numpy as np
import onnx
import pandas as pd
import pytest
from examples_of_kinds import pixels_as_table, texts_as_lines, tones

from espalier import files
from espalier.commands import data, evaluate, make, models, prepare, register, show
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput
from espalier.models.folder import content_hash
from espalier.params import read_params
from espalier.registry.promotion import promote

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
    project(root, "text", 4, "text: {vocabulary: 500}")
    return texts_as_lines(root / "texts.jsonl", sets=True)


def sounds(root, _digits):
    project(root, "audio", 3, "audio: {mels: 16, window: 0.02, hop: 0.02}")
    return tones(root / "tones")


CASES = {
    "regression": (ink, "table", "value", "within_tolerance", ("rmse", "r2")),
    "texts": (pages, "text", "logits", "accuracy", ("ece",)),
    "multilabel": (words, "text", "logits", "jaccard", ("macro_f1", "map")),
    "clips": (sounds, "audio", "logits", "accuracy", ("ece",)),
}


@pytest.fixture(scope="module", params=CASES)
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


def test_the_best_model_is_promoted_by_its_gates(built, capsys):
    root, _, _, headline, _ = built
    assert [move.alias for move in promote(root)] == ["champion"]
    assert promote(root) == []
    models.run(root)
    shown = capsys.readouterr().out
    assert "champion" in shown
    assert {"accuracy": "%", "jaccard": "Jaccard", "within_tolerance": "within"}[headline] in shown


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
    assert written == read_dataset(root / "prepared").facts.tokenizer
    before = content_hash(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        content_hash(folder)
    files.write_json(folder / "tokenizer.json", written)
    assert content_hash(folder) == before


def test_layers_are_listed_where_losses_can_pair_them(built, capsys):
    root, kind, *_ = built
    if kind == "audio":
        show.run(root, "student")
        assert "pair in teacher" in capsys.readouterr().out
        return
    with pytest.raises(BadInput, match="channels and two axes"):
        show.run(root, "student")


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
