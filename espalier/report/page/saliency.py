"""Saliency: the same test images under the saliency map of each model."""

import numpy as np
from PIL import Image

from espalier.prediction import NO_ANSWER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag
from espalier.report.page.pictures import SIDE, source
from espalier.report.understanding.saliency import ModelSaliency, SaliencyMaps

_COLOUR = (255, 96, 0)
_OPACITY = 0.78  # at the most salient position
_MISSING = (
    "There are none: captum was not installed when this was evaluated (`pip install captum`; the "
    "extra `pipeline` of Espalier contains it), or an earlier version of Espalier evaluated it. "
    "`espalier evaluate` computes them."
)


def saliency(contents: Contents) -> Markup:
    """A row per image and a column per model."""
    maps = contents.saliency
    explanation = _explanation(f"{maps.compared}" if maps else "some")
    if maps is None:
        return section("saliency", "Saliency", explanation, tag("p", _MISSING))
    models = {name: one for name, one in maps.models.items() if name in contents.rows}
    heads = tag("tr", tag("th", "image"), *(_head(name, one) for name, one in models.items()))
    rows = join(_row(contents, maps, number, models) for number in range(len(maps.examples)))
    return section(
        "saliency", "Saliency", explanation, scrolled(table(heads, rows, class_="saliency"))
    )


def _explanation(compared: str) -> str:
    return (
        "Test images, forgotten ones first, under a map of the positions that supported the "
        "model's own answer, which is red where it is wrong (Grad-CAM, Selvaraju et al. 2017, at "
        "the last layer that resolves positions). Without colour nothing supported it. The number "
        "below a name is the rank correlation of its maps with the teacher's, averaged over "
        f"{compared} test images. A quantized model is explained by its network in floating point."
    )


def _head(name: str, model: ModelSaliency) -> Markup:
    agreement = "" if model.agreement is None else f"{model.agreement:.2f}"
    title = f"{name}, at its layer {model.layer}" if model.layer else name
    number = tag("span", agreement, class_="range")
    return tag("th", name, number, scope="col", title=title, data_model=name)


def _row(
    contents: Contents, maps: SaliencyMaps, number: int, models: dict[str, ModelSaliency]
) -> Markup:
    """One image under the map of each model."""
    classes = contents.dataset.classes
    example, label = maps.examples[number], maps.labels[number]
    shown = contents.display(example)
    if isinstance(shown, str):  # only examples with a picture have maps
        return tag("tr", tag("th", shown))
    image = _enlarged(shown)
    plain = tag("img", src=source(image), alt=f"test image {example}", width=76, height=76)
    cells = []
    for name, model in models.items():
        answer = model.answers[number]
        spelled = "no answer" if answer == NO_ANSWER else classes[answer]
        text = spelled if answer == label else tag("b", spelled)
        alt = f"test image {example} under the saliency map of {name}"
        drawn = _drawn(image, model.maps[number], alt)
        cells.append(tag("td", drawn, text, title=f"{name}: {spelled}", data_model=name))
    head = tag("th", plain, classes[label], scope="row", title=f"Test image {example}")
    return tag("tr", head, *cells)


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
