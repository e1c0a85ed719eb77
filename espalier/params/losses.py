"""The losses of a recipe: a section for each, with the keys of its own."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from espalier.distillation.settings import Focus, Ramp
from espalier.params.strict import Strict


def _kind(given: Any) -> str:
    return "ramp" if isinstance(given, dict | Ramp) else "number"


def _not_below_zero(ramp: Ramp) -> Ramp:
    if min(ramp.start, ramp.end) < 0:
        raise ValueError("start and end must be at least 0")
    return ramp


def _above_zero(ramp: Ramp) -> Ramp:
    if min(ramp.start, ramp.end) <= 0:
        raise ValueError("start and end must be above 0")
    return ramp


_NotNegative = Annotated[float, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
Moving = Annotated[
    Annotated[_NotNegative, Tag("number")]
    | Annotated[Ramp, AfterValidator(_not_below_zero), Tag("ramp")],
    Discriminator(_kind),
]
"""A number, or `{start, end, schedule}`: what it is at the first step, at the last, and how it gets there."""
Temperature = Annotated[
    Annotated[_Positive, Tag("number")] | Annotated[Ramp, AfterValidator(_above_zero), Tag("ramp")],
    Discriminator(_kind),
]
ClassWeights = Literal["balanced"] | tuple[_Positive, ...]


class Loss(Strict):
    """A loss of a recipe, and its weight in the sum."""

    weight: Moving = 1.0


class Labels(Loss):
    """Cross-entropy with the labels.

    Attributes:
        class_weights: Of the examples of each class; `balanced` lets all classes count the same.
        focus: More weight for hard examples.
    """

    loss: Literal["labels"]
    class_weights: ClassWeights | None = None
    focus: Focus | None = None


class LogitLoss(Loss):
    """A loss between the student's logits and the teacher's.

    Attributes:
        classes: Names or numbers of the classes that are taught; all by default.
        focus: More weight for hard examples.
    """

    classes: tuple[int | str, ...] | None = Field(None, min_length=2)
    focus: Focus | None = None


class SoftTargets(LogitLoss):
    """The divergence between softened distributions (Hinton et al. 2015)."""

    loss: Literal["soft_targets"]
    temperature: Temperature = 4.0
    class_weights: ClassWeights | None = None


class TeacherLabels(LogitLoss):
    """Cross-entropy with the class that the teacher finds likeliest."""

    loss: Literal["teacher_labels"]
    class_weights: ClassWeights | None = None


class SquaredError(LogitLoss):
    """The squared difference of the logits (Ba and Caruana 2014)."""

    loss: Literal["squared_error"]


class Standardised(LogitLoss):
    """Soft targets of logits with zero mean and unit deviation (Sun et al. 2024)."""

    loss: Literal["standardised"]
    temperature: Temperature = 2.0


class Decoupled(Loss):
    """The label against the rest, and the rest among itself (Zhao et al. 2022).

    It takes no subset of the classes: the label has to be among them.
    """

    loss: Literal["decoupled"]
    alpha: Moving = 1.0
    beta: Moving = 8.0
    temperature: Temperature = 4.0
    focus: Focus | None = None


class Dist(LogitLoss):
    """The correlation of predictions, over classes and over examples (Huang et al. 2022)."""

    loss: Literal["dist"]
    temperature: Temperature = 1.0
    beta: Moving = 1.0
    gamma: Moving = 1.0


class FeatureLoss(Loss):
    """A loss between layers of the student and of the (first) teacher.

    Attributes:
        pairs: The teacher's layer for each of the student's; by default those that `espalier show`
            prints.
    """

    pairs: dict[str, str] | None = Field(None, min_length=1)


class Hints(FeatureLoss):
    """The squared difference behind a learned 1x1 convolution (Romero et al. 2015)."""

    loss: Literal["hints"]


class Attention(FeatureLoss):
    """Where layers are active (Zagoruyko and Komodakis 2017)."""

    loss: Literal["attention"]


class Similarity(FeatureLoss):
    """Which examples of a batch layers find alike (Tung and Mori 2019); by default of the last pair alone."""

    loss: Literal["similarity"]


class Relational(FeatureLoss):
    """Distances and angles between the examples of a batch (Park et al. 2019); by default of the last pair alone."""

    loss: Literal["relational"]
    distance: Moving = 25.0
    angle: Moving = 50.0


AnyLogitLoss = SoftTargets | TeacherLabels | SquaredError | Standardised | Decoupled | Dist
AnyFeatureLoss = Hints | Attention | Similarity | Relational
AnyLoss = Annotated[Labels | AnyLogitLoss | AnyFeatureLoss, Field(discriminator="loss")]
