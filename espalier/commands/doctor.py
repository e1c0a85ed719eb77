"""`espalier doctor`: what this machine and project have, and what is missing."""

import importlib.metadata
import os
import tempfile
from pathlib import Path

from rich.console import Console

from espalier import dvc_record
from espalier.commands import repair
from espalier.errors import BadInput, EspalierError
from espalier.measures.device import device_name
from espalier.params import read_params
from espalier.paths import AUDIT, DATA, DEPLOYMENTS, MODELS, PREPARED, REPORTS, STATE
from espalier.registry.connection import find_store
from espalier.registry.promotion import AuditFile
from espalier.space import existing, free_bytes, in_units
from espalier.training.device import computes_bfloat16, default_device
from espalier.upkeep.repair import is_damaged
from espalier.upkeep.sweep import find_leftovers, is_at_work, sweep

_FORMER_ENTRYPOINT = "entrypoint: flows."
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "dvc", "prefect", "mlflow")


def run(root: Path, mend: bool = False) -> None:
    """Print a line per finding.

    Args:
        root: the project.
        mend: whether to remove what is stale, and to repair what is damaged.

    Raises:
        EspalierError: if something is missing that a run needs.
        BadInput: if deployments name flows where former versions had them, or a file of DVC holds both sides
            of a merge.
    """
    console, missing = Console(highlight=False, soft_wrap=True), []
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
    console.print(f"{'registry':12} {_registry(root)}")
    _check_record(root, console, mend=mend)
    _check_leftovers(root, console, mend=mend)
    if mend and (root / ".dvc").is_dir():
        repair.run(root)


def _registry(root: Path) -> str:
    """The state of the project's store, as far as its files show it; a server is not contacted."""
    store = find_store(root)
    if not store.is_local:
        return f"on the server {store.shown}"
    if not store.is_missing:
        return f"there: {store.shown}"
    if AuditFile.of(store, read_params(root).registry.name).path.exists():
        return (
            f"lost: no database {store.shown}, but moves in {AUDIT}: `espalier register` makes it again, or "
            "`espalier restore FILE` from a backup"
        )
    return "not there yet"


def _check_record(root: Path, console: Console, *, mend: bool) -> None:
    """Refuse both sides of a merge in a file of DVC, and name a record that was cut off."""
    dvc_record.refuse_conflicts(root)
    if not dvc_record.is_damaged(root):
        return
    console.print(f"{'damaged':12} {dvc_record.RECORD}: `espalier run` restores it from a copy")
    if mend and not is_at_work(root):
        dvc_record.restore_record(root)


def _check_leftovers(root: Path, console: Console, *, mend: bool) -> None:
    """List what killed processes have left, folders without an entry, damaged models and reports."""
    params = read_params(root)
    leftovers = find_leftovers(root, params.names, params.sweep)
    for leftover in leftovers:
        place = leftover.path.relative_to(root)
        console.print(f"{'stale':12} {place}: {leftover.kind}, {leftover.bytes / 1e6:.1f} MB")
    for name in params.names:
        folder = root / MODELS / name
        if is_damaged(root, f"{MODELS}/{name}"):
            console.print(f"{'damaged':12} {folder.relative_to(root)}: `espalier repair`")
        elif not folder.is_dir():
            console.print(f"{'not made':12} {folder.relative_to(root)}: `espalier run`")
    if is_damaged(root, REPORTS):
        console.print(f"{'damaged':12} {REPORTS}: `espalier repair`")
    if leftovers and mend:
        freed = sweep(leftovers, root)
        busy = " (a process is at work: try again after it)" if is_at_work(root) else ""
        console.print(f"{'swept':12} {freed / 1e6:.1f} MB{busy}")
    elif leftovers:
        console.print(f"{'':12} `espalier doctor --mend` removes what is stale")


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
            "as former versions had it: change them and call `prefect deploy` again."
        )
