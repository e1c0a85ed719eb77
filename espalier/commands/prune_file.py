"""`espalier prune WEIGHTS`: a trained network cut to a fraction of its work, without a project."""

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from espalier import folders
from espalier.commands.options import mapping
from espalier.commands.sample_images import agreement, parts_of, preprocessed, read_images
from espalier.data.prepared import Split
from espalier.errors import BadInput, reason_of
from espalier.export.agreement import check_agreement
from espalier.export.onnx import export
from espalier.measures.comparison import compare_latency
from espalier.measures.macs import count_macs, count_parameters
from espalier.measures.sittings import Run
from espalier.models import build, save
from espalier.models.graph import evaluating
from espalier.models.onnx_import import read_onnx
from espalier.models.trained import Weights, fit_weights, read_weights
from espalier.paths import DEPLOYED
from espalier.pruning import prune
from espalier.report.footprint import Footprint, describe_change
from espalier.runtimes import DEFAULT
from espalier.training.batches import Resident, in_order
from espalier.training.scoring import Inference

Trained = tuple[nn.Module, tuple[str, ...], tuple[int, ...]]
"""A network with its weights, sentences about them, and the shape of an input."""

_SIZES = "3x224x224"
_IMAGE, _CHANNELS = 3, (1, 3)  # dimensions of an image, and the channels that files have
_MOST = 1536  # images: two thirds to fit layers on, the others to compare answers on
_FEWEST = 128  # images to fit layers on, however large the network is
_WORK = 4e12  # multiply-accumulates of all passes beyond those: a few minutes of a processor
_BATCH = 32
_SHAPE = re.compile(r"\d+(x\d+)*")


def run(  # noqa: PLR0913 - the options of the command line
    weights: Path,
    model: str | None,
    arguments: str | None,
    shape: str | None,
    keep_macs: float,
    score: str,
    align: int,
    out: Path,
    calibrate: Path | None = None,
    settings: str | None = None,
) -> None:
    """Write a folder with the cut network, as `espalier.models.load` reads it, and its ONNX file.

    The network is not trained afterwards: that needs labels or a teacher, and a loop of your own or a
    project. With images, one layer after another is fitted to what the whole network computes there.

    Args:
        weights: file of the weights, or ONNX file, which holds the network as well.
        model: factory of the network; its package is trusted by being named here. None for an ONNX file.
        arguments: arguments of the factory, in YAML.
        shape: shape of an input, such as 3x224x224; None for that of the ONNX file, or 3x224x224.
        keep_macs: multiply-accumulates to keep, as a fraction.
        score: importance of groups; one that needs no data.
        align: widths that are left are multiples of this.
        out: folder to write.
        calibrate: folder with images of the kind that the network will see; they need no labels.
        settings: preprocessing that the network expects, in YAML; by default pixels in [0, 1].

    Raises:
        BadInput: if the weights do not fit, the network cannot be cut, the folder exists, or the images
            cannot be read.
    """
    if out.exists():
        raise BadInput(f"Expected {out} not to exist yet; found it there.")
    if weights.suffix == ".onnx":
        network, notes, sizes = _from_onnx(weights, model, arguments, shape)
    else:
        network, notes, sizes = _from_factory(weights, model, arguments, shape or _SIZES)
    inputs = torch.rand(4, *sizes, generator=torch.Generator().manual_seed(0))
    _check_runs(network, inputs)
    most = _affordable(network, inputs, keep_macs) if calibrate else 0
    sample = _Sample.read(calibrate, settings, sizes, most)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    if sample:
        say(f"Fits one layer after another on {len(sample.fitted)} images; this can take minutes.")
    smaller = prune(
        network,
        inputs,
        keep_macs=keep_macs,
        score=score,
        align=align,
        losses=sample.losses if sample else None,
        reconstruct="layers",
    )
    with folders.replacing(out, folders.beside(out)) as draft:
        export(smaller, draft / DEPLOYED, inputs, nn.Identity())
        save(smaller, draft)
    for note in notes:
        say(note)
    say(f"{out}: {_change(network, smaller, out / DEPLOYED, inputs)}")
    if sample:
        say(sample.agreement(weights, network, smaller))
    say(f"Train it before you use it: load({str(out)!r}).")


