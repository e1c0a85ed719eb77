"""The page beyond figures: saliency maps, ablation of layers, and what was cut from them."""

import base64
import html
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from pages import Page
from PIL import Image

from espalier import files
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.params import read_params
from espalier.report.page import render
from espalier.report.understanding import explain as explaining

NAMES = ["teacher", "student", "student-p60", "student-int8"]
FILES = ("saliency.json", "sensitivity.csv", "activity.csv")


@pytest.fixture(scope="module")
def page(judged) -> Page:
    return Page((judged / "reports" / "index.html").read_bytes())


def decoded(picture: dict) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))))


def test_each_image_is_shown_under_the_heat_of_each_model_with_what_that_answers(judged, page):
    maps = json.loads((judged / "reports" / "saliency.json").read_text())
    predictions = {
        name: pd.read_parquet(judged / "reports" / "predictions" / f"{name}.parquet")
        for name in NAMES
    }
    assert list(maps["models"]) == NAMES
    assert len(maps["examples"]) == len(set(maps["examples"])) == 6
    assert any(one["forgotten"][maps["examples"][0]] for one in predictions.values())
    cells = iter(page.all("td", "saliency"))
    wrong = []
    for example, label in zip(maps["examples"], maps["labels"], strict=True):
        for name in NAMES:
            answer = predictions[name]["predicted"][example]
            cell = next(cells)
            assert (cell["data-model"], cell["text"]) == (name, str(answer))
            assert predictions[name]["label"][example] == label
            wrong += [str(answer)] if answer != label else []
    assert [one["text"] for one in page.all("b", "saliency")] == wrong != []
    assert len(page.all("img", "saliency")) == 6 * (1 + len(NAMES))
    heads = [one["text"] for one in page.all("th", "saliency", scope="col")]
    alike = [maps["models"][name]["agreement"] for name in NAMES[1:]]
    assert heads == [
        "teacher",
        *(f"{name}{one:.2f}" for name, one in zip(NAMES[1:], alike, strict=True)),
    ]
    own, integers = (maps["models"][name] for name in ("student", "student-int8"))
    same = [number for number in range(6) if own["answers"][number] == integers["answers"][number]]
    assert same
    for number in same:  # integers are explained by the network behind them
        assert own["maps"][number] == integers["maps"][number]


def test_heat_is_laid_over_the_image_where_it_is(project):
    maps = json.loads((project / "reports" / "saliency.json").read_text())
    maps["models"]["teacher"]["maps"][0] = [[255, 0], [0, 0]]
    maps["models"]["teacher"]["maps"][1] = None
    (project / "reports" / "saliency.json").write_text(json.dumps(maps))
    page = Page(render(project, project / "reports"))
    pictures = page.all("img", "saliency")
    plain, warm = (decoded(one).astype(int) for one in pictures[:2])
    assert plain.shape == (64, 64)
    assert warm.shape == (64, 64, 3)
    assert np.ptp(warm[:16, :16], axis=2).min() > 100  # coloured
    assert (warm[48:, 48:] == plain[48:, 48:, None]).all()  # as it was, in grey
    assert [one["text"] for one in page.all("span", "saliency", **{"class": "none"})] == ["no map"]


def test_bars_of_layers_are_those_of_the_table(judged, page):
    table = pd.read_csv(judged / "reports" / "sensitivity.csv")
    assert set(table["model"]) == {"student"}  # what something was pruned from
    rows = page.all("tr", "sensitivity")
    assert len(rows) == len(table) > 0
    drops = table["accuracy"] - table["accuracy_without"]
    (text,) = [one["text"] for one in page.all("details", "sensitivity")]
    for row, drop, one in zip(rows, drops, table.to_dict("records"), strict=True):
        assert row["text"].startswith(one["layer"])
        assert f"{100 * drop:.1f} points" in row["text"]
        assert f"loss {one['loss_without'] - one['loss']:+.3f}" in row["text"]
    assert f"{100 * table['accuracy'][0]:.1f} % of {table['images'][0]} examples" in text
    widths = [float(re.search(r"[\d.]+", one["style"])[0]) for one in page.all("i", "sensitivity")]
    assert widths == pytest.approx(100 * np.clip(drops / drops.max(), 0, 1), abs=0.06)


