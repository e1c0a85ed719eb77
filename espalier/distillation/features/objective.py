"""The objective of feature distillation: the teacher runs on each batch beside the student."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from espalier.distillation.features.fusion import Fusion
from espalier.distillation.features.layers import as_map
from espalier.distillation.features.tap import Tap
from espalier.distillation.losses.averages import wide
from espalier.distillation.settings import Ramp, at
from espalier.inputs import Front
from espalier.models.graph import evaluating
from espalier.training.loss_inputs import LossInputs


@dataclass(frozen=True)
class FeatureTerm:
    """A loss over pairs of layers.

    Attributes:
        loss: one of `espalier.distillation.losses.FEATURES`.
        pairs: names of the student's layers, each with the name of a layer of the teacher. The
            losses of the pairs are summed.
        weight: weight of the sum.
        adapted: whether a learned 1x1 convolution maps the student's channels to the teacher's.
        settings: keys of the loss.
        fused: whether each of the student's layers is fused with all deeper ones; the deepest is
            the last of `pairs`.
    """

    loss: Callable[..., Tensor]
    pairs: Mapping[str, str]
    weight: float | Ramp = 1.0
    adapted: bool = False
    settings: Mapping[str, float | Ramp] = field(default_factory=dict)
    fused: bool = False


@dataclass(frozen=True)
class OwnFront:
    """The front of a teacher that sees its inputs otherwise than the student.

    Attributes:
        front: maps stored inputs to what the teacher sees.
        example: inputs as the teacher sees them.
    """

    front: Front
    example: Tensor


class FromFeatures(nn.Module):
    """A weighted sum of losses over pairs of layers.

    Its parameters are the adapters and fusions, which are trained too and are not deployed. Its
    hooks are removed when it is closed or collected.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        terms: Sequence[FeatureTerm],
        example: Tensor,
        *,
        own_front: OwnFront | None = None,
        precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Hook the layers of all terms, and draw the adapters' weights from torch's generator.

        Args:
            student: network that is trained.
            teacher: teacher; it is put into evaluation mode and gets no gradient.
            terms: losses.
            example: inputs (N, C, H, W) as the networks see them, on their device.
            own_front: front of a teacher that sees its inputs otherwise than the student.
            precision: makes the context in which the teacher computes.

        Raises:
            BadInput: if a network has no layer of a name, or the layer's output is not a tensor.
        """
        super().__init__()
        self._terms = tuple(terms)
        self._precision = precision
        self._own_front = own_front
        # in a tuple: torch would register it as a part of this module
        self._teacher = (teacher.eval(),)
        self._ours = Tap(student, [name for term in terms for name in term.pairs])
        self._theirs = Tap(teacher, [name for term in terms for name in term.pairs.values()])
        with torch.no_grad(), evaluating(student):
            student(example)
        ours, theirs = self._maps(example, own_front.example if own_front else example)
        self.adapters = nn.ModuleList(_adapters(term, ours, theirs) for term in terms)
        self.adapters.to(example.device)

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch on which the student has just run."""
        ours, theirs = self._maps(seen.inputs, self._seen_by_teacher(seen))
        # data-parallel training waits for a gradient of every weight, those of the head included
        total = 0 * seen.outputs.sum()
        for term, adapters in zip(self._terms, self.adapters, strict=True):
            settings = {name: at(value, seen.progress) for name, value in term.settings.items()}
            adapted = _adapted(adapters, [ours[name] for name in term.pairs])
            for own, other in zip(adapted, term.pairs.values(), strict=True):
                loss = term.loss(own, theirs[other], **settings)
                total = total + at(term.weight, seen.progress) * loss
        return total

    def close(self) -> None:
        """Remove the hooks of both networks."""
        self._ours.close()
        self._theirs.close()

    def _seen_by_teacher(self, seen: LossInputs) -> Tensor:
        if self._own_front is None:
            return seen.inputs
        inputs: Tensor = self._own_front.front(seen.stored)
        return inputs

    def _maps(self, ours: Tensor, theirs: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs of the layers of both networks, by name; the student has run already."""
        with torch.no_grad(), self._precision():
            self._teacher[0](theirs)
        return _as_maps(self._ours, ours), _as_maps(self._theirs, theirs)


def _adapters(
    term: FeatureTerm, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> nn.Module:
    """The module of a term that maps the student's outputs to the inputs of the loss."""
    student = [_shape(ours[name]) for name in term.pairs]
    teacher = [_shape(theirs[name]) for name in term.pairs.values()]
    if term.fused:
        return Fusion(student, teacher)
    return nn.ModuleList(
        nn.Conv2d(own[0], other[0], 1) if term.adapted else nn.Identity()
        for own, other in zip(student, teacher, strict=True)
    )


def _adapted(adapters: nn.Module, maps: Sequence[Tensor]) -> list[Tensor]:
    """The student's maps (N, C, H, W) as the loss compares them."""
    if isinstance(adapters, Fusion):
        return adapters(maps)  # type: ignore[no-any-return]
    return [adapter(own) for adapter, own in zip(adapters, maps, strict=True)]  # type: ignore[call-overload]


def _shape(maps: Tensor) -> tuple[int, int, int]:
    """Channels, height and width."""
    _, channels, height, width = maps.shape
    return channels, height, width


def _as_maps(tap: Tap, inputs: Tensor) -> dict[str, Tensor]:
    """The outputs of the tapped layers of a network that has just run on `inputs`, by name."""
    size = (int(inputs.shape[2]), int(inputs.shape[3]))
    return {name: wide(as_map(output, size)) for name, output in tap.pop().items()}
