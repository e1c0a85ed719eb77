"""Where the models look: the same test images under the heat of each."""

import numpy as np
from PIL import Image

from espalier.judging.answers import NO_ANSWER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, tag
from espalier.report.page.pictures import SIDE, picture, source
from espalier.report.understanding.saliency_maps import Look, Looks

_COLOUR = (255, 96, 0)
_COVER = 0.78  # of a place that is hottest
_WITHOUT = (
    "There are none: when this was evaluated captum was not installed (`pip install captum`; Espalier's extra "
    "`pipeline` has it), or Espalier did not draw them yet. `espalier evaluate` makes them."
)


def looks(contents: Contents) -> Markup:
    """A row per image, a column per model."""
    found = contents.looks
    over = f"{found.compared}" if found else "some"
    explanation = (
        "Test images, those first that a model has forgotten, and over them how much each place spoke for the model's "
        "own answer, right or in red wrong (Grad-CAM, Selvaraju et al. 2017), at the last layer that still tells "
        "places apart. Without colour: nothing there spoke for it. Under a name how alike its heat and the teacher's "
        f"are: their rank correlation, on average over {over} test images. A quantized model is explained by its "
        "network in floating point."
    )
    if found is None:
        return section("looks", "Where they look", explanation, tag("p", _WITHOUT))
    models = {name: look for name, look in found.models.items() if name in contents.rows}
    heads = tag("tr", tag("th", "image"), *(_head(name, look) for name, look in models.items()))
    rows = join(_row(contents, found, number, models) for number in range(len(found.examples)))
    table = tag("table", tag("thead", heads), tag("tbody", rows), class_="looks")
    return section("looks", "Where they look", explanation, scrolled(table))


def _head(name: str, look: Look) -> Markup:
    alike = "" if look.agreement is None else f"{look.agreement:.2f}"
    asked = f"{name}, at its layer {look.layer}" if look.layer else name
    return tag(
        "th", name, tag("span", alike, class_="range"), scope="col", title=asked, data_model=name
    )


def _row(contents: Contents, found: Looks, number: int, models: dict[str, Look]) -> Markup:
    classes, example, label = contents.dataset.classes, found.examples[number], found.labels[number]
    image = _enlarged(picture(contents.test[example][0].numpy()))
    plain = tag("img", src=source(image), alt=f"test image {example}", width=76, height=76)
    cells = []
    for name, look in models.items():
        answer, heat = look.answers[number], look.maps[number]
        said = "no answer" if answer == NO_ANSWER else classes[answer]
        told = said if answer == label else tag("b", said)
        alt = f"test image {example} under the heat of {name}"
        shown = (
            tag("span", "no map", class_="none")
            if heat is None
            else tag(
                "img",
                src=source(_heated(image, np.array(heat, np.uint8))),
                alt=alt,
                width=76,
                height=76,
            )
        )
        cells.append(tag("td", shown, told, title=f"{name}: {said}", data_model=name))
    return tag(
        "tr", tag("th", plain, classes[label], scope="row", title=f"Test image {example}"), *cells
    )


def _enlarged(image: Image.Image) -> Image.Image:
    """A picture of which few pixels would leave no room for a smooth heat."""
    times = max(1, SIDE // max(image.size))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _heated(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """A picture in grey with the heat (h, w) uint8 laid over it."""
    cover = (
        Image.fromarray(heat)
        .resize(image.size, Image.Resampling.BILINEAR)
        .point(lambda value: _COVER * value)
    )
    return Image.composite(
        Image.new("RGB", image.size, _COLOUR), image.convert("L").convert("RGB"), cover
    )
