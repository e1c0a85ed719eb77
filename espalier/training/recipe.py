"""How a network is trained: every knob of the training engine, checked once."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from espalier.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The knobs of one training run.

    The same recipe, data, seed, device and thread count give the same bits.

    Attributes:
        epochs: How often the training split is seen; 0 trains nothing.
        batch_size: Examples per step, over all devices together.
        optimizer: `sgd` (with Nesterov momentum) or `adamw`, in their fused versions where there
            are.
        learning_rate: The highest of the schedule.
        momentum: Of SGD; AdamW takes it as its first beta.
        weight_decay: Applied to weights of two or more dimensions; never to biases and norms.
        schedule: `one_cycle` (linear warm-up, cosine down to nothing), `cosine` (no warm-up), or
            `constant`.
        warmup: The part of all steps over which `one_cycle` rises.
        clip_norm: The gradient's norm is scaled down to this; 0 turns it off.
        ema: Decay per step of the running average of the weights that becomes the result; 0 turns
            it off.
        label_smoothing: Of the cross-entropy with the labels.
        augment: Whether training images are shifted and flipped as the data set's description
            allows.
        views: How many different augmented versions of the training split there are: epoch `e` sees
            version `e mod views`. A teacher's answers are kept per version.
        precision: `float32`, `bfloat16` (autocast), or `auto`: bfloat16 where the device computes
            in it.
        threads: Of the processor's arithmetic; part of what fixes the bits.
        rollbacks: How often a loss that is not finite may be answered by going back an epoch with
            half the rate.
        resident_bytes: A training split larger than this is streamed from the disk instead of kept
            on the device.
    """

    epochs: int = 20
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
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 2
    rollbacks: int = 3
    resident_bytes: int = 4 * 2**30

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        for name in ("batch_size", "views", "threads"):
            _should(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        _should(self.learning_rate > 0, "learning_rate", "be above 0", self.learning_rate)
        for name in ("epochs", "weight_decay", "clip_norm", "rollbacks", "resident_bytes"):
            _should(getattr(self, name) >= 0, name, "be at least 0", getattr(self, name))
        for name in ("momentum", "ema", "label_smoothing", "warmup"):
            _should(0 <= getattr(self, name) < 1, name, "lie in [0, 1)", getattr(self, name))


def _should(holds: bool, name: str, rule: str, found: object) -> None:
    if not holds:
        raise BadInput(f"Expected `{name}` to {rule}; found `{name} = {found}`.")
