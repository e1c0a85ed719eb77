"""`by: quantize` as an entry: its schemes, its ladder, what it records, and what it says aloud."""

import shutil
import warnings

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper
from properties import assert_equal_weights, assert_explains

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput, Notice, Stopped
from espalier.folding import fold_batch_norms
from espalier.making import latency_check, quantize
from espalier.measures.comparison import Comparison
from espalier.models import content_hash, load
from espalier.params import check
from espalier.quantization import compact

ENTRY = {"from": "teacher", "by": "quantize", "images": 32}
AWARE = ENTRY | {"scheme": "aware", "finetune": {"epochs": 1}}


def make_entry(project, **keys):
    """Make an entry called `q` of the tiny project; returns its folder."""
    declare(project, **keys)
    make.run(project, "q")
    return project / "models" / "q"


def declare(project, **keys):
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["models"]["q"] = ENTRY | keys
    path.write_text(yaml.safe_dump(content))


def record(folder):
    return files.read_json(folder / "architecture.json")["quantization"]


def metrics(folder):
    return files.read_json(folder / "metrics.json")


@pytest.fixture(scope="module")
def learned(tiny, tmp_path_factory):
    """A project with the teacher trained for integers, by itself."""
    project = tmp_path_factory.mktemp("learned") / "tiny"
    shutil.copytree(tiny, project, ignore=shutil.ignore_patterns("locks", "work"))
    make_entry(project, **AWARE)
    return project


@pytest.fixture
def losing(monkeypatch):
    """A judge of static files that finds all bad, until one is trained."""
    worse = iter(np.arange(0.5, 0.0, -0.01))

    def judge(job):
        return lambda model: (
            1.0 if any("values." in node.name for node in model.graph.node) else float(next(worse))
        )

    monkeypatch.setattr(quantize, "_judge", judge)


def test_an_aware_model_holds_trained_weights_folded_and_is_loaded_again(learned):
    folder, teacher = learned / "models" / "q", load(learned / "models" / "teacher")
    assert set(files.verify(folder)) == set(files.verify(learned / "models" / "teacher"))
    network = load(folder)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert not torch.equal(network.conv.weight, teacher.conv.weight)
    assert record(folder) == {
        "scheme": "aware",
        "calibration": "entropy",
        "per_channel": True,
        "reduce_range": True,
    }
    assert metrics(folder)["epochs"] == 1
    assert metrics(folder)["difference_from_torch"] < 0.5
    assert (folder / "history.csv").read_text().count("\n") == 2
    values = [
        numpy_helper.to_array(one) for one in onnx.load(folder / "model.onnx").graph.initializer
    ]
    assert sum(value.size for value in values if value.dtype == np.int8) > 0.9 * sum(
        parameter.numel() for parameter in network.parameters() if parameter.ndim > 1
    )


def test_an_aware_model_is_taught_by_the_teacher_and_others_do_not_know_it(learned, tiny_copy):
    lineage = files.read_json(learned / "models" / "q" / "lineage.json")
    assert list(lineage["models"]) == ["teacher"]
    assert lineage["recipe"]["learning_rate"] == 0.01
    assert list((learned / ".espalier" / "bank").iterdir())
    project = tiny_copy()
    folder = make_entry(project)
    assert not (project / ".espalier" / "bank").exists()
    assert_equal_weights(load(folder), load(project / "models" / "teacher"))


def test_stopped_in_training_and_run_again_it_ends_with_the_same_bits(
    learned, tiny_copy, monkeypatch
):
    project = tiny_copy()
    calls = []

    def stop(run, request):
        calls.append(1)
        return len(calls) == 5

    monkeypatch.setattr("espalier.training.engine._Run._stop_asked", stop)
    with pytest.raises(Stopped):
        make_entry(project, **AWARE)
    assert list((project / ".espalier" / "checkpoints").glob("q-*/aware/checkpoint-*"))
    make_entry(project, **AWARE)
    assert content_hash(project / "models" / "q") == content_hash(learned / "models" / "q")


def test_frozen_layers_keep_their_weights_through_aware_training(tiny_copy):
    """A pattern of batch norms matches nothing any more, because they are folded before."""
    project = tiny_copy()
    finetune = {"epochs": 1, "freeze": ["conv", "bn"]}
    folder = make_entry(project, scheme="aware", finetune=finetune)
    images = torch.zeros(2, 1, 8, 8)
    before = fold_batch_norms(load(project / "models" / "teacher"), images)
    after = load(folder)
    assert torch.equal(after.conv.weight, before.conv.weight)
    assert not torch.equal(after.head.weight, before.head.weight)


def test_nothing_is_made_from_an_aware_model(learned):
    path = learned / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["models"]["again"] = {"from": "q", "by": "quantize", "scheme": "dynamic"}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput) as caught:
        make.run(learned, "again")
    assert_explains(caught.value, "'q'", "quantize last")


def test_a_ladder_that_is_not_needed_changes_nothing_but_the_record(tiny_copy):
    plain, laddered = tiny_copy(), tiny_copy()
    make_entry(plain)
    folder = make_entry(laddered, ladder={"limit": 0.5, "aware": False})
    assert (folder / "model.onnx").read_bytes() == (
        plain / "models" / "q" / "model.onnx"
    ).read_bytes()
    (only,) = record(folder)["ladder"]
    assert (only["measure"], only["detail"]) == ("calibration", "entropy")
    assert only["accuracy"] == metrics(folder)["validation_accuracy"]
    assert record(folder)["chosen"] == only


