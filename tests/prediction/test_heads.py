"""The laws of several heads: their slices are the tasks, the loss is a weighted sum, the score a mean."""

import numpy as np
import pytest
import torch

from espalier.prediction import Heads, task_named

TEN = tuple(str(digit) for digit in range(10))
FACTS = {"tolerance": 3.0, "mean": 70.0, "std": 8.0, "bounds": [64.0, 70.0, 76.0]}
ONE = {
    "classification": {"name": "one", "task": "classification", "classes": TEN},
    "multilabel": {"name": "one", "task": "multilabel", "classes": ("even", "high", "round")},
    "regression": {"name": "one", "task": "regression", "classes": ("ink",), "facts": FACTS},
}
THREE = Heads([
    {**ONE["classification"], "name": "digit"},
    {**ONE["regression"], "name": "ink", "weight": 0.5},
    {**ONE["multilabel"], "name": "set", "weight": 3.0},
])  # fmt: skip


def drawn(name, count=200, seed=0):
    """Outputs of a network and targets of a task."""
    random = np.random.default_rng(seed)
    if name == "classification":
        return random.normal(size=(count, 10)), random.integers(0, 10, count)
    if name == "multilabel":
        return random.normal(size=(count, 3)), random.integers(0, 2, (count, 3)).astype(np.uint8)
    values = random.normal(size=(count, 1))
    return values, 70 + 8 * (values[:, 0] + random.normal(size=count) / 2)


def tensors(outputs, targets):
    kind = torch.int64 if targets.dtype == np.int64 else torch.float32
    return torch.from_numpy(outputs).float(), torch.from_numpy(targets).to(kind)


def columns(targets):
    return targets.reshape(len(targets), -1).astype(np.float32)


def three():
    """Outputs and targets of three heads, and those of each."""
    each = {"digit": "classification", "ink": "regression", "set": "multilabel"}
    apart = {head: drawn(task, seed=number) for number, (head, task) in enumerate(each.items())}
    outputs = np.concatenate([one for one, _ in apart.values()], axis=1)
    targets = np.concatenate([columns(one) for _, one in apart.values()], axis=1)
    return outputs, targets, apart


@pytest.mark.parametrize("name", ONE)
def test_one_head_is_the_task_alone(name):
    task, heads = task_named(name, ONE[name].get("facts")), Heads([ONE[name]])
    outputs, targets = drawn(name)
    both = tensors(outputs, targets)
    stored = (both[0], torch.from_numpy(columns(targets)))
    for reduction in ("mean", "none"):
        settings = {"smoothing": 0.1, "reduction": reduction}
        assert torch.equal(heads.loss(*stored, **settings), task.loss(*both, **settings))
    assert torch.equal(heads.score(*stored), task.score(*both))
    outputs = outputs.astype(np.float32)
    answers, alone = heads.answers(outputs), task.answers(outputs)
    assert np.array_equal(columns(alone), answers)
    assert np.array_equal(
        heads.scores(answers, columns(targets)),
        task.scores(alone, targets.astype(np.float32) if name == "regression" else targets),
    )
    assert np.array_equal(heads.agree(answers, answers[::-1]), task.agree(alone, alone[::-1]))
    classes = ONE[name]["classes"]
    groups, expected = heads.groups(columns(targets), classes), task.groups(targets, classes)
    assert list(groups) == [f"one: {group}" for group in expected]
    assert all(map(np.array_equal, groups.values(), expected.values()))
    pairs = set(zip(heads.strata(columns(targets)), task.strata(targets), strict=True))
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs})
    assert heads.width(classes) == task.width(classes)
    assert (heads.readout() is None) == (task.readout() is None)
    if heads.readout() is not None:
        assert torch.equal(heads.readout()(both[0]), task.readout()(both[0]))


def test_the_loss_is_the_weighted_sum_and_the_score_the_mean():
    outputs, targets, apart = three()
    losses, scores = {}, {}
    for head in THREE.heads:
        own = tensors(*apart[head.name])
        losses[head.name] = head.task.loss(*own)
        scores[head.name] = head.task.score(*own)
    both = torch.from_numpy(outputs).float(), torch.from_numpy(targets)
    expected = losses["digit"] + 0.5 * losses["ink"] + 3 * losses["set"]
    assert THREE.loss(*both).item() == pytest.approx(expected.item())
    each = THREE.loss(*both, reduction="none")
    assert each.shape == (200,)
    assert each.mean().item() == pytest.approx(expected.item(), rel=1e-5)
    score = THREE.score(*both)
    assert torch.allclose(score, sum(scores.values()) / 3)
    assert ((score >= 0) & (score <= 1)).all()
    found = THREE.scores(THREE.answers(outputs.astype(np.float32)), targets)
    assert found == pytest.approx(score.double().numpy(), abs=1e-6)


def test_weights_change_the_loss_and_no_score():
    outputs, targets, _ = three()
    both = torch.from_numpy(outputs).float(), torch.from_numpy(targets)
    plain = [
        {"name": head.name, "task": head.task.name, "classes": head.classes, "facts": facts}
        for head, facts in zip(THREE.heads, ({}, FACTS, {}), strict=True)
    ]
    equal = Heads(plain)
    assert torch.equal(equal.score(*both), THREE.score(*both))
    assert equal.loss(*both) != THREE.loss(*both)


def test_the_readout_changes_the_values_of_regressions_alone():
    outputs, _, _ = three()
    outputs = torch.from_numpy(outputs).float()
    read = THREE.readout()(outputs)
    assert torch.equal(read[:, :10], outputs[:, :10])
    assert torch.equal(read[:, 11:], outputs[:, 11:])
    assert torch.allclose(read[:, 10], 70 + 8 * outputs[:, 10])


def test_a_head_that_is_not_finite_scores_nothing_and_takes_nothing_from_the_others():
    outputs, targets, _ = three()
    outputs, broken = outputs.astype(np.float32), outputs.astype(np.float32)
    broken[:, 3] = np.nan
    whole, lost = (THREE.scores(THREE.answers(one), targets) for one in (outputs, broken))
    digit = THREE.heads[0]
    own = digit.task.scores(digit.task.answers(outputs[:, :10]), digit.answers_of(targets))
    assert lost == pytest.approx(whole - own / 3)
    assert not THREE.agree(THREE.answers(broken), THREE.answers(broken)).any()


def test_the_heads_are_in_the_description():
    assert THREE.describe(()) == (
        "3 heads: digit (10 classes), ink (predicting ink, right within 3), set (sets of 3 labels)"
    )
