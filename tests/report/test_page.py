"""The page of an evaluation: everything is in it, nothing is loaded, and no name becomes markup."""

import base64
import csv
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pages import Page
from PIL import Image
from scipy.special import softmax

from espalier import files
from espalier.commands import report
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.models.folder import read_architecture
from espalier.report.page import render
from espalier.report.page.all_metrics import all_metrics
from espalier.report.page.contents import Contents
from espalier.report.page.curves import curves

NAMES = ["teacher", "student", "student-p60", "student-int8"]


@pytest.fixture(scope="module")
def page(judged) -> Page:
    return Page((judged / "reports" / "index.html").read_bytes())


@pytest.fixture(scope="module")
def table(judged) -> pd.DataFrame:
    return pd.read_csv(judged / "reports" / "models.csv", index_col="model")


def test_every_model_is_in_the_tree_both_plots_and_the_tables(page):
    assert [one["data-model"] for one in page.all("g", "tree") if "data-model" in one] == [
        *["teacher", "student", "student-p60", "student-int8"] * 2
    ]
    assert [one["data-model"] for one in page.all("g", "front") if "data-model" in one] == NAMES * 2
    for section in ("metrics", "lineage"):
        assert [one["text"] for one in page.all("th", section, scope="row")] == NAMES
    for section in ("classes", "gates"):
        assert [one["text"] for one in page.all("th", section, scope="row")] == NAMES[1:]
    assert [one["text"].split(":")[0] for one in page.all("h3", "forgotten")] == NAMES[1:]
    assert [one["text"] for one in page.all("h3", "curves")] == NAMES[
        :3
    ]  # nothing was trained to make integers


def test_a_card_of_the_tree_has_the_figures_of_the_table(page, table):
    row = table.loc["student-p60"]
    card = page.all("g", "tree", **{"data-model": "student-p60"})[0]["text"]
    drop, low, high = (100 * row[name] for name in ("drop", "drop_low", "drop_high"))
    assert (
        f"{100 * row.accuracy:.1f} % ({100 * row.accuracy_low:.1f}..{100 * row.accuracy_high:.1f})"
        in card
    )
    assert f"drop {drop:.1f} ({low:.1f}..{high:.1f})" in card
    assert f"{row.speedup_1:.1f}x as fast" in card


class Read(dict):
    """A row of a table that remembers which of its columns were read."""

    def __init__(self, row):
        super().__init__(row)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)


def test_every_metric_of_the_table_is_in_the_section_of_all_metrics(judged):
    contents = Contents.read(judged, judged / "reports")
    rows = {name: Read(row) for name, row in contents.rows.items()}
    page = Page(all_metrics(replace(contents, rows=rows)).encode())
    elsewhere = {"model", "parent", "examples", "threads", "device", "front"}
    for row in rows.values():
        assert set(row) - row.read <= elsewhere | {name for name in row if row[name] != row[name]}
    worst = next(row for row in rows.values() if row["worst_class_drop"] > 0)
    shown = f"{100 * worst['worst_class_drop']:.1f}{worst['worst_class']}, at most "
    assert any(cell["text"].startswith(shown) for cell in page.all("td"))


def test_those_on_the_front_and_no_others_are_marked(page, table):
    for section in ("tree", "front"):
        cards = [one for one in page.all("g", section) if "data-model" in one]
        marked = {one["data-model"] for one in cards if "front" in one["class"].split()}
        assert marked == set(table.index[table["front"]])


def test_the_page_loads_nothing_and_lets_no_other_script_run(judged, page):
    for element in page.elements:
        for key in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert element.get(key, "#").startswith(("#", "data:")), element
        assert not [key for key in element if key.startswith("on")], element
    (style,) = page.all("style")
    assert not re.search(r"url\(|@import", style["text"])
    (script,) = page.all("script")
    ours = base64.b64encode(hashlib.sha256(script["text"].encode()).digest()).decode()
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"] == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{ours}'"
    )
    assert (judged / "reports" / "index.html").stat().st_size < 5_000_000


def test_hostile_names_of_data_classes_and_models_stay_text(project):
    hostile = "<img src=x onerror=alert(1)>\"'&</script><script>"
    path = project / "prepared" / "dataset.json"
    content = json.loads(path.read_text())
    content["name"], content["classes"][3] = hostile, hostile
    path.write_text(json.dumps(content))
    model = hostile.replace("/", "")
    for name in ("models.csv", "classes.csv"):
        table = pd.read_csv(project / "reports" / name, dtype=str, keep_default_na=False)
        names = {
            column: {"student-int8": model} for column in ("model", "parent") if column in table
        }
        if "class" in table:
            names["class"] = {"3": hostile}
        table.replace(names).to_csv(project / "reports" / name, index=False, quoting=csv.QUOTE_ALL)
    (project / "reports" / "predictions" / "student-int8.parquet").rename(
        project / "reports" / "predictions" / f"{model}.parquet"
    )
    source = render(project, project / "reports")
    page = Page(source)
    assert html.escape(hostile).encode() in source
    assert len(page.all("script")) == 1
    assert not page.all("img", src="x")
    assert page.all("h1")[0]["text"].startswith(hostile)
    assert hostile in [one["text"] for one in page.all("th", "classes")]
    assert model in [one.get("data-model") for one in page.all("g", "tree")]


