"""Espalier's methods in a training loop of your own: python examples/own_loop.py PREPARED.

The network, the DataLoader, the optimizer and the loop are plain PyTorch. Each method takes at most five
lines of Espalier. PREPARED is a folder that `espalier prepare` has written, here the digits; any other
DataLoader will do.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from own_network import Batches, OwnNetwork, accuracy, loader, train
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.coding import pack, share, unpack
from espalier.distillation import losses
from espalier.export.onnx import export
from espalier.folding import fold_batch_norms
from espalier.measures.macs import count_macs
from espalier.models import load, save
from espalier.models.architecture import Architecture
from espalier.models.structure import replace_layer
from espalier.pruning import prune
from espalier.quantization import quantize
from espalier.runtimes import DEFAULT


def pruned(network: nn.Module, batches: Batches) -> nn.Module:
    """Half of the multiply-accumulates, by the Taylor score on your own batches."""
    images, _ = next(iter(batches))

    def own_losses(candidate: nn.Module) -> Iterator[Tensor]:
        return (F.cross_entropy(candidate(x), y) for x, y in batches)

    return prune(network, images[:2], keep_macs=0.5, score="taylor", align=4, losses=own_losses)


def distilled(student: nn.Module, teacher: nn.Module, batches: Batches, epochs: int) -> nn.Module:
    """Recovery of a cut network, or training of a new one, with the outputs of a teacher."""
    optimizer = torch.optim.AdamW(student.parameters(), 0.003)
    for _ in range(epochs):
        for images, _ in batches:
            with torch.no_grad():
                known = teacher.eval()(images)
            loss = losses.soft_targets(student.train()(images), known, temperature=4.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student.eval()


def folded(network: nn.Module, batches: Batches) -> nn.Module:
    """Batch norms folded into convolutions: the same outputs."""
    images, _ = next(iter(batches))
    return fold_batch_norms(network, images[:2])


def deployed(network: nn.Module, batches: Batches, folder: Path) -> Path:
    """An ONNX file that was compared with the network, and one in 8-bit integers."""
    images, _ = next(iter(batches))
    export(network, folder / "float.onnx", images, nn.Identity())
    quantize(folder / "float.onnx", folder / "int8.onnx", images.numpy(), calibration="entropy")
    return folder / "int8.onnx"


def saved(network: nn.Module, folder: Path, width: int) -> nn.Module:
    """A folder from which the network is loaded again, bit for bit, also after it was changed."""
    Architecture("own_network:own_network", 10, (1, 8, 8), {"width": width}).attach(network)
    replace_layer(network, "head", nn.Linear(2 * width, 5))  # a change by hand, recorded
    save(network, folder)
    return load(folder, trusted=["own_network"])


def packed(network: nn.Module, path: Path, width: int) -> nn.Module:
    """One entropy-coded file of weights that share 64 values per layer."""
    Architecture("own_network:own_network", 10, (1, 8, 8), {"width": width}).attach(network)
    shared = share(network, bits=6)
    pack(shared, path)
    return unpack(path, trusted=["own_network"])


def main(prepared: Path) -> None:
    """All of it, with a line for each step."""
    torch.manual_seed(0)
    batches, held_out = loader(prepared, "train"), loader(prepared, "validation")
    example = next(iter(batches))[0][:2]
    whole = train(OwnNetwork(16), batches, 8)
    say("whole", accuracy(whole, held_out), count_macs(whole, example))
    smaller = pruned(whole, batches)
    say("pruned", accuracy(smaller, held_out), count_macs(smaller, example))
    smaller = distilled(smaller, whole, batches, 6)
    say("distilled", accuracy(smaller, held_out), count_macs(smaller, example))
    smaller = folded(smaller, batches)
    say("folded", accuracy(smaller, held_out), count_macs(smaller, example))
    with tempfile.TemporaryDirectory() as folder:
        path = deployed(smaller, batches, Path(folder))
        right = [
            DEFAULT.open(path).outputs(images.numpy()).argmax(1) == labels.numpy()
            for images, labels in held_out
        ]
        mean = sum(one.sum() for one in right) / sum(len(one) for one in right)
        say("int8", float(mean), path.stat().st_size, "bytes")
        again = packed(train(OwnNetwork(16), batches, 8), Path(folder) / "packed", 16)
        size = (Path(folder) / "packed").stat().st_size
        say("packed", accuracy(again, held_out), size, "bytes")
        changed = saved(OwnNetwork(16), Path(folder) / "model", 16)
        print(f"{'changed':10} {changed.head.out_features} classes")


def say(step: str, score: float, size: int, unit: str = "multiply-accumulates") -> None:
    """A line for a step."""
    print(f"{step:10} {100 * score:5.1f} % {size:9,} {unit}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
