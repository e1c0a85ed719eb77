"""The recipe of a training: every setting of the engine, checked once."""

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from espalier.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one training.

    The same recipe, data, seed, device and thread count give the same bits.

    Attributes:
        epochs: number of passes over the training split; 0 trains nothing.
        patience: number of epochs without a lower validation loss after which training ends early
            (Prechelt 1998); the result is then the epoch with the lowest. 0 trains all epochs, and
            the result is the last.
        batch_size: examples per step, over all devices together.
        optimizer: `sgd` (with Nesterov momentum) or `adamw`, in their fused versions where there
            are.
        learning_rate: highest rate of the schedule.
        momentum: momentum of SGD; first beta of AdamW.
        weight_decay: decay of weights of two or more dimensions; never to biases and norms.
        schedule: `one_cycle` (linear warm-up, cosine down to nothing), `cosine` (no warm-up), or
            `constant`.
        warmup: fraction of all steps over which `one_cycle` rises.
        clip_norm: largest norm of the gradient; a larger one is scaled down; 0 turns it off.
        ema: decay per step of the running average of the weights that becomes the result; 0 turns
            it off.
        label_smoothing: smoothing of the cross-entropy with the labels.
        augment: whether training images are shifted, or cropped as they are decoded, and flipped, as
            the data set's description allows.
        views: number of different views of the training split: epoch `e` uses view `e mod views`.
            A teacher's outputs are kept for each view.
        sampler: order of the examples. `shuffle` takes each once an epoch; `balanced` draws each class
            equally often, with repetition, so that rare ones are seen more (over- and undersampling).
        freeze: names of layers, `*` for any part, that keep their weights and the statistics of their
            norms.
        precision: `float32`, `bfloat16` (autocast), or `auto`: bfloat16 where the device computes
            in it.
        threads: number of CPU threads; the bits depend on it.
        rollbacks: number of returns to the last epoch, with half the rate, after a loss that is
            not finite.
        resident_bytes: size above which a split is read from the disk batch by batch instead of kept on
            the device.
    """

    epochs: int = 20
    patience: int = 0
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = 0.2
    clip_norm: float = 5.0
    ema: float = 0.0
    label_smoothing: float = 0.0
    augment: bool = True
    views: int = 200
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    freeze: tuple[str, ...] = ()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 2
    rollbacks: int = 3
    resident_bytes: int = 4 * 2**30

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, float):
                _require(math.isfinite(value), one.name, "be finite", value)
        for name in ("batch_size", "views", "threads"):
            _require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        _require(self.learning_rate > 0, "learning_rate", "be above 0", self.learning_rate)
        for name in (
            "epochs",
            "patience",
            "weight_decay",
            "clip_norm",
            "rollbacks",
            "resident_bytes",
        ):
            _require(getattr(self, name) >= 0, name, "be at least 0", getattr(self, name))
        for name in ("momentum", "ema", "label_smoothing", "warmup"):
            _require(0 <= getattr(self, name) < 1, name, "lie in [0, 1)", getattr(self, name))


def _require(holds: bool, name: str, rule: str, found: object) -> None:
    if not holds:
        raise BadInput(f"Expected `{name}` to {rule}; found `{name} = {found}`.")
