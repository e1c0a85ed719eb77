"""Tables of minimal cases, over which generic tests run: a new method gets a row here."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Network:
    """A factory with arguments so small that a test costs milliseconds, and a shape that it takes."""

    factory: str
    arguments: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, int, int] = (1, 16, 16)
    classes: int = 10

    def __str__(self) -> str:
        return self.factory.partition(":")[2]


GRAPH = {  # a perceptron as steps of an ONNX file
    "steps": [
        {"operator": "Flatten", "inputs": ["x0"], "outputs": ["x1"], "attributes": {}},
        {
            "operator": "Linear",
            "inputs": ["x1"],
            "outputs": ["x2"],
            "attributes": {"in_features": 256, "out_features": 16},
            "layer": "hidden",
        },
        {"operator": "Relu", "inputs": ["x2"], "outputs": ["x3"], "attributes": {}},
        {
            "operator": "Linear",
            "inputs": ["x3"],
            "outputs": ["x4"],
            "attributes": {"in_features": 16, "out_features": 10},
            "layer": "classifier",
        },
    ]
}

NETWORKS = (
    Network("espalier:cnn", {"widths": [[8, 12], [16]]}),
    Network("espalier:lenet300"),
    Network("espalier:lenet5"),
    Network("espalier:mlp", {"hidden": [16, 8]}),
    Network("espalier:mobilenet", {"multiplier": 0.25}, shape=(3, 16, 16)),
    Network("espalier:onnx", GRAPH),
    Network("espalier:resnet", {"depth": 8, "width": 8}),
    Network("espalier:vgg", {"depth": 11, "width": 8}, shape=(3, 16, 16), classes=7),
    Network("espalier:wide_resnet", {"depth": 10, "widen": 1}),
)


TEXT_NETWORKS = (  # on tokens; tests/models/test_text.py
    Network("espalier:text_cnn"),
    Network("espalier:text_encoder"),
    Network("espalier:text_lstm"),
)


@dataclass(frozen=True)
class Published:
    """A network of a paper, and how many numbers it learns."""

    network: Network
    parameters: int

    def __str__(self) -> str:
        return str(self.network)


PUBLISHED = (
    Published(Network("espalier:lenet5", shape=(1, 28, 28)), 431_080),
    Published(Network("espalier:lenet300", shape=(1, 28, 28)), 266_610),
    # with projections (option B); 269,722 with option A
    Published(Network("espalier:resnet", {"depth": 20, "width": 16}, shape=(3, 32, 32)), 272_474),
    Published(
        Network("espalier:wide_resnet", {"depth": 16, "widen": 4}, shape=(3, 32, 32)), 2_748_890
    ),
    Published(
        Network("espalier:wide_resnet", {"depth": 28, "widen": 10}, shape=(3, 32, 32)), 36_479_194
    ),
    # 14,728,266 with the 4,224 biases of convolutions that a batch norm follows
    Published(Network("espalier:vgg", {"depth": 16, "width": 64}, shape=(3, 32, 32)), 14_724_042),
    # torchvision's mobilenet_v2 for 10 classes
    Published(Network("espalier:mobilenet", {"multiplier": 1.0}, shape=(3, 32, 32)), 2_236_682),
)


@dataclass(frozen=True)
class Loss:
    """A loss of distillation as `params.yaml` asks for it, and what its paper claims that it does not look at."""

    keys: dict[str, Any]
    over: str = "logits"
    ignores: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join(
            str(value) for name, value in self.keys.items() if name in ("loss", "temperature")
        )


LOSSES = (
    Loss({"loss": "soft_targets", "temperature": 1}, ignores=("shift",)),
    Loss({"loss": "soft_targets", "temperature": 4}, ignores=("shift",)),
    Loss({"loss": "reverse", "temperature": 2}, ignores=("shift",)),
    Loss({"loss": "teacher_labels"}, ignores=("shift", "scale of the teacher")),
    Loss({"loss": "squared_error"}),
    Loss({"loss": "standardised"}, ignores=("shift", "scale")),
    Loss({"loss": "decoupled", "temperature": 2}, ignores=("shift",)),
    Loss({"loss": "dist", "temperature": 1}, ignores=("shift",)),
    Loss({"loss": "hints"}, over="features"),
    Loss({"loss": "review"}, over="features"),
    Loss(
        {"loss": "attention"},
        over="features",
        ignores=("scale", "order of channels", "signs", "rotation"),
    ),
    Loss(
        {"loss": "similarity"},
        over="features",
        ignores=("scale", "order of channels", "signs", "rotation"),
    ),
    Loss(
        {"loss": "relational"},
        over="features",
        ignores=("scale", "order of channels", "signs", "rotation", "shift"),
    ),
)


@dataclass(frozen=True)
class Operation:
    """A kind of entry, as small as it can be, that finds something to do in `user_package:everything`.

    Attributes:
        name: name of the operation.
        keys: keys of the entry except `from`. Fractions to keep or to prune refer to what the parent has left.
        last: A word of the reason why nothing can come after it.
        refused: The operations that it cannot come after, each with a word of the reason.
    """

    name: str
    keys: dict[str, Any]
    last: str = ""
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


_RECOVERY = {"finetune": {"epochs": 1}}
OPERATIONS = (
    Operation("train", {"by": "train", "epochs": 1}),
    Operation(
        "import",
        {
            "by": "import",
            "model": "user_package:everything",
            "weights": "models/teacher/weights.safetensors",
        },
    ),
    Operation("distill", {"by": "distill", "model": "user_package:everything", "epochs": 1}),
    Operation("prune-channels", {"by": "prune", "keep_macs": 0.7, "align": 1, **_RECOVERY}),
    Operation(
        "prune-heads",
        {"by": "prune", "pattern": "heads", "keep_macs": 0.97, "align": 1, **_RECOVERY},
    ),
    Operation("prune-blocks", {"by": "prune", "pattern": "blocks", "keep_macs": 0.8, **_RECOVERY}),
    Operation("prune-weights", {"by": "prune", "pattern": "weights", "sparsity": 0.5, **_RECOVERY}),
    Operation("prune-n_of_m", {"by": "prune", "pattern": "n_of_m", **_RECOVERY}),
    Operation(
        "fold-batch_norms",
        {"by": "fold", "fold": "batch_norms"},
        refused=dict.fromkeys(("share", "share-rate"), "before weights are shared"),
    ),
    Operation("fold-linears", {"by": "fold", "fold": "linears", **_RECOVERY}),
    Operation(
        "fold-ranges",
        {"by": "fold", "fold": "ranges"},
        refused=dict.fromkeys(("share", "share-rate"), "before weights are shared"),
    ),
    Operation("fold-blocks", {"by": "fold", "fold": "blocks", "keep_macs": 0.8, **_RECOVERY}),
    Operation(
        "fold-blocks-weights",
        {"by": "fold", "fold": "blocks", "compare": "weights", "keep_macs": 0.8, **_RECOVERY},
    ),
    Operation(
        "factorize",
        {"by": "factorize", "keep_macs": 0.8, "align": 1, **_RECOVERY},
        refused=dict.fromkeys(
            ("prune-weights", "prune-n_of_m", "share", "share-rate"),
            "before weights are masked or shared",
        ),
    ),
    Operation(
        "baseline",
        {"by": "baseline", **_RECOVERY},
        refused=dict.fromkeys(
            ("prune-weights", "prune-n_of_m", "share", "share-rate"), "masked or shared weights"
        ),
    ),
    Operation("share", {"by": "share", "bits": 4, **_RECOVERY}),
    Operation("share-rate", {"by": "share", "method": "rate", "rate": 0.05, **_RECOVERY}),
    Operation("quantize-static", {"by": "quantize", "images": 64}, last="quantize last"),
    Operation("quantize-dynamic", {"by": "quantize", "scheme": "dynamic"}, last="quantize last"),
    Operation(
        "quantize-aware",
        {"by": "quantize", "scheme": "aware", "images": 64, **_RECOVERY},
        last="quantize last",
        refused=dict.fromkeys(
            ("share", "share-rate"), "before weights are shared"
        ),  # it folds batch norms
    ),
)


@dataclass(frozen=True)
class Cut:
    """A pattern of pruning, with a target within reach of two tiny networks that have something of it.

    Attributes:
        pattern: Its name.
        networks: all but the first are for tests that may take long.
        target: Arguments of `prune`.
    """

    pattern: str
    networks: tuple[Network, ...]
    target: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.pattern


_RESNET8, _RESNET14 = (
    Network("espalier:resnet", {"depth": depth, "width": 8}) for depth in (8, 14)
)
_EVERYTHING = Network("user_package:everything")
CUTS = (
    Cut("channels", (_RESNET8, _EVERYTHING), {"keep_macs": 0.7, "align": 1}),
    Cut("heads", (_EVERYTHING,), {"keep_macs": 0.97}),
    Cut("blocks", (_EVERYTHING, _RESNET14), {"keep_macs": 0.8}),
    Cut("weights", (_RESNET8, _EVERYTHING), {"sparsity": 0.6}),
    Cut("n_of_m", (_RESNET8, _EVERYTHING)),
)


@dataclass(frozen=True)
class Quantization:
    """A scheme, and the keys that it is called with.

    Attributes:
        scheme: `static`, `dynamic` or `aware`.
        keys: arguments of the function.
    """

    scheme: str
    keys: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.scheme, *(str(value) for value in self.keys.values())])


QUANTIZATIONS = (
    *(
        Quantization("static", {"calibration": name})
        for name in ("minmax", "percentile", "entropy")
    ),
    *(
        Quantization("static", {"calibration": name, "per_channel": False})
        for name in ("minmax", "entropy")
    ),
    Quantization("static", {"calibration": "minmax", "reduce_range": False}),
    Quantization("dynamic"),
    Quantization("dynamic", {"per_channel": False}),
    Quantization("aware", {"calibration": "minmax"}),
    Quantization("aware", {"calibration": "percentile"}),
    Quantization("aware", {"calibration": "entropy", "per_channel": False}),
)
