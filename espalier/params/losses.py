"""The losses of an entry: a section for each, with the keys of the loss."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

from espalier.distillation.settings import Focus, Ramp
from espalier.params.strict import Strict


def _kind(given: Any) -> str:
    return "ramp" if isinstance(given, dict | Ramp) else "number"


def _not_below_zero(ramp: Ramp) -> Ramp:
    if min(ramp.start, ramp.end) < 0:
        raise ValueError("start and end must be at least 0")
    return ramp


def _at_most_one(ramp: Ramp) -> Ramp:
    if max(ramp.start, ramp.end) > 1:
        raise ValueError("start and end must be at most 1")
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
"""A number, or `{start, end, schedule}`: its values at the first and the last step, and the curve between."""
Share = Annotated[
    Annotated[float, Field(ge=0, le=1), Tag("number")]
    | Annotated[Ramp, AfterValidator(_not_below_zero), AfterValidator(_at_most_one), Tag("ramp")],
    Discriminator(_kind),
]
"""A weight in [0, 1], whose rest goes to another loss, or a ramp of such weights."""
Temperature = Annotated[
    Annotated[_Positive, Tag("number")] | Annotated[Ramp, AfterValidator(_above_zero), Tag("ramp")],
    Discriminator(_kind),
]
ClassWeights = Literal["balanced"] | tuple[_Positive, ...]


class Loss(Strict):
    """A loss and its weight in the sum.

    Attributes:
        weight: weight in the sum.
    """

    weight: Moving = 1.0


class OutputLoss(Loss):
    """A loss on the outputs of the student.

    Attributes:
        head: head whose outputs it is taken of, where the data have several; all by default.
        focus: larger weights for hard examples.
    """

    head: str | None = None
    focus: Focus | None = None

    @model_serializer(mode="wrap")
    def _without_no_head(self, content_of: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The content; without `head` where none is named, as before there was the key."""
        content: dict[str, Any] = content_of(self)
        if self.head is None:
            content.pop("head", None)  # absent where defaults are left out
        return content

    @property
    def taught_classes(self) -> tuple[int | str, ...] | None:
        """Names or numbers of the classes that are taught; None for all."""
        return None

    @property
    def weights_of_classes(self) -> ClassWeights | None:
        """Weights of the examples of each class; None if they are equal."""
        return None


class ClassWeighted(OutputLoss):
    """A loss whose examples can be weighted by their class.

    Attributes:
        class_weights: weight of the examples of each class; `balanced` gives all classes the same
            total.
    """

    class_weights: ClassWeights | None = None

    @property
    def weights_of_classes(self) -> ClassWeights | None:
        """Weights of the examples of each class; None if they are equal."""
        return self.class_weights


class Labels(ClassWeighted):
    """Cross-entropy with the labels."""

    loss: Literal["labels"]


class LogitLoss(OutputLoss):
    """A loss between the student's logits and the teacher's.

    Attributes:
        classes: names or numbers of the classes that are taught; all by default.
    """

    classes: tuple[int | str, ...] | None = Field(None, min_length=2)

    @property
    def taught_classes(self) -> tuple[int | str, ...] | None:
        """Names or numbers of the classes that are taught; None for all."""
        return self.classes


class SoftTargets(LogitLoss, ClassWeighted):
    """The divergence between softened distributions (Hinton et al. 2015)."""

    loss: Literal["soft_targets"]
    temperature: Temperature = 4.0


class Reverse(LogitLoss):
    """The divergence from the student's distribution to the teacher's (Gu et al. 2024)."""

    loss: Literal["reverse"]
    temperature: Temperature = 1.0


class TeacherLabels(LogitLoss, ClassWeighted):
    """Cross-entropy with the most likely class of the teacher."""

    loss: Literal["teacher_labels"]


class SquaredError(LogitLoss):
    """The squared difference of the logits (Ba and Caruana 2014)."""

    loss: Literal["squared_error"]


class Standardised(LogitLoss):
    """Soft targets of logits with zero mean and unit deviation (Sun et al. 2024)."""

    loss: Literal["standardised"]
    temperature: Temperature = 2.0


