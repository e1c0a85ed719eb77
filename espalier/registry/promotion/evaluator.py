"""The evaluator: values that the gates compare with their bounds, from the reports and from measurements made now."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from espalier import files
from espalier.data.names import TEST
from espalier.data.prepared import (
    Dataset,
    Split,
    data_hash,
    file_name,
    read_dataset,
    read_split,
)
from espalier.errors import BadInput
from espalier.gates import Figures, Policy, candidates_of, refuse_unknown_candidates
from espalier.judging import LEVEL, Question, compare, drop_bounds
from espalier.models.folder import concepts_of, load, read_architecture
from espalier.onnx_files import load_onnx
from espalier.params import Params
from espalier.params.lineage import refuse_stale
from espalier.params.sections import Evaluation
from espalier.paths import (
    CONDITIONS,
    DEPLOYED,
    LINEAGE,
    MODELS,
    PREDICTIONS,
    PREPARED,
    REPORTS,
    TABLE,
    TEACHER,
    made_model,
)
from espalier.prediction import Task
from espalier.reading import reading
from espalier.records import (
    ConditionsRecord,
    LineageRecord,
    has_reports,
    read_models_table,
    read_record,
    verify_reports,
)
from espalier.runtimes import RunLimits, runtime_named
from espalier.training.batches import Resident
from espalier.training.scoring import Inference

_AGAIN = "Run `espalier evaluate` first."


@dataclass(frozen=True)
class Answers:
    """Answers of a deployed file to the test examples of the classes that its model answers.

    Attributes:
        classes: these classes in words; empty for all classes of the data.
        scores: score (n,) of each answer; None if there are no answers.
        problem: reason why there are none; empty for a champion that is left out on request.
    """

    classes: str
    scores: np.ndarray | None
    problem: str = ""


def answer(folder: Path, test: Split, evaluation: Evaluation, dataset: Dataset) -> Answers:
    """The answers of the deployed file of a model folder to the test examples.

    Args:
        folder: model folder.
        test: test split.
        evaluation: threads and batch size of the runtime.
        dataset: description of the data.

    Raises:
        BadInput: if the file takes inputs of another shape.
    """
    problem = other_inputs(folder, test)
    if problem:
        raise BadInput(f"Expected {folder / DEPLOYED} to take {problem}.")
    question = Question.of(concepts_of(folder), dataset, test.targets)
    task = dataset.build_task()
    inputs = test.inputs.numpy()[question.examples]
    limits = RunLimits(evaluation.run_memory, evaluation.run_seconds)
    runtime = runtime_named(evaluation.runtime)
    with runtime.open_guarded(folder / DEPLOYED, evaluation.threads, limits) as model:
        outputs = model.outputs(inputs, evaluation.batch_size)
    answered = task.answers(outputs)
    return Answers(question.words, task.scores(answered, question.targets))


def other_inputs(folder: Path, test: Split) -> str:
    """The difference between the inputs of a deployed file and the test split; empty without one.

    It is the end of a sentence that says what the file is expected to take.
    """
    graph = load_onnx(folder / DEPLOYED).graph
    sizes = [size.dim_value for one in graph.input[:1] for size in one.type.tensor_type.shape.dim]
    found, shape = tuple(sizes[1:]), tuple(test.inputs.shape[1:])
    return (
        "" if found == shape else f"inputs of the shape of the test split, {shape}; found {found}"
    )


@dataclass(frozen=True)
class Evaluator:
    """Judges candidates by the reports of a project and its current test split.

    Attributes:
        root: The project.
        params: content of `params.yaml`.
        table: `reports/models.csv`, a row for each entry.
        data: Hash of the prepared data.
        dataset: Facts of the prepared data.
        test: The test split.
    """

    root: Path
    params: Params
    table: pd.DataFrame
    data: str
    dataset: Dataset
    test: Split
    _answers: dict[str, Answers] = field(default_factory=dict, init=False, repr=False)
    _agreements: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    @property
    def task(self) -> Task:
        """Task of the data."""
        return self.dataset.build_task()

    @classmethod
    def open(cls, root: Path, params: Params) -> "Evaluator":
        """Open the reports and the test split of a project.

        Raises:
            BadInput: If the reports are missing or damaged, or were made of other data or other models, or a
                model was made otherwise than `params.yaml` says now.
        """
        table = root / REPORTS / TABLE
        if not has_reports(root):
            raise BadInput(
                f"Expected the evaluation in {table}; found no such file. "
                "Run `espalier evaluate` first."
            )
        verify_reports(root)
        data = data_hash(root / PREPARED)
        _check_reports(root, params, data)
        refuse_stale(root, params, data=False)  # the gate `data` compares the data
        dataset = read_dataset(root / PREPARED)
        return cls(
            root=root,
            params=params,
            table=_table(table, params, dataset.build_task()),
            data=data,
            dataset=dataset,
            test=read_split(root / PREPARED, TEST),
        )

    @property
    def test_hash(self) -> str:
        """SHA-256 of the file of the test split, by the description of the data."""
        return test_hash(self.dataset)

    def candidates(self, policy: Policy) -> tuple[str, ...]:
        """Entries that the policy allows for the alias.

        The policy names them; else they are all but the teacher that answer all classes of the data.

        Raises:
            BadInput: If the policy names an entry that is not declared, or entries of different
                classes, or if it names none and no entry answers all classes.
        """
        refuse_unknown_candidates(policy, self.params.names)
        declared = tuple(name for name in self.params.names if name != TEACHER)
        words = {name: self._question(name).words for name in policy.candidates or declared}
        return candidates_of(words, policy)

    def answers(self, folder: Path, content: str) -> Answers:
        """The answers of the deployed file of a model folder to the test examples; a content answers once.

        A file for inputs of another shape has no answers, and its model is known by its classes alone.

        Args:
            folder: Model folder.
            content: Content hash of its files.
        """
        if content not in self._answers:
            problem = other_inputs(folder, self.test)
            if problem:
                question = Question.of(concepts_of(folder), self.dataset, self.test.targets)
                found = Answers(question.words, None, problem)
            else:
                found = answer(folder, self.test, self.params.evaluation, self.dataset)
            self._answers[content] = found
        return self._answers[content]

    def figures(self, name: str, champion: Answers | None, damage: str) -> Figures:
        """Values of an entry for all gates.

        Args:
            name: The entry.
            champion: Answers of the current champion; None if the alias does not exist.
            damage: Difference between the files of the version and those of the model; empty if
                there is none.
        """
        rows: dict[str, dict[str, Any]] = self.table.to_dict("index")  # type: ignore[assignment]
        lineage = read_record(self.root / MODELS / name / LINEAGE, LineageRecord)
        figures = Figures.of(
            rows[name],
            rows[TEACHER],
            headline=self.task.headline.name,
            data=str(lineage.get("data", "")),
            current_data=self.data,
        )
        question, reported = self._question(name), self._reported(name, "predicted")
        own = Answers(question.words, self.task.scores(reported, question.targets))
        return replace(
            figures,
            champion_drop=champion_drop(own, champion),
            torch_agreement=self._torch_agreement(name, reported, question),
            intact=damage,
            classes=own.classes,
            current_classes=champion.classes if champion else None,
        )

    def figures_at(
        self, figures: Figures, name: str, champion: Answers | None
    ) -> Callable[[float], Figures]:
        """The figures of an entry with the bounds of all drops at any level, from the reported outputs.

        Args:
            figures: figures of the entry, with bounds at 95 %.
            name: the entry.
            champion: answers of the current champion; None if the alias does not exist.
        """
        question, task = self._question(name), self.task
        outputs, teacher = (self._reported(one, task.output) for one in (name, TEACHER))
        reference = question.reference(teacher)
        scores = task.scores(task.answers(outputs), question.targets)
        own = Answers(question.words, scores)

        def at(level: float) -> Figures:
            found = replace(figures, champion_drop=champion_drop(own, champion, level))
            if name == TEACHER:  # its drop from itself is known
                return found
            bounds = drop_bounds(
                task, question.targets, outputs, reference, question.classes, level
            )
            return replace(
                found,
                drop=bounds.drop,
                worst_class_drop=bounds.worst_class_drop,
                head_drops=bounds.head_drops,
            )

        return at

    def _question(self, name: str) -> Question:
        """The test examples of the classes that an entry answers."""
        return Question.of(concepts_of(self.root / MODELS / name), self.dataset, self.test.targets)

    def _reported(self, name: str, column: str) -> np.ndarray:
        """Answers or outputs (n, ...) of the deployed file of an entry, by the reports."""
        path = self.root / REPORTS / PREDICTIONS / f"{name}.parquet"
        count = len(self._question(name).targets)
        with reading(path, f"{count} predictions as `espalier evaluate` writes them", _AGAIN):
            found = np.stack(pd.read_parquet(path, columns=[column])[column].to_list())
            if len(found) != count or found.dtype.kind not in "iufb":
                raise ValueError(f"{len(found)} of type {found.dtype}")
            return found

    def _torch_agreement(self, name: str, deployed: np.ndarray, question: Question) -> float:
        """Fraction of the test examples for which the torch network gives the answer of the deployed file."""
        if name not in self._agreements:
            answered = self._torch_answers(name, question)
            self._agreements[name] = float(self.task.agree(answered, deployed).mean())
        return self._agreements[name]

    def _torch_answers(self, name: str, question: Question) -> np.ndarray:
        """The answers of the torch network of an entry to the test examples."""
        torch.set_num_threads(self.params.evaluation.threads)
        folder, device = self.root / MODELS / name, torch.device("cpu")
        network = load(folder, trusted=self.params.trusted)
        front = self.dataset.front(device, read_architecture(folder).preprocessing)
        test = self.test.answered(question.concepts)
        inference = Inference(Resident(test, device), front, task=self.task)
        outputs = inference.read_out(inference.outputs(network)[0]).numpy()
        return self.task.answers(outputs)


def test_hash(dataset: Dataset) -> str:
    """SHA-256 of the file of the test split; empty for data without one."""
    return dataset.files.get(file_name(TEST), "")


def champion_drop(own: Answers, champion: Answers | None, level: float = LEVEL) -> float | None:
    """The upper bound of the mean score lost against the champion, at the level of its interval.

    None without a champion or its answers, if they are left out on request; NaN if it answers other
    classes, since the examples are others, or cannot answer.
    """
    if champion is None or (champion.scores is None and not champion.problem):
        return None
    if champion.classes != own.classes or champion.scores is None or own.scores is None:
        return math.nan
    return compare(own.scores, champion.scores, level).drop.high


def _table(path: Path, params: Params, task: Task) -> pd.DataFrame:
    """The content of `reports/models.csv`, which has a row for each entry."""
    known = {row["model"] for row in read_models_table(path, task.headline.name)}
    missing = [name for name in params.names if name not in known]
    if missing:
        raise BadInput(f"Expected {path} to have a row for {missing[0]}; found none. {_AGAIN}")
    return pd.read_csv(path, index_col="model")


def _check_reports(root: Path, params: Params, data: str) -> None:
    """Check that the reports are of the current data and of the current deployed files."""
    conditions = read_record(root / REPORTS / CONDITIONS, ConditionsRecord)
    if conditions["data"] != data:
        raise BadInput(
            f"Expected {REPORTS}/ to be of the current data {data[:12]}; "
            f"found {conditions['data'][:12]}. {_AGAIN}"
        )
    for name in params.names:
        manifest = files.read_manifest(made_model(root, name))
        deployed = manifest.get(DEPLOYED, {}).get("sha256")
        if conditions["models"].get(name) != deployed:
            raise BadInput(
                f"Expected {REPORTS}/ to be of {name} as it is now; found another {name}. "
                "Run `espalier evaluate` first."
            )
