"""The tree as text."""

import io

import pandas as pd
import pytest
from rich.console import Console

from espalier.report.terminal import quantity, tree

ROW = {
    "by": "prune", "accuracy": 0.9561, "drop": 0.0123, "parameters": 77_850, "macs": 1_234_567, "bytes": 4_210,
    "latency_1_ms": 0.1234, "speedup_1": 1.94, "latency_64_ms": 2.341, "speedup_64": 2.0,
}  # fmt: skip


def printed(*rows: tuple[str, str]) -> list[str]:
    text = io.StringIO()
    table = pd.DataFrame([{"model": model, "parent": parent} | ROW for model, parent in rows])
    tree(table, Console(file=text))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_children_hang_under_their_parents_in_their_order():
    lines = printed(("teacher", ""), ("a", "teacher"), ("b", "teacher"), ("a1", "a"), ("a2", "a"), ("b1", "b"))
    names = [line.split("prune")[0].rstrip() for line in lines[1:]]
    assert names == ["teacher", "├─ a", "│  ├─ a1", "│  └─ a2", "└─ b", "   └─ b1"]


def test_figures_have_three_digits_and_units_and_the_teacher_no_drop():
    header, teacher, child = printed(("teacher", ""), ("child", "teacher"))
    assert " ".join(header.split()) == (
        "model by accuracy drop parameters MACs file batch 1 speed-up batch 64 speed-up"
    )
    figures = "95.61 % 1.23 77.8 k 1.23 M 4.21 kB 0.123 ms 1.9x 2.34 ms 2.0x"
    assert child.split() == ["└─", "child", "prune", *figures.split()]
    assert teacher.split() == ["teacher", "prune", *figures.replace(" 1.23 77.8", " 77.8").split()]


def test_long_names_are_not_cut_where_there_is_no_terminal():
    name = "a-student-with-a-name-that-says-everything-about-it"
    assert any(name in line for line in printed(("teacher", ""), (name, "teacher")))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1 k"), (1_234_567, "1.23 M"), (77_850, "77.8 k"), (2.5e9, "2.5 G")],
)
def test_quantities(value, text):
    assert quantity(value) == text
