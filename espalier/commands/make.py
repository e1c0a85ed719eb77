"""`espalier make NAME`: one model of the tree, from its parent to a sealed folder."""

import csv
import io
import shutil
import time
from pathlib import Path
from typing import Any

import filelock
import torch

from espalier import files
from espalier.coding.packed import encode
from espalier.errors import BadInput
from espalier.export.onnx import export, relative_difference
from espalier.making.job import Job
from espalier.making.latency_check import tell_if_slower
from espalier.making.operations import OPERATIONS, OperationResult
from espalier.measures.macs import count_macs, count_parameters, fraction_of_zeros
from espalier.models.architecture import architecture_of
from espalier.models.folder import save
from espalier.models.structure import shared_weights
from espalier.params import read_params
from espalier.paths import DEPLOYED, HISTORY, LINEAGE, METRICS, MODELS, PACKED, STATE
from espalier.prediction import Headline
from espalier.training.history import Row, columns

_COMPARED = 256  # images on which the deployed file is compared with the network


def run(root: Path, name: str) -> None:
    """Make one model.

    Raises:
        BadInput: If the parameters, the data or the parent are not as they should be.
        Stopped: If SIGTERM arrived; the next run goes on from the checkpoint.
    """
    job = Job.of(root, name, read_params(root))
    if (
        job.team.rank
    ):  # a helper of torchrun's: it trains along and leaves the files to the first process
        if not _is_made(job):
            OPERATIONS[job.entry.by](job)
        return
    # one execution at a time, also beside the orphan of a killed `dvc repro`; the system frees the
    # lock of the dead
    lock = root / STATE / "locks" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lock):
        if _is_made(job):
            print(f"{name}: already made from these inputs")  # noqa: T201
            return
        started = time.monotonic()
        made = OPERATIONS[job.entry.by](job)
        _publish(job, made, time.monotonic() - started)
        shutil.rmtree(job.progress, ignore_errors=True)


def _is_made(job: Job) -> bool:
    folder = job.root / MODELS / job.name
    try:
        files.verify(folder)
        return bool(job.lineage(job.name)["key"] == job.key)
    except (BadInput, KeyError):
        return False


def _publish(job: Job, made: OperationResult, seconds: float) -> None:
    images, labels = _validation(job)
    network, dataset = made.network.cpu(), job.dataset
    with files.replacing(job.root / MODELS / job.name, job.root / STATE / "work") as draft:
        if made.deploy:
            made.deploy(draft / DEPLOYED)
        else:
            export(network, draft / DEPLOYED, images[:_COMPARED], dataset.front(), job.runtime)
        save(network, draft)
        logits = job.runtime.open(draft / DEPLOYED, job.recipe.threads).outputs(images.numpy())
        scores = job.task.score(torch.from_numpy(logits), labels)
        with torch.no_grad():
            ours = network(dataset.front()(images[:_COMPARED])).numpy()
        metrics = {
            f"validation_{job.task.headline.name}": float(scores.double().mean()),
            "difference_from_torch": relative_difference(ours, logits[:_COMPARED]),
            "parameters": count_parameters(network),
            "zeros": fraction_of_zeros(network),
            "macs": count_macs(network, dataset.example()),
            "base_macs": made.base_macs,
            "bytes": (draft / DEPLOYED).stat().st_size,
            **_pack(made, draft),
            "epochs": len(made.history),
            "seconds": round(seconds, 3),
            **made.metrics,
        }
        files.write(draft / HISTORY, _csv(made.history, job.task.headline))
        for name, record in made.records.items():
            files.write_json(draft / name, record)
        files.write_json(draft / METRICS, metrics)
        files.write_json(draft / LINEAGE, _lineage(job, made, seconds))
        files.seal(draft)
        tell_if_slower(job, draft / DEPLOYED, images.numpy())
    print(_summary(job.name, metrics, job.task.headline))  # noqa: T201


def _pack(made: OperationResult, draft: Path) -> dict[str, int]:
    """The bytes of the network, entropy coded; unknown where the deployed file is not made of its weights."""
    if made.deploy:
        return {}
    packed = encode(made.network)
    if shared_weights(made.network):
        files.write(draft / PACKED, packed)
    return {"packed_bytes": len(packed)}


def _validation(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(job.open("validation").batches([torch.arange(job.dataset.counts["validation"])]))
    return batches[0].inputs.cpu(), batches[0].targets.cpu()


def _lineage(job: Job, made: OperationResult, seconds: float) -> dict[str, Any]:
    return {
        "name": job.name,
        "parent": job.parent,
        "key": job.key,
        **job.inputs,
        "architecture": architecture_of(made.network).factory,
        "base_macs": made.base_macs,
        "base_parameters": _base_parameters(job, made),
        job.runtime.name: job.runtime.version,
        "seconds": round(seconds, 3),
        "finished": time.time(),
    }


def _base_parameters(job: Job, made: OperationResult) -> int:
    """The numbers that a network learned before any pruning: of an entry with a network of its own, of that."""
    own = count_parameters(made.network)
    return (
        own
        if getattr(job.entry, "model", None)
        else int(job.lineage(str(job.parent)).get("base_parameters", own))
    )


def _csv(history: list[Row], headline: Headline) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(headline), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _summary(name: str, metrics: dict[str, float], headline: Headline) -> str:
    score = headline.text(metrics[f"validation_{headline.name}"])
    return (
        f"{name}: {score} on validation, "
        f"{metrics['macs'] / 1e6:.2f} M multiply-accumulates, {metrics['bytes'] / 1e3:.1f} kB, "
        f"{metrics['seconds']:.1f} s"
    )