def test_a_narrower_layer_shows_the_activity_of_its_removed_outputs(judged, page):
    table = pd.read_csv(judged / "reports" / "activity.csv")
    cut = files.read_json(judged / "models" / "student-p60" / "cut.json")
    assert set(table["layer"]) == set(cut)
    assert set(table["model"]) == {"student-p60"}
    rows = {one["text"]: one for one in page.all("tr", "widths")}
    for one in table.to_dict("records"):
        layer = cut[one["layer"]]
        said = f"{one['layer']}{layer['outputs']} to {len(layer['kept'])}{one['kept']:.2g}, removed {one['cut']:.2g}"
        assert said in rows
    assert "did not record them" not in page.all("section", id="widths")[0]["text"]


def test_a_model_without_a_record_of_its_cut_is_named(project):
    (project / "models" / "student-p60" / "cut.json").unlink()
    files.seal(project / "models" / "student-p60")
    draft = project / "draft"
    draft.mkdir()
    ask(project, draft, [])
    assert not (draft / "activity.csv").exists()
    assert (draft / "sensitivity.csv").exists()
    (project / "reports" / "activity.csv").unlink()
    (section,) = Page(render(project, project / "reports")).all("section", id="widths")
    assert "an earlier version of Espalier made this model" in section["text"]
    assert " to " in section["text"]


def ask(project, draft, front):
    test = read_split(project / "prepared", "test")
    explaining.explain(project, draft, read_params(project), test, logits(project), front)


def logits(project) -> dict[str, np.ndarray]:
    paths = {name: project / "reports" / "predictions" / f"{name}.parquet" for name in NAMES}
    return {name: np.stack(list(pd.read_parquet(path)["logits"])) for name, path in paths.items()}


def test_the_same_answers_give_the_same_files(project):
    draft = project / "draft"
    draft.mkdir()
    front = pd.read_csv(project / "reports" / "models.csv").query("front")["model"].tolist()
    ask(project, draft, front)
    for name in FILES:
        assert (draft / name).read_bytes() == (project / "reports" / name).read_bytes()


def test_the_teacher_and_those_on_the_front_come_before_others_and_costly_networks_see_few_images(
    project, monkeypatch
):
    monkeypatch.setattr(explaining, "_MODELS", 2)
    draft = project / "draft"
    draft.mkdir()
    ask(project, draft, ["student-int8"])
    maps = json.loads((draft / "saliency.json").read_text())
    assert (list(maps["models"]), maps["compared"]) == (["teacher", "student-int8"], 64)
    monkeypatch.setattr(explaining, "_MACS", 1e6)
    ask(project, draft, ["student-int8"])
    few = json.loads((draft / "saliency.json").read_text())
    assert (few["compared"], few["examples"]) == (6, maps["examples"])


def test_without_captum_nothing_fails_and_the_page_says_how_to_get_it(project, monkeypatch):
    monkeypatch.setattr(explaining, "find_spec", lambda name: None)
    draft = project / "draft"
    draft.mkdir()
    ask(project, draft, [])
    assert {path.name for path in draft.iterdir()} == {"sensitivity.csv", "activity.csv"}
    (project / "reports" / "saliency.json").unlink()
    (section,) = Page(render(project, project / "reports")).all("section", id="saliency")
    assert "pip install captum" in section["text"]


def test_reports_of_an_earlier_espalier_make_a_page(project):
    for name in FILES:
        (project / "reports" / name).unlink()
    page = Page(render(project, project / "reports"))
    assert "Nothing was measured" in page.all("section", id="sensitivity")[0]["text"]
    assert not page.all("img", "saliency")
    assert len(page.all("tr", "widths")) > 0


def test_names_of_layers_and_models_stay_text_and_strangers_are_left_out(project):
    hostile = "<img src=x onerror=alert(1)>\"'&"
    reports = project / "reports"
    maps = json.loads((reports / "saliency.json").read_text())
    maps["models"]["student"]["layer"] = hostile
    maps["models"]["gone"] = maps["models"]["teacher"]
    (reports / "saliency.json").write_text(json.dumps(maps))
    for name in ("sensitivity.csv", "activity.csv"):
        table = pd.read_csv(reports / name)
        table["layer"] = hostile
        table["layers"] = f"{hostile} {hostile}"
        pd.concat([table, table.assign(model="gone")]).to_csv(reports / name, index=False)
    source = render(project, reports)
    page = Page(source)
    assert html.escape(hostile).encode() in source
    assert not page.all("img", src="x")
    assert "gone" not in {one.get("data-model") for one in page.elements}


def test_a_damaged_file_is_named(project):
    (project / "reports" / "saliency.json").write_text("{}")
    with pytest.raises(
        BadInput, match=r"Expected .*saliency.json as `espalier evaluate` writes it"
    ):
        render(project, project / "reports")
