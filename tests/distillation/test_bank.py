import pytest
import torch

from espalier.distillation.bank import Bank


class Teacher:
    """Answers with random logits that full precision alone can hold, and counts how often it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, view):
        self.asked.append(view)
        return torch.randn(50, 10, generator=torch.Generator().manual_seed(view)) * 5


class Silent:
    def __call__(self, view):
        pytest.fail("the teacher was asked again")


@pytest.fixture
def teacher():
    return Teacher()


def test_an_answer_is_computed_once_and_is_the_teachers_to_half_precision(tmp_path, teacher):
    bank = Bank(tmp_path, teacher)
    answers = [bank.view(view) for view in (0, 1, 0, 1, 1)]
    assert teacher.asked == [0, 1]
    assert answers[0].dtype == torch.float32
    assert torch.equal(answers[0], Teacher()(0).half().float())
    assert not torch.equal(answers[0], answers[1])


def test_other_students_read_what_one_had_computed_with_the_same_bits(tmp_path, teacher):
    computed = Bank(tmp_path, teacher).view(3)
    read = Bank(tmp_path, Silent())
    assert torch.equal(read.view(3), computed)
    assert torch.equal(read.view(3), computed)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_file_is_computed_again(tmp_path, teacher, place):
    computed = Bank(tmp_path, teacher).view(3)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert torch.equal(Bank(tmp_path, teacher).view(3), computed)
    assert teacher.asked == [3, 3]
    assert torch.equal(Bank(tmp_path, Silent()).view(3), computed)


def test_a_half_written_file_does_not_count(tmp_path, teacher):
    computed = Bank(tmp_path, teacher).view(3)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.unlink()
    (tmp_path / f".{path.name}.0123").write_bytes(content[:50])
    assert torch.equal(Bank(tmp_path, teacher).view(3), computed)


def test_a_lost_folder_costs_only_time(tmp_path, teacher):
    bank = Bank(tmp_path / "deep" / "folder", teacher)
    assert torch.equal(bank.view(0), Teacher()(0).half().float())


def test_views_do_not_take_each_others_answers(tmp_path, teacher):
    bank = Bank(tmp_path, teacher)
    for view in (1, 10, 100, 11):
        assert torch.equal(bank.view(view), Teacher()(view).half().float())
    again = Bank(tmp_path, Silent())
    for view in (11, 1, 100, 10):
        assert torch.equal(again.view(view), Teacher()(view).half().float())
