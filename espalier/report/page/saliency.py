"""Saliency: the same test examples under the saliency map of each model."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from PIL import Image

from espalier.errors import BadInput
from espalier.paths import SALIENCY
from espalier.prediction import CLASSIFICATION, NO_ANSWER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag
from espalier.report.page.pictures import SIDE, source
from espalier.report.understanding.saliency import ModelSaliency, SaliencyMaps

_COLOUR = (255, 96, 0)
_OPACITY = 0.78  # at the most salient position
_HIGHEST = 255  # of a map
_SIZE = {"width": 76, "height": 76}
_OF_PICTURES = (
    "The positions are those of Grad-CAM (Selvaraju et al. 2017) at the last layer that resolves "
    "positions."
)
_OF_PARTS = (
    "The support of a word or cell is what the answer loses without it (occlusion, Zeiler and Fergus "
    "2014)."
)
_MISSING = (
    "There are none: captum was not installed when this was evaluated (`pip install captum`; the "
    "extra `pipeline` of Espalier contains it), an earlier version of Espalier evaluated it, or the "
    "examples are tensors, or have sets of labels or several heads. `espalier evaluate` computes them."
)


def saliency(contents: Contents) -> Markup:
    """A row per example and a column per model."""
    maps = contents.saliency
    explanation = _explanation(contents, f"{maps.compared}" if maps else "some")
    if maps is None:
        return section("saliency", "Saliency", explanation, tag("p", _MISSING))
    _refuse_others(contents, maps)
    models = {name: one for name, one in maps.models.items() if name in contents.rows}
    heads = tag("tr", tag("th", "example"), *(_head(name, one) for name, one in models.items()))
    rows = join(_row(contents, maps, number, models) for number in range(len(maps.examples)))
    return section(
        "saliency", "Saliency", explanation, scrolled(table(heads, rows, class_="saliency"))
    )


def _refuse_others(contents: Contents, maps: SaliencyMaps) -> None:
    """Refuse maps of examples or of classes that the data do not have.

    Raises:
        BadInput: if there are some; the message has the file.
    """
    answers = [*maps.labels, *chain.from_iterable(one.answers for one in maps.models.values())]
    known = all(0 <= example < len(contents.test.targets) for example in maps.examples)
    if contents.task.name == CLASSIFICATION.name:
        known &= all(NO_ANSWER <= one < len(contents.dataset.classes) for one in answers)
    if not known:
        raise BadInput(
            f"Expected {contents.reports / SALIENCY} to be of examples and classes of the test split; "
            "found others. Run `espalier evaluate` again."
        )


def _explanation(contents: Contents, compared: str) -> str:
    how = _OF_PICTURES if contents.dataset.kind in ("image", "audio") else _OF_PARTS
    return (
        f"Test examples, forgotten ones first, under the support for the model's own answer, which is "
        f"red where it is wrong. {how} Without colour nothing supported it. The number below a name "
        "is the rank correlation of its maps with the teacher's, averaged over "
        f"{compared} test examples. A quantized model is explained by its network in floating point."
    )


def _head(name: str, model: ModelSaliency) -> Markup:
    agreement = "" if model.agreement is None else f"{model.agreement:.2f}"
    title = f"{name}, at its layer {model.layer}" if model.layer else name
    number = tag("span", agreement, class_="range")
    return tag("th", name, number, scope="col", title=title, data_model=name)


def _row(
    contents: Contents, maps: SaliencyMaps, number: int, models: dict[str, ModelSaliency]
) -> Markup:
    """One example under the map of each model."""
    example, label = maps.examples[number], maps.labels[number]
    shown = contents.display(example)
    parts = contents.parts(example)
    plain = None  # words are in every cell
    if not isinstance(shown, str):
        plain = tag("img", src=source(_enlarged(shown)), alt=f"test example {example}", **_SIZE)
    cells = []
    for name, model in models.items():
        values = model.maps[number]
        if isinstance(shown, str):
            drawn = _coloured(parts, values)
        else:
            alt = f"test example {example} under the saliency map of {name}"
            drawn = _drawn(_enlarged(shown), values, alt)
        spelled = contents.spell(model.answers[number])
        text = spelled if _is_right(contents, model.answers[number], label) else tag("b", spelled)
        cells.append(tag("td", drawn, text, title=f"{name}: {spelled}", data_model=name))
    title = f"Test example {example}"
    head = tag("th", plain, contents.spell(label), scope="row", title=title)
    return tag("tr", head, *cells)


def _is_right(contents: Contents, answer: float, label: float) -> bool:
    scores = contents.task.scores(np.array([answer]), np.array([label]))
    return bool(scores[0] == 1)


def _coloured(parts: Sequence[str], values: list[list[int]] | None) -> Markup:
    """Words, each on a colour as strong as its support."""
    if values is None:
        return tag("span", "no map", class_="none")
    red, green, blue = _COLOUR
    words = []
    for part, value in zip(parts, values[0], strict=False):
        opacity = _OPACITY * value / _HIGHEST
        style = f"background:rgba({red},{green},{blue},{opacity:.2f})"
        words += [tag("span", part, style=style), " "]
    return tag("p", *words)


def _drawn(image: Image.Image, values: list[list[int]] | None, alt: str) -> Markup:
    if values is None:
        return tag("span", "no map", class_="none")
    covered = _covered(image, np.array(values, np.uint8))
    return tag("img", src=source(covered), alt=alt, width=76, height=76)


def _enlarged(image: Image.Image) -> Image.Image:
    """An image of a few pixels, enlarged so that a smooth map can lie over it."""
    factor = max(1, SIDE // max(image.size))
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.NEAREST)


def _covered(image: Image.Image, values: np.ndarray) -> Image.Image:
    """An image in grey under a map (h, w) uint8 in colour."""
    smooth = Image.fromarray(values).resize(image.size, Image.Resampling.BILINEAR)
    opacity = smooth.point(lambda value: _OPACITY * value)
    colour = Image.new("RGB", image.size, _COLOUR)
    return Image.composite(colour, image.convert("L").convert("RGB"), opacity)
