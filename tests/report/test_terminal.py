"""The tree as text."""

import io

import pytest
from rich.console import Console

from espalier.prediction import CLASSIFICATION
from espalier.quantity import number, quantity
from espalier.report.terminal import print_tree

ROW = {
    "by": "prune", "accuracy": 0.9561, "accuracy_low": 0.9296, "accuracy_high": 0.9730, "front": False,
    "drop": 0.0123, "drop_low": -0.0021, "drop_high": 0.0301, "parameters": 77_850, "macs": 1_234_567, "bytes": 4_210,
    "latency_1_ms": 0.1234, "speedup_1": 1.94, "latency_64_ms": 2.341, "speedup_64": 2.0,
}  # fmt: skip


def printed(*rows: tuple[str, str], width: int | None = None, **changes: object) -> list[str]:
    text = io.StringIO()
    table = [{"model": model, "parent": parent} | ROW | changes for model, parent in rows]
    terminal = {"force_terminal": True, "width": width, "color_system": None} if width else {}
    print_tree(table, CLASSIFICATION.headline, Console(file=text, **terminal))
    assert width is None or max(map(len, text.getvalue().splitlines())) <= width
    *lines, legend = [line.rstrip() for line in text.getvalue().splitlines()]
    assert "95 %" in legend
    return lines


def test_children_hang_under_their_parents_in_their_order():
    lines = printed(
        ("teacher", ""), ("a", "teacher"), ("b", "teacher"), ("a1", "a"), ("a2", "a"), ("b1", "b")
    )
    names = [line.split("prune")[0].rstrip() for line in lines[1:]]
    assert names == ["teacher", "├─ a", "│  ├─ a1", "│  └─ a2", "└─ b", "   └─ b1"]


def test_figures_have_intervals_and_units_and_the_teacher_no_drop():
    header, teacher, child = printed(("teacher", ""), ("child", "teacher"))
    assert (
        " ".join(header.split())
        == "model by accuracy % drop parameters MACs file batch 1 speed batch 64 speed"
    )
    figures = "95.6 (93.0..97.3) 1.2 (-0.2..3.0) 77.8 k 1.23 M 4.21 kB 0.123 ms 1.9x 2.34 ms 2.0x"
    assert child.split() == ["└─", "child", "prune", *figures.split()]
    assert teacher.split() == ["teacher", "prune", *figures.replace(" 1.2 (-0.2..3.0)", "").split()]


def test_those_on_the_front_are_marked():
    _, teacher, child = printed(("teacher", ""), ("child", "teacher"), front=True)
    assert (teacher.split()[1], child.split()[2]) == ("*", "*")
    assert "*" not in "".join(printed(("teacher", ""), ("child", "teacher")))


def test_a_terminal_of_a_hundred_columns_shows_what_matters_most():
    names = [
        ("teacher", ""),
        ("student", "teacher"),
        ("student-p35", "student"),
        ("student-p35-int8", "student-p35"),
    ]
    header, *lines = printed(
        *names, width=100, drop=-0.1234, drop_low=-0.1555, drop_high=-0.1011, front=True
    )
    assert " ".join(header.split()) == "model by accuracy % drop file batch 1 speed"
    assert "student-p35-int8 *" in lines[-1]
    assert "prune" in lines[-1]
    assert "95.6 (93.0..97.3) -12.3 (-15.6..-10.1) 4.21 kB 0.123 ms" in lines[-1]
    assert "…" not in "".join(lines)


def test_eighty_columns_are_enough():
    names = [
        ("teacher", ""),
        ("student", "teacher"),
        ("student-p50", "student"),
        ("student-p50-int8", "student-p50"),
    ]
    header, *lines = printed(
        *names, width=80, drop=-0.1234, drop_low=-0.1555, drop_high=-0.1011, front=True
    )
    assert " ".join(header.split()) == "model accuracy % drop file speed"
    assert "student-p50-int8 * 95.6 (93.0..97.3) -12.3 (-15.6..-10.1) 4.21 kB 1.9x" in " ".join(
        lines[-1].split()
    )
    assert "…" not in "".join(lines)


def test_long_names_are_not_cut_where_there_is_no_terminal():
    name = "a-student-with-a-name-that-says-everything-about-it"
    assert any(name in line for line in printed(("teacher", ""), (name, "teacher")))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 "),
        (999, "999 "),
        (1000, "1 k"),
        (1_234_567, "1.23 M"),
        (77_850, "77.8 k"),
        (2.5e9, "2.5 G"),
        (999.7, "1 k"),
        (999_499, "999 k"),
        (999_999, "1 M"),
        (999.6e6, "1 G"),
    ],
)
def test_quantities(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.0, 5, "0"),
        (12.3456789, 5, "12.346"),
        (2026.0, 5, "2026"),
        (-54321.6, 5, "-54,322"),
        (99999.7, 5, "100,000"),
        (1234567.8, 5, "1,234,568"),
        (12345.6, 4, "12,346"),
        (1.5e-7, 5, "1.5e-07"),
        (1e30, 5, "1e+30"),
        (float("nan"), 5, "nan"),
        (float("-inf"), 5, "-inf"),
    ],
)
def test_large_numbers_have_all_their_digits_before_the_point(value, digits, shown):
    assert number(value, digits) == shown
