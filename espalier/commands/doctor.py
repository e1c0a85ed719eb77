"""`espalier doctor`: what this machine and project have, and what is missing."""

import importlib.metadata
import os
import tempfile
from pathlib import Path

from rich.console import Console

from espalier.errors import BadInput, EspalierError
from espalier.measures.device import device_name
from espalier.params import read_params
from espalier.paths import DATA, DEPLOYMENTS, MODELS, PREPARED, STATE
from espalier.space import existing, free_bytes, in_units
from espalier.training.device import computes_bfloat16, default_device

_FORMER_ENTRYPOINT = "entrypoint: flows."
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "dvc", "prefect", "mlflow")


def run(root: Path) -> None:
    """Print a line per finding.

    Raises:
        EspalierError: if something is missing that a run needs.
        BadInput: if deployments name flows where former versions had them.
    """
    console, missing = Console(highlight=False), []
    for package in _PACKAGES:
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
            missing.append(package)
        console.print(f"{package:12} {found}")
    device = default_device()
    arithmetic = "bfloat16" if computes_bfloat16(device) else "float32"
    console.print(f"{'device':12} {device_name(device)}, computes in {arithmetic}")
    console.print(
        f"{'processors':12} {os.cpu_count()}, {read_params(root).training.threads} for each "
        "training"
    )
    for line in _disks(root):
        console.print(f"{'disk':12} {line}")
    for folder in (DATA, PREPARED, MODELS):
        console.print(f"{folder:12} {'there' if (root / folder).is_dir() else 'not there yet'}")
    if missing:
        raise EspalierError(
            f"Expected the pipeline to find {', '.join(missing)}; found nothing: install "
            "espalier[pipeline]."
        )
    _check_deployments(root)


def _disks(root: Path) -> list[str]:
    """The free space of each file system that the project writes to, and a folder that lies on it."""
    folders = (root, root / STATE, root / PREPARED, root / MODELS, Path(tempfile.gettempdir()))
    by_device: dict[int, Path] = {}
    for folder in folders:
        by_device.setdefault(existing(folder).stat().st_dev, folder)
    return [f"{in_units(free_bytes(one))} free at {one}" for one in by_device.values()]


def _check_deployments(root: Path) -> None:
    """Refuse entrypoints of former versions, which a worker could not import."""
    deployments = root / DEPLOYMENTS
    if deployments.exists() and _FORMER_ENTRYPOINT in deployments.read_text(encoding="utf-8"):
        raise BadInput(
            f"Expected entrypoints of {DEPLOYMENTS} to begin with `espalier.flows.`; found `flows.`, "
            "as former versions had it: change them and run `prefect deploy --all` again."
        )
