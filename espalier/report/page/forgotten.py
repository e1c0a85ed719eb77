"""Forgotten examples: those to which the teacher's answer is right and a model's is not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax

from espalier.prediction import NO_ANSWER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, section, tag
from espalier.report.page.pictures import source

_EACH = 8  # images of a model
_BYTES = 2_000_000  # of all images together, so that the page stays small
_LEFT_OUT = "Left out here: the page would grow too large."
_EXPLANATION = (
    "Test images that the teacher classifies correctly and the model does not, ordered by the "
    f"probability of the wrong answer; at most {_EACH} of each model. Before the arrow stands the "
    "class of the image, which is the teacher's answer; in red the model's answer, with its "
    "probability."
)


@dataclass(frozen=True)
class _Example:
    """A forgotten example.

    Attributes:
        index: its index in the test split.
        label: its class.
        predicted: the model's answer; `NO_ANSWER` if a logit is not finite.
        probability: probability that the model gives to its answer.
    """

    index: int
    label: int
    predicted: int
    probability: float


def forgotten(contents: Contents) -> Markup:
    """Some images per model, those with the most probable wrong answers first."""
    cards, spent = [], 0
    for name, row in contents.rows.items():
        if not row["parent"]:
            continue
        examples = contents.forgotten(name)
        shots = [_shot(contents, example) for example in _most_probable(examples)]
        spent += sum(len(shot) for shot in shots)
        count = f"{len(examples)} forgotten" if len(examples) else "nothing forgotten"
        too_large = tag("p", _LEFT_OUT, class_="note")
        images = tag("div", *shots, class_="shots") if spent <= _BYTES else too_large
        cards.append(tag("figure", tag("h3", f"{name}: {count}"), images, data_model=name))
    return section(
        "forgotten", "Forgotten examples", _EXPLANATION, tag("div", *cards, class_="cards")
    )


def _most_probable(examples: pd.DataFrame) -> list[_Example]:
    """The examples whose wrong answers are the most probable."""
    if examples.empty:
        return []
    logits = np.stack(list(examples["logits"])).astype(float)
    with np.errstate(invalid="ignore"):  # logits that are not finite have no probability
        probability = softmax(logits, axis=1).max(1)
    order = np.argsort(-probability, kind="stable")[:_EACH]
    chosen = examples.iloc[order]
    columns = (chosen["example"], chosen["label"], chosen["predicted"], probability[order])
    return [
        _Example(int(index), int(label), int(predicted), float(likely))
        for index, label, predicted, likely in zip(*columns, strict=True)
    ]


def _shot(contents: Contents, example: _Example) -> Markup:
    classes = contents.dataset.classes
    image = contents.picture(example.index)
    drawn = tag("img", src=source(image), alt=f"test image {example.index}", width=76, height=76)
    if example.predicted == NO_ANSWER:
        answer, probability = "no answer", None
    else:
        answer = classes[example.predicted]
        probability = f" {100 * example.probability:.0f}\N{NO-BREAK SPACE}%"
    label = f"{classes[example.label]} \N{RIGHTWARDS ARROW} "
    title = f"Test image {example.index}"
    return tag("figure", drawn, label, tag("b", answer), probability, title=title)