@dataclass(frozen=True)
class _Sample:
    """Images without labels.

    Attributes:
        fitted: images that its layers are fitted on.
        compared: other images, on which it is compared with the whole one.
    """

    fitted: Resident
    compared: Resident

    @classmethod
    def read(
        cls, folder: Path | None, settings: str | None, shape: tuple[int, ...], most: int
    ) -> "_Sample | None":
        """The images of a folder as the network sees them, at most so many to fit on; None without a folder."""
        if folder is None:
            if settings is not None:
                raise BadInput("Expected --calibrate beside --input, to have images; found none.")
            return None
        if len(shape) != _IMAGE or shape[0] not in _CHANNELS:
            raise BadInput(
                "Expected a network on images, of shape 1xHxW or 3xHxW, for --calibrate; found inputs of "
                f"the shape {'x'.join(map(str, shape))}."
            )
        images = preprocessed(read_images(folder, shape, _MOST), settings)
        fitted, compared = parts_of(images)
        return cls(_unlabelled(fitted[:most]), _unlabelled(compared))

    def losses(self, network: nn.Module) -> Iterator[Tensor]:
        """A number for each batch: there are no labels, and fitting only runs the network."""
        for batch in self.fitted.batches(in_order(len(self.fitted), _BATCH)):
            yield network(batch.inputs).square().mean()

    def agreement(self, file: Path, network: nn.Module, smaller: nn.Module) -> str:
        """The sentence on how often the cut network answers as the whole one."""
        inference = Inference(self.compared, nn.Identity())
        theirs, ours = (inference.outputs(one)[0].numpy() for one in (network, smaller))
        return agreement(file, ours, theirs)


def _check_runs(network: nn.Module, inputs: Tensor) -> None:
    """Run a network once on random inputs.

    Raises:
        BadInput: if it cannot take inputs of this shape.
    """
    try:
        with evaluating(network), torch.no_grad():
            network(inputs)
    except Exception as error:
        shape = "x".join(map(str, inputs.shape[1:]))
        raise BadInput(
            f"Expected the network to take inputs of the shape {shape}; found: {reason_of(error)}: --shape "
            "names another one."
        ) from error


def _affordable(network: nn.Module, inputs: Tensor, keep_macs: float) -> int:
    """The number of images for which it takes minutes to run the cut network half through for each layer."""
    layers = sum(parameter.ndim > 1 for parameter in network.parameters())
    work = count_macs(network, inputs) * keep_macs * layers / 2
    return max(_FEWEST, round(_WORK / max(work, 1)))


def _unlabelled(images: NDArray[np.float32]) -> Resident:
    split = Split(torch.from_numpy(images), torch.zeros(len(images), dtype=torch.int64))
    return Resident(split, torch.device("cpu"))


def _change(network: nn.Module, smaller: nn.Module, file: Path, inputs: Tensor) -> str:
    """Sizes and latency before and after, by a file of the whole network for the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / DEPLOYED
        export(network, whole, inputs, nn.Identity())
        before, after = (
            Footprint(count_macs(one, inputs), count_parameters(one), path.stat().st_size)
            for one, path in ((network, whole), (smaller, file))
        )

        def opened() -> dict[str, Run]:
            return {"parent": DEFAULT.open(whole).run, "child": DEFAULT.open(file).run}

        latency = compare_latency(opened, inputs[:1].numpy(), patient=True)
    return describe_change(before, after, latency)


def _from_factory(weights: Path, model: str | None, arguments: str | None, shape: str) -> Trained:
    """The network of a factory with its weights."""
    if model is None:
        raise BadInput(
            f"Expected --model to name the network that {weights} belongs to, such as "
            "torchvision:resnet18; found none."
        )
    read = read_weights(weights)
    sizes = _sizes(shape)
    package = model.partition(":")[0].partition(".")[0]
    build_network = partial(
        build,
        model,
        shape=sizes,
        arguments=mapping("--arguments", arguments),
        trusted=(package,),
    )
    network, notes = _fitted(build_network, read)
    return network.eval(), (*read.notes, *notes), sizes


def _fitted(
    build_network: Callable[..., nn.Module], weights: Weights
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network whose number of classes is that of the weights, and what was left out of them."""
    problems = []
    for classes in _possible_classes(weights):
        network = build_network(classes=classes)
        try:
            return network, fit_weights(network, weights)
        except BadInput as error:
            problems.append(error)
    raise problems[0]


def _from_onnx(file: Path, model: str | None, arguments: str | None, shape: str | None) -> Trained:
    """The network of an ONNX file, which gives the outputs of the file."""
    if model or arguments:
        raise BadInput(
            f"Expected neither --model nor --arguments beside an ONNX file; found {model or arguments!r}."
        )
    program = read_onnx(file, _sizes(shape) if shape else None)
    network = program.build()
    inputs = torch.rand(8, *program.shape, generator=torch.Generator().manual_seed(1))
    check_agreement(network, program, file, inputs)
    return network, program.notes, program.shape


def _sizes(shape: str) -> tuple[int, ...]:
    if not _SHAPE.fullmatch(shape):
        raise BadInput(f"Expected --shape such as 3x224x224; found {shape!r}.")
    return tuple(int(size) for size in shape.split("x"))


def _possible_classes(weights: Weights) -> list[int]:
    """The rows of the matrices, those of the last one first: it is the head, unless a network defines it earlier."""
    rows = [len(tensor) for tensor in weights.tensors.values() if tensor.ndim > 1]
    if not rows:
        raise BadInput("Expected weights of a network; found no matrix among them.")
    of_layers = [len(tensor) for tensor in weights.tensors.values() if tensor.ndim == 2]
    return list(dict.fromkeys([rows[-1], *reversed(of_layers)]))