def test_forgotten_images_are_those_of_the_test_split_with_what_was_answered(judged, page):
    images = read_split(judged / "prepared", "test").inputs.numpy()
    shown = [
        one
        for one in page.all("figure", "forgotten")
        if one.get("title", "").startswith("Test example")
    ]
    pictures = page.all("img", "forgotten")
    predictions = {
        name: pd.read_parquet(judged / "reports" / "predictions" / f"{name}.parquet")
        for name in NAMES[1:]
    }
    assert (
        len(shown)
        == len(pictures)
        == sum(min(8, int(one["forgotten"].sum())) for one in predictions.values())
        > 0
    )
    for figure, picture in zip(shown, pictures, strict=True):
        example = int(figure["title"].split()[-1])
        decoded = np.array(
            Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2])))
        )
        assert (decoded == images[example, 0]).all()
    lost = predictions["student"][predictions["student"]["forgotten"]]
    sure = lost.assign(sure=[softmax(logits.astype(float)).max() for logits in lost["logits"]])
    first = sure.sort_values("sure", ascending=False, kind="stable").iloc[0]
    assert shown[0]["title"] == f"Test example {first.example}"
    assert shown[0]["text"].startswith(
        f"{first.label} \N{RIGHTWARDS ARROW} {first.predicted} {100 * first.sure:.0f}"
    )


def test_images_that_would_make_the_page_too_large_are_left_out(judged, monkeypatch):
    monkeypatch.setattr("espalier.report.page.forgotten._BYTES", 1)
    page = Page(render(judged, judged / "reports"))
    assert not page.all("img", "forgotten")
    assert "Left out here" in page.all("section", id="forgotten")[0]["text"]


def test_a_model_that_gave_no_numbers_is_shown_as_such(project):
    path = project / "reports" / "predictions" / "student-int8.parquet"
    answered = pd.read_parquet(path)
    answered["logits"] = [np.full(10, np.nan, np.float32)] * len(answered)
    answered["predicted"], answered["forgotten"] = -1, answered.index < 3
    answered.to_parquet(path, index=False)
    table = pd.read_csv(project / "reports" / "models.csv", index_col="model")
    table.loc["student-int8", ["accuracy", "accuracy_low", "not_finite", "ece"]] = (
        0.0,
        0.0,
        359,
        np.nan,
    )
    table.to_csv(project / "reports" / "models.csv")
    page = Page(render(project, project / "reports"))
    shown = [one["text"] for one in page.all("figure", "forgotten") if "no answer" in one["text"]]
    assert len(shown) == 1 + 3  # the model's own, and those of the images in it
    refused = [
        one["text"] for one in page.all("td", "gates", title="finite") if "refused" in one["class"]
    ]
    assert refused == ["NaN or infinity"]


def test_layers_are_shown_as_wide_as_the_files_say(judged, page):
    before, after = (
        read_architecture(judged / "models" / name).shapes for name in ("student", "student-p60")
    )
    narrower = {
        name.removesuffix(".weight"): f"{before[name][0]} to {after[name][0]}"
        for name in before
        if len(before[name]) > 1 and before[name][0] != after[name][0]
    }
    (details,) = page.all("details", "widths", **{"data-model": "student-p60"})
    assert narrower
    for name, said in narrower.items():
        assert f"{name}{said}" in details["text"]
    assert len(page.all("th", "widths")) == len(narrower)


def test_the_gates_are_those_of_the_file_and_judge_the_figures_of_the_table(page, table):
    cells = [one for one in page.all("td", "gates") if one["title"] == "bytes_ratio"]
    ratios = table["bytes"][1:] / table.loc["teacher", "bytes"]
    assert [("passed" in one["class"], one["text"]) for one in cells] == [
        (one <= 0.9, f"{one:.4g}") for one in ratios
    ]
    assert {one["title"] for one in page.all("td", "gates")} == {
        "finite",
        "data",
        "examples",
        "bytes_ratio",
    }


def test_invalid_gates_do_not_prevent_the_page(project):
    (project / "mlflow" / "gates.yaml").write_text("champion: {gates: {speed: 3}}")
    assert b"found an unknown key" in render(project, project / "reports")
    (project / "mlflow" / "gates.yaml").unlink()
    assert b"to hold the gates of each alias" in render(project, project / "reports")


