"""`espalier make NAME`: one model of the tree, from its parent to a sealed folder."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier import files, folders
from espalier.coding.packed import encode
from espalier.data.names import VALIDATION
from espalier.dvc_record import keep_record
from espalier.errors import BadInput
from espalier.export.onnx import Deployed, export, relative_difference
from espalier.making import siblings
from espalier.making.job import Job
from espalier.making.latency_check import warn_if_slower
from espalier.making.result import OperationResult
from espalier.making.stage_dependencies import refuse_unknown_to_dvc
from espalier.making.workers import end_with_command, refuse_torchrun, train_together
from espalier.measures.device import latency_device
from espalier.measures.macs import count_macs, count_parameters, fraction_of_zeros
from espalier.models.architecture import architecture_of
from espalier.models.folder import save
from espalier.models.graph import evaluating
from espalier.models.structure import shared_weights
from espalier.outcomes import is_worker
from espalier.params import Prune, read_params
from espalier.paths import CONTENT, DEPLOYED, HISTORY, LINEAGE, METRICS, PACKED
from espalier.prediction import Headline
from espalier.quantity import quantity
from espalier.report.footprint import Footprint, describe_change
from espalier.settings.machines import Machines
from espalier.stage_lock import hold_stage
from espalier.training.history import Row, columns
from espalier.training.process_group import lost_processes

_COMPARED = 256  # examples on which the deployed file is compared with the network


def run(root: Path, name: str) -> None:
    """Make one model.

    Raises:
        BadInput: if the parameters, the data or the parent are not valid.
        Stopped: if SIGTERM arrived; the next run resumes from the checkpoint.
        TryAgain: if an input was changed meanwhile; nothing is written then.
    """
    if is_worker():
        _make_as_worker(root, name)
        return
    refuse_torchrun()
    job = Job.of(root, name, read_params(root))
    refuse_unknown_to_dvc(root, name, job.entry.own_files)
    if Machines.of_environment().own > 0:
        _help_first_machine(job)
        return
    with hold_stage(root, name, _say):
        keep_record(root)
        if not _is_made(job):
            _make(job)
        else:
            print(f"{name}: already made from these inputs")  # noqa: T201
        siblings.remove_checkpoints(job)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a waiting process writes nothing else


def _make(job: Job[Any]) -> None:
    """Make a model, unless a former process has made it and DVC has not recorded it."""
    if _is_kept(job):
        job.kept.put_back()
        print(f"{job.name}: already made from these inputs, before DVC could record it")  # noqa: T201
        return
    if job.entry.processes > 1:
        train_together(job.project.root, job.name, job.entry.processes)
        return
    started = time.monotonic()
    result = siblings.make(job)
    _publish(job, result, time.monotonic() - started)


def _make_as_worker(root: Path, name: str) -> None:
    """Train as one of several processes; the first writes the model.

    The command that started them holds the lock, and has found no model of these inputs.
    """
    end_with_command()
    with lost_processes():
        job = Job.of(root, name, read_params(root))
        _refuse_other_inputs(job)
        started = time.monotonic()
        result = siblings.make(job)
        job.processes.leave()
    if job.processes.rank == 0:
        _publish(job, result, time.monotonic() - started)
        siblings.remove_checkpoints(job)


def _refuse_other_inputs(job: Job[Any]) -> None:
    """Refuse processes that would train on different inputs, as on machines with different files.

    Raises:
        BadInput: if the inputs of this process are not those of process 0.
    """
    first = job.processes.from_first("inputs", lambda: job.key)
    if first != job.key:
        raise BadInput(
            f"Expected all processes of {job.name} to have the same parameters, data, parents, versions "
            f"and devices; found others in process {job.processes.rank}: keep the project in a folder that "
            "all machines share, and use machines of one kind."
        )


def _help_first_machine(job: Job[Any]) -> None:
    """Train a part of the processes of a model that the first machine makes, which holds the lock."""
    if _is_made(job):
        print(f"{job.name}: already made from these inputs")  # noqa: T201
    elif job.entry.processes > 1:
        train_together(job.project.root, job.name, job.entry.processes)
    else:
        print(f"{job.name}: made by the first machine, because it has one process")  # noqa: T201


def _is_made(job: Job[Any], folder: Path | None = None) -> bool:
    """Whether a folder, by default that of the model, is complete and made from the inputs of a job."""
    folder = folder or job.project.folder(job.name)
    try:
        files.verify(folder, required=CONTENT)
        return bool(files.read_json_object(folder / LINEAGE)["key"] == job.key)
    except (BadInput, KeyError):
        return False


def _is_kept(job: Job[Any]) -> bool:
    """Whether the model was made by a process that ended before DVC recorded it."""
    job.kept.drop_if_recorded()
    return job.kept.is_there() and _is_made(job, job.kept.folder)


def _publish(job: Job[Any], result: OperationResult, seconds: float) -> None:
    """Write the model folder, seal it, and print a summary."""
    headline = job.data.task.headline
    result.network.cpu()
    with folders.replacing(job.project.folder(job.name), job.project.drafts) as draft:
        _write_deployed(job, result, draft / DEPLOYED)
        save(result.network, draft)
        metrics = {
            **_measure(job, result, draft / DEPLOYED),
            **_pack(result, draft),
            "epochs": len(result.history),
            "seconds": round(seconds, 3),
            **result.metrics,
        }
        files.write(draft / HISTORY, _csv(result.history, headline))
        for name, record in {**result.records, **job.data.dataset.model_files()}.items():
            files.write_json(draft / name, record)
        files.write_json(draft / METRICS, metrics)
        files.write_json(draft / LINEAGE, _lineage(job, result, seconds))
        files.seal(draft)
        job.refuse_changed_inputs()
        notes = [*result.notes, *_compared(job, result, draft / DEPLOYED, metrics)]
        job.kept.keep(draft)
    for note in notes:
        print(f"{job.name}: {note}")  # noqa: T201
    print(_summary(job.name, metrics, headline))  # noqa: T201


def _compared(
    job: Job[Any], result: OperationResult, deployed: Path, metrics: dict[str, float]
) -> list[str]:
    """Warn of a model that is slower than its parent; a sentence about sizes before and after a cut."""
    if not result.latency_check:
        return []
    latency = warn_if_slower(job, deployed, result.latency_check)
    if not isinstance(job.entry, Prune) or not job.entry.spec.kind.cuts:
        return []
    parent = Footprint.of_metrics(job.project.metrics(job.entry.parent))
    return [describe_change(parent, Footprint.of_metrics(metrics), latency)]


def _write_deployed(job: Job[Any], result: OperationResult, path: Path) -> None:
    if result.deploy:
        result.deploy(path)
        return
    inputs, _ = job.data.stored(VALIDATION)
    data = job.data
    export(
        result.network,
        path,
        inputs[:_COMPARED],
        data.deployed_front,
        job.runtime,
        readout=data.readout,
        names=data.names,
    )


def _measure(job: Job[Any], result: OperationResult, deployed: Path) -> dict[str, float]:
    """The score of the deployed file on validation, and the size of the network and the file."""
    data, network = job.data, result.network
    inputs, targets = data.stored(VALIDATION)
    outputs = job.runtime.open(deployed, job.recipe.threads).outputs(inputs.numpy())
    scores = data.task.score(torch.from_numpy(outputs), targets)
    deployed_network = Deployed(network, data.deployed_front, data.readout)
    with evaluating(deployed_network), torch.no_grad():
        expected = deployed_network(inputs[:_COMPARED]).numpy()
    own = {} if data.concepts is None else {"classes": len(data.concepts.names)}
    return {
        f"validation_{data.task.headline.name}": float(scores.double().mean()),
        "difference_from_torch": relative_difference(expected, outputs[:_COMPARED]),
        "parameters": count_parameters(network),
        "zeros": fraction_of_zeros(network),
        "macs": count_macs(network, data.example().cpu()),
        "base_macs": result.base_macs,
        "bytes": deployed.stat().st_size,
        **own,
    }


def _pack(result: OperationResult, draft: Path) -> dict[str, int]:
    """The entropy-coded size of the network; unknown if the deployed file is not an export of it."""
    if result.deploy:
        return {}
    packed = encode(result.network)
    if shared_weights(result.network):
        files.write(draft / PACKED, packed)
    return {"packed_bytes": len(packed)}


def _lineage(job: Job[Any], result: OperationResult, seconds: float) -> dict[str, Any]:
    return {
        "name": job.name,
        "parent": job.entry.origin,
        "key": job.key,
        **job.inputs,
        "architecture": architecture_of(result.network).factory,
        "base_macs": result.base_macs,
        "base_parameters": _base_parameters(job, result.network),
        job.runtime.name: job.runtime.version,
        **_latency_device(job),
        "seconds": round(seconds, 3),
        "finished": time.time(),
    }


def _latency_device(job: Job[Any]) -> dict[str, str]:
    """The device of the latencies that an entry was pruned by; empty for entries that need none."""
    if not isinstance(job.entry, Prune) or not job.entry.spec.is_timed:
        return {}
    return {"latency_device": latency_device(job.runtime, 1)}


def _base_parameters(job: Job[Any], network: nn.Module) -> int:
    """Parameters of the nearest ancestor, or of the network itself, that no pruning has touched."""
    own, parent = count_parameters(network), job.entry.origin
    if parent is None or job.entry.factory is not None:
        return own
    return job.project.base_parameters(parent) or own


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
        f"{quantity(metrics['macs'])} multiply-accumulates, {metrics['bytes'] / 1e3:.1f} kB, "
        f"{metrics['seconds']:.1f} s"
    )
