"""`espalier evaluate`: every model's deployed file on the test split, side by side."""

import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from espalier import __version__, files, folders
from espalier.commands.report import commit_of, write_page
from espalier.commands.undeclared import drop_undeclared
from espalier.data.prepared import Dataset, Split, data_hash, read_dataset, read_split
from espalier.dvc_record import keep_record
from espalier.errors import Notice, TryAgain
from espalier.judging import Question, empty_groups, forgotten, front, judgement
from espalier.making.kept import Kept, drop_recorded_models
from espalier.measures.device import latency_device, processor
from espalier.models.folder import concepts_of
from espalier.params import Params, read_params
from espalier.params.lineage import refuse_stale
from espalier.paths import (
    CLASSES,
    CONDITIONS,
    CONTENT,
    DEPLOYED,
    LINEAGE,
    MANIFEST,
    MODELS,
    PREDICTIONS,
    PREPARED,
    REPORTS,
    STATE,
    TABLE,
    TEACHER,
    made_model,
)
from espalier.prediction import Task
from espalier.records import LineageRecord, read_record
from espalier.report.baselines import beside_baselines
from espalier.report.costs import latencies, peak_memory, recorded_facts
from espalier.report.dvc_files import write_dvc_files
from espalier.report.terminal import print_tree
from espalier.report.understanding.explain import explain
from espalier.report.understanding.surrogates import check_surrogates
from espalier.runtimes import RunLimits, runtime_named

_SHOWN = 5  # classes that a sentence names


def run(root: Path) -> None:
    """Measure all models that `params.yaml` declares, and write `reports/`.

    Raises:
        BadInput: If a model or the test split is missing or damaged, or a model was made from other
            inputs than it would be made from now.
        TryAgain: if parameters, models or data were changed meanwhile; the former reports stay.
    """
    params = read_params(root)
    began = _inputs(root)
    _put_former_reports_back(root)
    check_surrogates(params.evaluation.surrogate_depth)
    drop_undeclared(root, params)
    hashes = _verify(root, params)
    dataset = read_dataset(root / PREPARED)
    test = read_split(root / PREPARED, "test")
    inputs, task = test.inputs.numpy(), dataset.build_task()
    conditions = _conditions(root, params, hashes, dataset.task)
    with folders.replacing(root / REPORTS, root / STATE / "work") as draft:
        outputs = _outputs(root, params, inputs)
        questions = _questions(root, dataset, test, list(hashes))
        judged, classes = _judge(outputs, questions, task)
        _write_predictions(draft / PREDICTIONS, outputs, questions, task)
        costs = [
            recorded_facts(root, params),
            peak_memory(root, params, dataset),
            *latencies(root, params, dataset, inputs),
        ]
        table = pd.concat([_entries(params), judged, *costs], axis=1).rename_axis("model")
        table = _completed(table, params, conditions, task, questions)
        table.to_csv(draft / TABLE)
        classes.to_csv(draft / CLASSES, index=False)
        files.write_json(draft / CONDITIONS, conditions)
        write_dvc_files(root, draft, table, task.headline)
        explain(
            root,
            draft,
            params,
            test,
            _of_all_classes(outputs, questions),
            front=table.index[table["front"]].tolist(),
        )
        write_page(root, draft)
        _refuse_changed(began, _inputs(root))
        files.seal(draft, nested=True)
        Kept(root, REPORTS).keep(draft)
    _print_table(table, len(inputs), task)
    sys.stdout.writelines(beside_baselines(params, outputs, questions, task))


def _inputs(root: Path) -> dict[str, Any]:
    """Everything that DVC records as an input of the reports, by words for the user."""
    params = read_params(root)
    manifests = {name: root / MODELS / name / MANIFEST for name in params.names}
    return {
        "evaluation": params.evaluation,
        "models of params.yaml": params.models,
        "data": data_hash(root / PREPARED),
        **{name: files.sha256(path) for name, path in manifests.items() if path.is_file()},
    }