class Decoupled(OutputLoss):
    """The label against all other classes, and the other classes among themselves (Zhao et al. 2022).

    It takes no subset of the classes: the label has to be among them.
    """

    loss: Literal["decoupled"]
    alpha: Moving = 1.0
    beta: Moving = 8.0
    temperature: Temperature = 4.0


class Dist(LogitLoss):
    """The correlation of predictions, over classes and over examples (Huang et al. 2022)."""

    loss: Literal["dist"]
    temperature: Temperature = 1.0
    beta: Moving = 1.0
    gamma: Moving = 1.0


class FeatureLoss(Loss):
    """A loss between layers of the student and of the (first) teacher.

    Attributes:
        pairs: layers of the teacher by layers of the student; by default the pairs that `espalier
            show` prints.
    """

    pairs: dict[str, str] | None = Field(None, min_length=1)


class Hints(FeatureLoss):
    """The squared difference after a learned 1x1 convolution (Romero et al. 2015)."""

    loss: Literal["hints"]


class Review(FeatureLoss):
    """The difference of the teacher's layers from fusions of several layers (Chen et al. 2021).

    Attributes:
        pairs: layers of the teacher by layers of the student, at least two. Each layer of the
            student is fused with all deeper ones.
    """

    loss: Literal["review"]
    pairs: dict[str, str] | None = Field(None, min_length=2)


class Attention(FeatureLoss):
    """The difference of attention maps (Zagoruyko and Komodakis 2017)."""

    loss: Literal["attention"]


class Similarity(FeatureLoss):
    """The difference of similarities between the examples of a batch (Tung and Mori 2019).

    By default of the last pair only.
    """

    loss: Literal["similarity"]


class Relational(FeatureLoss):
    """The difference of distances and angles between the examples of a batch (Park et al. 2019).

    By default of the last pair only.
    """

    loss: Literal["relational"]
    distance: Moving = 25.0
    angle: Moving = 50.0


class MutualLoss(Loss):
    """Mutual learning: a peer is trained along, and each network learns from the other (Zhang et al. 2018).

    Attributes:
        model: factory of the peer.
        arguments: arguments of the factory.
        temperature: temperature of both distributions.
    """

    loss: Literal["mutual"]
    model: str
    arguments: dict[str, Any] = {}
    temperature: float = Field(1.0, gt=0)


class OwnLoss(LogitLoss):
    """A function of a trusted package: of the logits (N, classes) of student and teacher.

    It takes the keyword `weights`, the weights (N,) of the examples, and those of `settings`, and
    returns a scalar.

    Attributes:
        loss: place of the function, `package.module:function`.
        settings: further arguments.
    """

    loss: str
    settings: dict[str, float] = {}


_OWN = "own"


def _kind_of_loss(given: Any) -> str:
    """The tag of a loss: its name, or `own` for the place of a function."""
    name = given.get("loss") if isinstance(given, dict) else getattr(given, "loss", None)
    return _OWN if isinstance(name, str) and ":" in name else str(name)


AnyLogitLoss = (
    SoftTargets | Reverse | TeacherLabels | SquaredError | Standardised | Decoupled | Dist | OwnLoss
)
AnyFeatureLoss = Hints | Review | Attention | Similarity | Relational
AnyLoss = Annotated[
    Annotated[Labels, Tag("labels")]
    | Annotated[SoftTargets, Tag("soft_targets")]
    | Annotated[Reverse, Tag("reverse")]
    | Annotated[TeacherLabels, Tag("teacher_labels")]
    | Annotated[SquaredError, Tag("squared_error")]
    | Annotated[Standardised, Tag("standardised")]
    | Annotated[Decoupled, Tag("decoupled")]
    | Annotated[Dist, Tag("dist")]
    | Annotated[Hints, Tag("hints")]
    | Annotated[Review, Tag("review")]
    | Annotated[Attention, Tag("attention")]
    | Annotated[Similarity, Tag("similarity")]
    | Annotated[Relational, Tag("relational")]
    | Annotated[MutualLoss, Tag("mutual")]
    | Annotated[OwnLoss, Tag(_OWN)],
    Discriminator(_kind_of_loss),
]