def test_aliases_have_a_line_of_their_own_within_the_card(project):
    """A letter is at most 0.62 times as wide as the 11 pixels of its font, on average."""
    gates = {"gates": {"bytes_ratio": 0.9}}
    policies = {"champion": gates, "phone-canary": gates, "third-of-the-three": gates}
    (project / "mlflow" / "gates.yaml").write_text(yaml.safe_dump(policies))
    page = Page(render(project, project / "reports"))
    texts = [one["text"] for one in page.all("text", "tree")]
    (aliases,) = {text for text in texts if "@" in text}
    assert aliases.startswith("@champion @")
    assert aliases.endswith("three")
    assert 12 + 0.62 * 11 * max(map(len, texts)) < 206
    heights = {one["height"] for one in page.all("rect", "tree", **{"class": "card"})}
    assert heights == {"91"}


def test_labels_of_close_losses_are_within_their_picture(project):
    """A letter is at most 0.64 times as wide as the 11 pixels of its font."""
    path = project / "models" / "student" / "history.csv"
    history = pd.read_csv(path).assign(loss=0.7221, validation_loss=0.7243)
    history.to_csv(path, index=False)
    page = Page(curves(Contents.read(project, project / "reports")).encode())
    labels = page.all("text", **{"text-anchor": "end"})
    assert "0.723" in [one["text"] for one in labels]
    assert all(float(one["x"]) > 0.64 * 11 * len(one["text"]) for one in labels)


def test_a_second_page_of_the_same_evaluation_has_the_same_bytes(project, capsys):
    path = project / "reports" / "index.html"
    former = path.read_bytes()
    path.write_bytes(b"")
    files.seal(project / "reports", nested=True)
    report.run(project)
    assert path.read_bytes() == former
    assert str(path) in capsys.readouterr().out


def test_without_an_evaluation_there_is_no_page(tmp_path):
    with pytest.raises(
        BadInput,
        match=r"models.csv to exist; found nothing there: run `espalier evaluate` first",
    ):
        report.run(tmp_path)


def test_lineage_goes_down_to_data_and_parents(judged, page):
    weights = hashlib.sha256(
        (judged / "models" / "student" / "weights.safetensors").read_bytes()
    ).hexdigest()
    data = hashlib.sha256((judged / "prepared" / "dataset.json").read_bytes()).hexdigest()
    deployed = hashlib.sha256(
        (judged / "models" / "student-p60" / "model.onnx").read_bytes()
    ).hexdigest()
    hashes = {one.get("title") for one in page.all("code", "lineage")}
    assert {weights, data, deployed} <= hashes


def test_the_commit_is_shown_if_there_is_a_repository(tmp_path):
    def git(*words):
        settings = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", *settings, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    commit = git("rev-parse", "HEAD").strip()[:12]
    assert report.commit_of(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert report.commit_of(tmp_path) == f"{commit}-dirty"
    shutil.rmtree(tmp_path / ".git")
    assert report.commit_of(tmp_path) == ""


def dvc(project, *words):
    command = [Path(sys.executable).with_name("dvc"), *words]
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    return subprocess.run(
        command, cwd=project, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_dvc_shows_a_row_of_figures_and_a_curve_per_model(project, project_root, table):
    pipeline = yaml.safe_load((project_root / "dvc.yaml").read_text())
    (project / "dvc.yaml").write_text(
        yaml.safe_dump({key: pipeline[key] for key in ("metrics", "plots")})
    )
    dvc(project, "init", "--no-scm", "--quiet")
    (shown,) = json.loads(dvc(project, "metrics", "show", "--json")).values()
    figures = {Path(path).stem: file["data"]["accuracy"] for path, file in shown["data"].items()}
    assert figures == pytest.approx(table["accuracy"].to_dict())
    plots = json.loads(dvc(project, "plots", "show", "--json", "--split"))
    assert set(plots) == {"data"}  # no errors
    assert set(plots["data"]) == {
        "reports/models.csv",
        *(f"reports/curves/{name}.csv" for name in NAMES[:3]),
    }


def test_there_is_a_file_of_figures_and_one_of_epochs_per_model_for_dvc(judged, table):
    for name in NAMES:
        figures = json.loads((judged / "reports" / "metrics" / f"{name}.json").read_text())
        assert {key: table.loc[name, key] for key in figures} == pytest.approx(figures)
        assert {"accuracy", "drop_high", "bytes", "speedup_1"} <= set(figures)
    curves = {path.stem: pd.read_csv(path) for path in (judged / "reports" / "curves").iterdir()}
    assert set(curves) == set(NAMES[:3])
    for name, curve in curves.items():
        history = pd.read_csv(judged / "models" / name / "history.csv")
        pd.testing.assert_frame_equal(curve, history.assign(score=history["accuracy"]))