def _refuse_changed(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse reports that DVC would record with other inputs than theirs.

    Raises:
        TryAgain: if an input has changed.
    """
    changed = [name for name in {**began, **now} if began.get(name) != now.get(name)]
    if changed:
        raise TryAgain(
            "Expected parameters, models and data to stay as they were when the evaluation began; found "
            f"other {', '.join(changed)} when it ended: evaluate again. The former reports are kept."
        )


def _print_table(table: pd.DataFrame, examples: int, task: Task) -> None:
    """Print the table on a terminal, and elsewhere that it is there."""
    if sys.stdout.isatty():
        print_tree(table.reset_index().to_dict("records"), task.headline)
    else:
        print(f"measured {len(table)} models on {examples} test examples; reports/ is ready")  # noqa: T201


def _verify(root: Path, params: Params) -> dict[str, str]:
    """Check that all models are undamaged and as `params.yaml` says; the hashes of the deployed files."""
    paths = {name: made_model(root, name) for name in params.names}
    hashes = {name: files.verify(path, required=CONTENT) for name, path in paths.items()}
    refuse_stale(root, params)
    _warn_of_other_devices(root, params)
    return {name: found[DEPLOYED] for name, found in hashes.items()}


def _warn_of_other_devices(root: Path, params: Params) -> None:
    """Warn of models that were pruned by latencies of another device than that of this evaluation."""
    own = latency_device(runtime_named(params.evaluation.runtime), 1)
    paths = {name: root / MODELS / name / LINEAGE for name in params.names}
    for name, path in paths.items():
        lineage = read_record(path, LineageRecord) if path.is_file() else {}
        found = lineage.get("latency_device", own)
        if found != own:
            warnings.warn(
                f"Expected the latencies by which {name} was pruned to be of the device of this "
                f"evaluation, {own}; found {found}: make and evaluate it on one device, as "
                f"`fleet: {{bench: [evaluate, {name}]}}` does.",
                Notice,
                stacklevel=3,
            )


def _warn_of_unknown_classes(question: Question, task: Task) -> None:
    """Warn of classes without an example in the test split."""
    empty = empty_groups(task.groups(question.targets, question.classes))
    if empty:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        warnings.warn(
            f"Expected test examples of each class; found none of {', '.join(map(repr, empty[:_SHOWN]))}{more}: "
            "nothing bounds what a model loses there, so its `worst_class_drop` may be 100 points. Add test examples "
            "of them, or leave that gate out.",
            Notice,
            stacklevel=3,
        )


def _put_former_reports_back(root: Path) -> None:
    """Undo DVC's removal of the reports: the former ones stay until new ones are complete."""
    keep_record(root)
    drop_recorded_models(root)
    reports = Kept(root, REPORTS)
    if reports.is_there() and not (root / REPORTS).exists():
        reports.put_back()


def _completed(
    table: pd.DataFrame,
    params: Params,
    conditions: Mapping[str, Any],
    task: Task,
    questions: Mapping[str, Question],
) -> pd.DataFrame:
    """The table with the columns that depend on others, or are the same for all models."""
    return table.assign(
        threads=params.evaluation.threads,
        device=conditions["device"],
        front=_front(table, task, questions),
        score=table[task.headline.name],  # for plots, which know one name for all tasks
        **_answered(questions),
    )


def predictions(
    task: Task, outputs: np.ndarray, reference: np.ndarray, question: Question
) -> pd.DataFrame:
    """A row per test example, in the order of the split: its target, the answer, and the outputs.

    Args:
        task: task of the data.
        outputs: outputs (N, ...) of the model.
        reference: outputs (N, ...) of its teacher; an example that only the teacher has right is
            `forgotten`.
        question: examples that the model answers, and their targets.
    """
    answered, targets = task.answers(outputs), question.targets
    scores = task.scores(answered, targets)
    former = task.scores(task.answers(reference), targets)
    return pd.DataFrame(
        {
            "example": question.examples,
            "label": list(targets),
            "predicted": list(answered),
            "forgotten": np.isin(np.arange(len(targets)), forgotten(scores, former)),
            task.output: list(outputs.astype(np.float32)),
        }
    )


def _questions(
    root: Path, dataset: Dataset, test: Split, names: Sequence[str]
) -> dict[str, Question]:
    """The question that each model is judged by."""
    given = {name: concepts_of(root / MODELS / name) for name in names}
    return {name: Question.of(own, dataset, test.targets) for name, own in given.items()}


def _of_all_classes(
    outputs: Mapping[str, np.ndarray], questions: Mapping[str, Question]
) -> dict[str, np.ndarray]:
    """The outputs of the models that answer all classes, whose answers can be compared one by one."""
    return {name: outputs[name] for name, one in questions.items() if one.concepts is None}


def _write_predictions(
    folder: Path,
    outputs: Mapping[str, np.ndarray],
    questions: Mapping[str, Question],
    task: Task,
) -> None:
    folder.mkdir()
    for name, question in questions.items():
        own = outputs[name][question.examples]
        reference = question.reference(outputs[TEACHER])
        answered = predictions(task, own, reference, question)
        answered.to_parquet(folder / f"{name}.parquet", index=False)


def _outputs(root: Path, params: Params, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of all deployed files, in a process of their own: folders may come from elsewhere."""
    evaluation = params.evaluation
    limits = RunLimits(evaluation.run_memory, evaluation.run_seconds)
    paths = {name: root / MODELS / name / DEPLOYED for name in params.names}
    runtime = runtime_named(evaluation.runtime)
    found = {}
    with runtime.open_guarded(paths[TEACHER], evaluation.threads, limits) as model:
        for name, path in paths.items():
            model.switch(path)
            found[name] = model.outputs(inputs, evaluation.batch_size)
    return found


def _conditions(root: Path, params: Params, hashes: Mapping[str, str], task: str) -> dict[str, Any]:
    """The device, the load, the versions and the inputs of this evaluation."""
    runtime, threads = runtime_named(params.evaluation.runtime), params.evaluation.threads
    return {
        "data": data_hash(root / PREPARED),
        "task": task,
        "commit": commit_of(root),
        "models": dict(hashes),
        "device": latency_device(runtime, threads),
        "processor": processor(),
        "processors": os.cpu_count(),
        "processes": 1,
        "threads": threads,
        "load": os.getloadavg()[0],
        "runtime": runtime.name,
        runtime.name: runtime.version,
        "provider": runtime.provider,
        "espalier": __version__,
        "torch": torch.__version__,
        "started": time.time(),
    }


def _judge(
    outputs: Mapping[str, np.ndarray], questions: Mapping[str, Question], task: Task
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row of figures per model, and a row per model and group."""
    _warn_of_unknown_classes(questions[TEACHER], task)
    figures, classes = {}, []
    for name, question in questions.items():
        own = outputs[name][question.examples]
        reference = None if name == TEACHER else question.reference(outputs[TEACHER])
        figures[name], drops = judgement(task, question.targets, own, reference, question.classes)
        classes.append(drops.assign(model=name))
    table = pd.concat(classes)
    return pd.DataFrame.from_dict(figures, orient="index"), table[
        ["model", *table.columns.drop("model")]
    ]


def _entries(params: Params) -> pd.DataFrame:
    rows = {}
    for name in params.names:
        entry = params.entry(name)
        rows[name] = {"parent": entry.origin or "", "by": entry.by}
    return pd.DataFrame.from_dict(rows, orient="index")


def _front(table: pd.DataFrame, task: Task, questions: Mapping[str, Question]) -> np.ndarray:
    """The models that no other of the same classes beats in mean score, bytes and latency at once."""
    scores = table[task.headline.name]
    measured = np.stack([-scores, table["bytes"], table["latency_1_ms"]], axis=1).astype(float)
    words = np.array([questions[name].words for name in table.index])
    best = np.zeros(len(table), bool)
    for one in np.unique(words):
        best[words == one] = front(measured[words == one])
    return best


def _answered(questions: Mapping[str, Question]) -> dict[str, list[str]]:
    """The column of the classes that each model answers; none if all answer all classes."""
    words = [question.words for question in questions.values()]
    return {"classes": words} if any(words) else {}
