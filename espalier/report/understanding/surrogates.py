"""Surrogates: decision trees fitted to the answers of networks, to compare what these have learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from espalier import files
from espalier.optional import optional_library
from espalier.prediction import CLASSIFICATION, NO_ANSWER, Task
from espalier.report.understanding.features import Features
from espalier.report.understanding.stored import read_explanation
from espalier.seeds import derive, generator

Answers = NDArray[Any]


@dataclass(frozen=True)
class ModelSurrogate:
    """The surrogate of one model.

    Attributes:
        fidelity: agreement of the tree with its network on the tested examples.
        constant: agreement of the best constant answer with the network, which a tree should exceed.
        leaves: number of leaves.
        networks_agree: agreement of the network with the first model's.
        trees_agree: agreement of the tree with the first model's.
        shared_importance: sum over the features of the smaller of the two importances, this model's
            and the first model's; 1 if all are equal, 0 if the trees use no common feature.
        importance: importance of each feature; they sum to 1, or are all 0 for a single leaf.
        rules: the tree in words.
    """

    fidelity: float
    constant: float
    leaves: int
    networks_agree: float
    trees_agree: float
    shared_importance: float
    importance: list[float]
    rules: str


@dataclass(frozen=True)
class Surrogates:
    """The surrogates of several models, fitted to and tested on the same examples.

    Attributes:
        features: names of the features.
        fitted: number of training examples to which the trees were fitted.
        tested: number of validation examples on which they were tested.
        depth: largest depth of a tree.
        models: surrogates by model; the first is the reference of the others.
        again: another tree of the first network, fitted to as many examples drawn with replacement:
            two trees of one network differ as much.
    """

    features: list[str]
    fitted: int
    tested: int
    depth: int
    models: dict[str, ModelSurrogate]
    again: ModelSurrogate

    def write(self, path: Path) -> None:
        """Write the surrogates as JSON."""
        files.write(path, _SURROGATES.dump_json(self) + b"\n")

    @classmethod
    def read(cls, path: Path) -> "Surrogates | None":
        """Read the surrogates; None if there is no file.

        Raises:
            BadInput: if the file holds something else.
        """
        return read_explanation(path, _SURROGATES)


_SURROGATES = TypeAdapter(Surrogates)


@dataclass(frozen=True)
class _Fitted:
    """A tree, and answers on the tested examples.

    Attributes:
        tree: scikit-learn's estimator.
        own: answers (M,) of the tree.
        network: answers (M,) of the network to which it was fitted.
        constant: best constant answer to the fitted examples.
    """

    tree: Any
    own: Answers
    network: Answers
    constant: Any


def check_surrogates(depth: int) -> None:
    """Check that decision trees can be fitted, where they are wanted.

    Args:
        depth: largest depth of a tree; 0 for none.

    Raises:
        BadInput: if scikit-learn is not installed.
    """
    if depth:
        _trees()


def surrogates(
    features: Features,
    answers: Mapping[str, tuple[Answers, Answers]],
    task: Task,
    classes: Sequence[str],
    depth: int,
) -> Surrogates:
    """Fit a decision tree to the answers of each network, and compare it with the first one's.

    The fidelity of a tree is its agreement with its network on examples to which it was not fitted
    (Craven and Shavlik 1996, section 4): the fraction of equal classes, or of a regression the
    coefficient of determination. The importance of a feature is the fraction of the impurity that
    its splits remove (Breiman et al. 1984, section 5.3).

    Args:
        features: features of the fitted and the tested examples.
        answers: for each model its network's answers (N,) to the fitted and (M,) to the tested
            examples; the first model is the reference.
        task: task of the data, a classification or a regression.
        classes: names of the classes.
        depth: largest depth of a tree, above 0.

    Raises:
        BadInput: if scikit-learn is not installed.
    """
    every = np.arange(len(features.fitted))
    random = generator(0, "surrogates")
    drawn = torch.randint(len(every), (len(every),), generator=random).numpy()
    reference = next(iter(answers))
    fits = {name: _fit(features, own, task, depth, every) for name, own in answers.items()}
    again = _fit(features, answers[reference], task, depth, drawn)
    first = fits[reference]
    return Surrogates(
        features=list(features.names),
        fitted=len(features.fitted),
        tested=len(features.tested),
        depth=depth,
        models={name: _compared(one, first, features, classes) for name, one in fits.items()},
        again=_compared(again, first, features, classes),
    )


def _fit(
    features: Features,
    answers: tuple[Answers, Answers],
    task: Task,
    depth: int,
    examples: NDArray[np.int64],
) -> _Fitted:
    """Fit a tree to some of the examples."""
    trees = _trees()
    is_class = task.name == CLASSIFICATION.name
    kind = trees.DecisionTreeClassifier if is_class else trees.DecisionTreeRegressor
    own, network = answers[0][examples], answers[1]
    tree = kind(max_depth=depth, random_state=derive(0, "tree") % 2**31)
    tree.fit(features.fitted[examples], own)
    values, counts = np.unique(own, return_counts=True)
    constant = values[counts.argmax()] if is_class else own.mean()
    return _Fitted(tree, tree.predict(features.tested), network, constant)


def _compared(
    one: _Fitted, first: _Fitted, features: Features, classes: Sequence[str]
) -> ModelSurrogate:
    """The figures of a tree, against the first network and its tree."""
    importance = one.tree.feature_importances_
    constant = np.full_like(one.network, one.constant)
    return ModelSurrogate(
        fidelity=_agreement(one.own, one.network),
        constant=_agreement(constant, one.network),
        leaves=int(one.tree.get_n_leaves()),
        networks_agree=_agreement(one.network, first.network),
        trees_agree=_agreement(one.own, first.own),
        shared_importance=float(np.minimum(importance, first.tree.feature_importances_).sum()),
        importance=importance.tolist(),
        rules=_rules(one.tree, features.names, classes),
    )


def _agreement(answers: Answers, reference: Answers) -> float:
    """The fraction of equal classes; of values, one minus the squared error over the variance.

    Example:
        Classes [1, 2, 2, 3] and [1, 2, 3, 3] agree to 0.75; values [1, 3] and [1, 5] to 1 - 4/8 = 0.5.
    """
    if np.issubdtype(reference.dtype, np.integer):
        return float((answers == reference).mean())
    error = np.square(answers - reference).sum()
    spread = np.square(reference - reference.mean()).sum()
    if spread == 0:
        return float(error == 0)
    return float(1 - error / spread)


def _rules(tree: Any, names: Sequence[str], classes: Sequence[str]) -> str:
    """A tree in words, a line for each question and each answer."""
    spelled = None
    if hasattr(tree, "classes_"):
        spelled = [
            "no answer" if label == NO_ANSWER else classes[label]
            for label in tree.classes_.tolist()
        ]
    text: str = _trees().export_text(tree, feature_names=list(names), class_names=spelled)
    return text


def _trees() -> Any:
    optional_library("sklearn", "`evaluation.surrogate_depth`", package="scikit-learn")
    return optional_library("sklearn.tree", "`evaluation.surrogate_depth`", package="scikit-learn")
