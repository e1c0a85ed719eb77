"""`espalier prune WEIGHTS`: a trained network cut to a fraction of its work, without a project."""

import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from espalier import folders
from espalier.commands.options import mapping
from espalier.errors import BadInput
from espalier.export.agreement import check_agreement
from espalier.export.onnx import export
from espalier.measures.comparison import compare_latency
from espalier.measures.macs import count_macs, count_parameters
from espalier.measures.sittings import Run
from espalier.models import build, save
from espalier.models.onnx_import import read_onnx
from espalier.models.trained import Weights, fit_weights, read_weights
from espalier.paths import DEPLOYED
from espalier.pruning import prune
from espalier.report.footprint import Footprint, describe_change
from espalier.runtimes import DEFAULT

Trained = tuple[nn.Module, tuple[str, ...], tuple[int, ...]]
"""A network with its weights, sentences about them, and the shape of an input."""

_SIZES = "3x224x224"
_SHAPE = re.compile(r"\d+(x\d+)*")


def run(
    weights: Path,
    model: str | None,
    arguments: str | None,
    shape: str | None,
    keep_macs: float,
    score: str,
    align: int,
    out: Path,
) -> None:
    """Write a folder with the cut network, as `espalier.models.load` reads it, and its ONNX file.

    The network is not trained afterwards: that needs data, and a loop of your own or a project.

    Args:
        weights: file of the weights, or ONNX file, which holds the network as well.
        model: factory of the network; its package is trusted by being named here. None for an ONNX file.
        arguments: arguments of the factory, in YAML.
        shape: shape of an input, such as 3x224x224; None for that of the ONNX file, or 3x224x224.
        keep_macs: multiply-accumulates to keep, as a fraction.
        score: importance of groups; one that needs no data.
        align: widths that are left are multiples of this.
        out: folder to write.

    Raises:
        BadInput: if the weights do not fit, the network cannot be cut, or the folder exists.
    """
    if out.exists():
        raise BadInput(f"Expected {out} not to exist yet; found it there.")
    if weights.suffix == ".onnx":
        network, notes, sizes = _from_onnx(weights, model, arguments, shape)
    else:
        network, notes, sizes = _from_factory(weights, model, arguments, shape or _SIZES)
    inputs = torch.rand(4, *sizes, generator=torch.Generator().manual_seed(0))
    smaller = prune(network, inputs, keep_macs=keep_macs, score=score, align=align)
    with folders.replacing(out, folders.beside(out)) as draft:
        export(smaller, draft / DEPLOYED, inputs, nn.Identity())
        save(smaller, draft)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    for note in notes:
        say(note)
    say(f"{out}: {_change(network, smaller, out / DEPLOYED, inputs)}")
    say(f"Train it before you use it: load({str(out)!r}).")


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