@pytest.mark.parametrize("keys", [{}, AWARE])
def test_the_file_has_no_names_that_only_its_making_needed(tiny_copy, keys):
    deployed = make_entry(tiny_copy(), **keys) / "model.onnx"
    assert deployed.read_bytes() == compact(onnx.load(deployed)).SerializeToString()


def test_a_ladder_runs_to_its_end_and_reports_every_step(tiny_copy, losing, capsys):
    folder = make_entry(tiny_copy(), ladder={"limit": 0.01, "layers": 2}, finetune={"epochs": 1})
    found = [(one["measure"], one["detail"]) for one in record(folder)["ladder"]]
    assert [measure for measure, _ in found] == ["calibration"] * 3 + ["float"] * 2 + ["aware"]
    assert [len(detail) for measure, detail in found if measure == "float"] == [1, 2]
    assert record(folder)["scheme"] == "aware"
    assert record(folder)["chosen"] == record(folder)["ladder"][-1]
    assert metrics(folder)["epochs"] == 1
    said = capsys.readouterr().out
    assert said.count("% on validation") == 7  # the last one is the summary's
    assert "q: calibration minmax: 49.00 % on validation" in said
    assert "q: aware entropy: 100.00 % on validation" in said
    network = load(folder)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_a_ladder_that_does_not_reach_its_limit_says_so_with_the_figures(tiny_copy, losing):
    with pytest.warns(
        Notice,
        match=r"at most 1.00 % .* and 50.00 % after the best of 3 steps \(calibration\)",
    ):
        folder = make_entry(tiny_copy(), ladder={"limit": 0.01, "layers": 0, "aware": False})
    assert record(folder)["chosen"]["detail"] == "entropy"


def test_resamples_are_measured_and_their_spread_is_recorded(tiny_copy):
    one, several = tiny_copy(), tiny_copy()
    make_entry(one, calibration="minmax")
    folder = make_entry(several, calibration="minmax", resamples=4)
    found = metrics(folder)
    assert found["resamples"] == 4
    assert 0 < found["threshold_spread"] < found["threshold_spread_worst"]
    low, mean, high = (
        found[f"resampled_accuracy_{name}"] for name in ("lowest", "mean", "highest")
    )
    assert low <= mean <= high
    assert found["resampled_accuracy_deviation"] <= high - low
    assert "resamples" not in metrics(one / "models" / "q")
    assert (folder / "model.onnx").read_bytes() != (
        one / "models" / "q" / "model.onnx"
    ).read_bytes()


def test_a_file_slower_than_its_parent_causes_a_warning_with_figures(tiny_copy, monkeypatch):
    monkeypatch.setattr(latency_check, "compare_latency", lambda *_: Comparison(2.0, 4.0))
    words = (
        r"q to be faster than teacher .* 4 ms instead of 2 ms at batch 1 \(0.50 times as fast\), "
        r"4 ms .* batch 64"
    )
    with pytest.warns(Notice, match=words):
        make_entry(tiny_copy())


def test_a_faster_file_causes_no_warning(tiny_copy, monkeypatch):
    monkeypatch.setattr(latency_check, "compare_latency", lambda *_: Comparison(4.0, 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        make_entry(tiny_copy())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"scheme": "dynamic", "calibration": "minmax"},
            ["`calibration`", "`scheme: static`", "dynamic"],
        ),
        ({"scheme": "dynamic", "ladder": {}}, ["`ladder`", "`scheme: static`"]),
        ({"scheme": "aware", "ladder": {}}, ["`ladder`", "`scheme: static`"]),
        ({"scheme": "aware", "resamples": 3}, ["`resamples`", "`scheme: static`"]),
        ({"soft": {"temperature": 2}}, ["`soft`", "`scheme: aware`", "ladder"]),
        ({"finetune": {"epochs": 3}}, ["`finetune`", "`scheme: aware`"]),
        ({"ladder": {"aware": False}, "finetune": {"epochs": 3}}, ["`finetune`"]),
        ({"ladder": {"limit": 1.5}}, ["ladder.limit", "1.5"]),
        ({"ladder": {"limits": 0.1}}, ["ladder.limits", "unknown"]),
        ({"scheme": "8bit"}, ["scheme", "'8bit'"]),
        ({"resamples": 0}, ["resamples", "0"]),
    ],
)
def test_keys_that_do_not_go_together_are_refused_by_name(keys, words):
    entry = {key: value for key, value in ENTRY.items() if key != "images"} | keys
    with pytest.raises(BadInput) as caught:
        check({"teacher": {"model": "espalier:mlp"}, "models": {"q": entry}})
    assert_explains(caught.value, *words)


def test_training_for_integers_has_defaults_of_its_own_that_keys_override():
    entries = {"a": AWARE, "b": AWARE | {"finetune": {"learning_rate": 0.1}}}
    params = check({"teacher": {"model": "espalier:mlp"}, "models": entries})
    found = {name: params.recipe(entry.finetune) for name, entry in params.models.items()}
    assert (found["a"].epochs, found["a"].learning_rate) == (1, 0.01)
    assert (found["b"].epochs, found["b"].learning_rate) == (5, 0.1)
