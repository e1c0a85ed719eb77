"""`espalier show NAME`: the layers that can be paired."""

import pytest
import yaml
from properties import assert_explains

from espalier.commands import show
from espalier.errors import BadInput
from espalier.report.terminal import print_layers


def shown(capsys, *words):
    show.run(*words)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_students_layers_are_listed_with_their_shapes_and_pairs_before_it_is_made(tiny, capsys):
    lines = {line[0]: line[1:] for line in shown(capsys, tiny, "student")}
    assert lines["layer"][-2:] == ["in", "teacher"]
    assert lines["stages.1"] == ["8", "x", "4", "x", "4", "stages.1", "16", "x", "4", "x", "4"]
    assert lines["stages.0.0.conv1"] == ["4", "x", "8", "x", "8"]
    assert "head" not in lines
    assert not (tiny / "models" / "student").exists()


def test_a_teacher_has_layers_and_no_pairs(tiny, capsys):
    lines = shown(capsys, tiny, "teacher")
    assert ["stages.1", "16", "x", "4", "x", "4"] in lines
    assert lines[0] == ["layer", "channels", "x", "height", "x", "width"]


def test_layers_of_a_pruned_entry_are_listed_after_it_is_made(tiny):
    with pytest.raises(BadInput) as caught:
        show.run(tiny, "student-p60")
    assert_explains(caught.value, "student-p60", "espalier make")


def test_another_teacher_is_the_one_that_the_pairs_are_with(tiny_copy, capsys):
    project = tiny_copy()
    path = project / "params.yaml"
    content = yaml.safe_load(path.read_text())
    student = content["models"]["student"]
    content["models"] = {"b": student, "c": student | {"from": "b", "teachers": ["teacher", "b"]}}
    path.write_text(yaml.safe_dump(content))
    assert shown(capsys, project, "c")[0][-1] == "teacher"


def test_an_unknown_model_is_answered_by_the_known_ones(tiny):
    with pytest.raises(BadInput) as caught:
        show.run(tiny, "pupil")
    assert_explains(caught.value, "teacher, student", "'pupil'")


def test_nothing_is_cut_in_a_file(capsys):
    print_layers({"a" * 300: (1, 2, 3)})
    assert "a" * 300 in capsys.readouterr().out
