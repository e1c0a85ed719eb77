from dataclasses import replace

import pytest
import torch
from properties import assert_explains
from torch.nn import functional as F

from espalier.distillation.bank import Bank
from espalier.distillation.losses import LOGITS, soft_targets, squared_error
from espalier.distillation.modifiers import confidence, focal
from espalier.distillation.objectives import WeightedSum, from_labels, from_logits, from_teacher
from espalier.distillation.settings import Focus, Ramp
from espalier.errors import BadInput
from espalier.training.batches import Batch
from espalier.training.loss_inputs import LossInputs

ANSWERS = {
    view: torch.randn(20, 10, generator=torch.Generator().manual_seed(view)).half().float()
    for view in (0, 1)
}
BATCH = Batch(
    torch.tensor([3, 17, 0]), torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, 9, 4])
)
LOGITS_OF_STUDENT = torch.randn(3, 10, generator=torch.Generator().manual_seed(9))
SEEN = LossInputs(LOGITS_OF_STUDENT, BATCH.inputs.float(), BATCH, view=0, progress=0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_alone_are_a_cross_entropy(smoothing):
    expected = F.cross_entropy(LOGITS_OF_STUDENT, BATCH.targets, label_smoothing=smoothing)
    assert from_labels(smoothing)(SEEN) == expected


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("weight", [0.0, 0.9, 1.0])
def test_the_teacher_is_weighed_against_the_labels_by_its_answer_to_these_examples_in_this_view(
    tmp_path, view, weight
):
    bank = Bank(tmp_path, ANSWERS.__getitem__)
    found = from_teacher(bank, temperature=4.0, weight=weight, smoothing=0.1)(
        replace(SEEN, view=view)
    )
    soft = soft_targets(LOGITS_OF_STUDENT, ANSWERS[view][[3, 17, 0]], temperature=4.0)
    hard = F.cross_entropy(LOGITS_OF_STUDENT, BATCH.targets, label_smoothing=0.1)
    torch.testing.assert_close(found, weight * soft + (1 - weight) * hard)


LABELS = BATCH.targets


@pytest.fixture
def banks(tmp_path):
    return [Bank(tmp_path / str(view), lambda _, view=view: ANSWERS[view]) for view in (0, 1)]


def answers():
    return [ANSWERS[view][BATCH.index] for view in (0, 1)]


@pytest.mark.parametrize("name", sorted(LOGITS))
def test_the_loss_against_several_teachers_is_the_mean_of_those_against_each(banks, name):
    labelled = {"labels": LABELS} if name == "decoupled" else {}
    found = from_logits(LOGITS[name], banks, labelled=bool(labelled))(SEEN)
    each = [LOGITS[name](LOGITS_OF_STUDENT, teacher, **labelled) for teacher in answers()]
    torch.testing.assert_close(found, sum(each) / 2)


def test_by_confidence_each_example_listens_to_the_teacher_that_is_right_about_it(banks):
    found = from_logits(soft_targets, banks, combine="confidence", temperature=2.0)(SEEN)
    shares = confidence(torch.stack(answers()), LABELS)
    expected = sum(
        soft_targets(LOGITS_OF_STUDENT[[place]], teacher[[place]], temperature=2.0)
        * shares[number, place]
        / 3
        for number, teacher in enumerate(answers())
        for place in range(3)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("judge", ["student", "teacher"])
def test_hard_examples_count_more(banks, judge):
    found = from_logits(squared_error, banks[:1], focus=Focus(2.0, judge))(SEEN)
    weights = focal(LOGITS_OF_STUDENT if judge == "student" else answers()[0], LABELS, gamma=2.0)
    torch.testing.assert_close(
        found, squared_error(LOGITS_OF_STUDENT, answers()[0], weights=weights)
    )
    assert from_logits(squared_error, banks[:1], focus=Focus(0.0, judge))(SEEN) == from_logits(
        squared_error, banks[:1]
    )(SEEN)


def test_a_subset_of_the_classes_is_all_that_is_looked_at(banks):
    classes = [7, 2, 4]
    objective = from_logits(soft_targets, banks[:1], classes=classes, temperature=2.0)
    expected = soft_targets(
        LOGITS_OF_STUDENT[:, classes], answers()[0][:, classes], temperature=2.0
    )
    torch.testing.assert_close(objective(SEEN), expected)
    other = LOGITS_OF_STUDENT + torch.tensor(
        [5.0 * (number not in classes) for number in range(10)]
    )
    torch.testing.assert_close(objective(replace(SEEN, outputs=other)), expected)


def test_a_student_may_have_fewer_classes_than_its_teacher(banks):
    """A small vocabulary: the student's labels are places among the chosen classes."""
    classes, small = [7, 2, 4], LOGITS_OF_STUDENT[:, :3]
    seen = replace(SEEN, outputs=small, batch=replace(BATCH, targets=torch.tensor([0, 2, 1])))
    objective = from_logits(
        soft_targets,
        banks,
        classes=classes,
        combine="confidence",
        focus=Focus(2.0, "teacher"),
        temperature=2.0,
    )
    chosen = [teacher[:, classes] for teacher in answers()]
    shares = confidence(torch.stack(chosen), seen.batch.targets)
    expected = sum(
        soft_targets(
            small, teacher, temperature=2.0, weights=share * focal(teacher, seen.batch.targets)
        )
        for teacher, share in zip(chosen, shares, strict=True)
    )
    torch.testing.assert_close(objective(seen), expected)


@pytest.mark.parametrize("classes", [[1, 10], [1, -1], []])
def test_classes_that_the_teacher_does_not_have_are_refused(banks, classes):
    with pytest.raises(BadInput) as caught:
        from_logits(soft_targets, banks, classes=classes)(SEEN)
    assert_explains(caught.value, "`classes`", "10")


def test_a_student_of_another_number_of_classes_is_refused(banks):
    with pytest.raises(BadInput) as caught:
        from_logits(soft_targets, banks, classes=[1, 2, 3])(
            replace(SEEN, outputs=LOGITS_OF_STUDENT[:, :4])
        )
    assert_explains(caught.value, "3 classes", "4")


def test_weights_of_classes_count_in_the_labels():
    weights = torch.arange(1.0, 11)
    found = from_labels(0.1, class_weights=weights)(SEEN)
    each = F.cross_entropy(LOGITS_OF_STUDENT, LABELS, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(found, (each * weights[LABELS]).mean())
    focused = from_labels(class_weights=weights, focus=Focus(2.0))(SEEN)
    plain = F.cross_entropy(LOGITS_OF_STUDENT, LABELS, reduction="none")
    torch.testing.assert_close(
        focused, (plain * weights[LABELS] * focal(LOGITS_OF_STUDENT, LABELS)).mean()
    )


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.75])
def test_temperature_and_weights_are_those_of_the_moment(banks, progress):
    soft = from_logits(soft_targets, banks[:1], temperature=Ramp(8, 1, "cosine"))
    found = WeightedSum([(Ramp(1, 0), soft), (Ramp(0, 2), from_labels())])(
        replace(SEEN, progress=progress)
    )
    temperature = Ramp(8, 1, "cosine").at(progress)
    expected = (1 - progress) * soft_targets(
        LOGITS_OF_STUDENT, answers()[0], temperature=temperature
    )
    torch.testing.assert_close(
        found, expected + 2 * progress * F.cross_entropy(LOGITS_OF_STUDENT, LABELS)
    )


def test_an_objective_with_zero_weight_is_not_computed():
    def never(seen):
        pytest.fail("asked")

    assert WeightedSum([(0.0, never), (1.0, from_labels())])(SEEN) == from_labels()(SEEN)


def test_parameters_of_objectives_are_found_in_their_sum():
    learning = torch.nn.Linear(2, 2)
    assert len(list(WeightedSum([(1.0, from_labels()), (1.0, learning)]).parameters())) == 2
