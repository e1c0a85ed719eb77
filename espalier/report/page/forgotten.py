"""The forgotten examples: images that the teacher has right and a model has not."""

import numpy as np
import pandas as pd
from scipy.special import softmax

from espalier.data.prepared import StreamedSplit
from espalier.judging.answers import NO_ANSWER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, section, tag
from espalier.report.page.pictures import picture, source

_EACH = 8  # images of a model
_BYTES = 2_000_000  # of all images together, so that the page stays small
_LEFT_OUT = "Left out here: the page would grow too large."


def forgotten(contents: Contents) -> Markup:
    """A handful of images per model, those first of whose wrong answer it is surest."""
    cards, spent = [], 0
    for name, row in contents.rows.items():
        if not row["parent"]:
            continue
        lost = contents.lost(name)
        shots = [_shot(contents.test, shown, contents.dataset.classes) for shown in _surest(lost)]
        spent += sum(map(len, shots))
        said = f"{len(lost)} forgotten" if len(lost) else "nothing forgotten"
        images = (
            tag("div", *shots, class_="shots")
            if spent <= _BYTES
            else tag("p", _LEFT_OUT, class_="note")
        )
        cards.append(tag("figure", tag("h3", f"{name}: {said}"), images, data_model=name))
    explanation = (
        "Test images that the teacher answers rightly and the model does not; those first of whose wrong answer the "
        f"model is surest, at most {_EACH} of each. Before the arrow what the image is and the teacher says; in "
        "red what the model says, and how sure it is."
    )
    return section(
        "forgotten", "Forgotten examples", explanation, tag("div", *cards, class_="cards")
    )


def _surest(lost: pd.DataFrame) -> list[tuple[int, int, int, float]]:
    """The example, its label, the wrong answer and the probability that the model gives it."""
    if lost.empty:
        return []
    with np.errstate(invalid="ignore"):  # of what is not finite nothing is sure
        sure = softmax(np.stack(list(lost["logits"])).astype(float), axis=1).max(1)
    order = np.argsort(-sure, kind="stable")[:_EACH]
    columns = (lost[name].to_numpy() for name in ("example", "label", "predicted"))
    example, label, predicted = (values[order] for values in columns)
    return [
        (int(a), int(b), int(c), float(d))
        for a, b, c, d in zip(example, label, predicted, sure[order], strict=True)
    ]


def _shot(
    split: StreamedSplit, shown: tuple[int, int, int, float], classes: tuple[str, ...]
) -> Markup:
    example, label, predicted, sure = shown
    shown_as = source(picture(split[example][0].numpy()))
    drawn = tag("img", src=shown_as, alt=f"test image {example}", width=76, height=76)
    if predicted == NO_ANSWER:  # a logit that is not finite
        said, surely = "no answer", None
    else:
        said, surely = classes[predicted], f" {100 * sure:.0f}\N{NO-BREAK SPACE}%"
    told = (f"{classes[label]} \N{RIGHTWARDS ARROW} ", tag("b", said), surely)
    return tag("figure", drawn, *told, title=f"Test image {example}")
