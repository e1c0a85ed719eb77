"""Rows of numbers and categories: what networks see of them."""

import numpy as np
import pytest
import torch
from torch import nn

from espalier.errors import BadInput
from espalier.export.onnx import Names, export
from espalier.inputs.table import TableInput
from espalier.quantization import quantize
from espalier.runtimes import DEFAULT

TABLE = TableInput()
NAMES = Names("table", "logits")
ROWS = [
    TABLE.decode(cells)
    for cells in [(1, "red", ""), (3, "blue", 2.5), (float("nan"), "red", 4.5), (9, "green", 1e9)]
]


@pytest.fixture
def stored():
    return TABLE.store(ROWS, np.array([0, 1, 2]), columns=("size", "colour", "weight"))


def test_numbers_are_standardised_and_categories_are_indicators(stored):
    rows, facts = stored
    assert facts.categories == ((), ("blue", "red"), ())
    assert (facts.mean, facts.std) == ((2, 0, 3.5), (1, 1, 1))  # of the train rows that have them
    seen = TABLE.front(facts)(torch.from_numpy(rows))
    expected = [
        [-1, 0, 0, 1],  # a missing weight is the mean
        [1, -1, 1, 0],
        [0, 1, 0, 1],
        [7, (1e9 - 3.5), 0, 0],  # green is not in train: no indicator
    ]
    assert torch.allclose(seen, torch.tensor(expected, dtype=torch.float32))


def test_the_deployed_file_standardises_and_encodes(stored, tmp_path):
    rows, facts = stored
    front = TABLE.front(facts)
    network = nn.Linear(4, 2)
    export(network, tmp_path / "model.onnx", torch.from_numpy(rows), front, names=NAMES)
    outputs = DEFAULT.open(tmp_path / "model.onnx").outputs(rows)
    expected = network(front(torch.from_numpy(rows))).detach().numpy()
    assert np.allclose(outputs, expected, rtol=1e-4)


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy"])
def test_missing_numbers_reach_the_integers_as_means(calibration, tmp_path):
    source = np.random.default_rng(0)
    cells = source.normal(5, 2, (200, 3))
    cells[source.random((200, 3)) < 0.1] = np.nan
    rows, facts = TABLE.store(
        [TABLE.decode(tuple(row)) for row in cells], np.arange(200), columns=("a", "b", "c")
    )
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    floats, integers = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    export(network, floats, torch.from_numpy(rows), TABLE.front(facts), names=NAMES)
    quantize(floats, integers, rows, calibration=calibration)
    expected, found = (DEFAULT.open(path).outputs(rows) for path in (floats, integers))
    assert np.isfinite(found).all()
    assert np.abs(found - expected).mean() < 0.05 * expected.std()


def test_a_row_is_shown_by_its_columns(stored):
    rows, facts = stored
    assert TABLE.display(rows[0], facts) == "size 1, colour red, weight missing"
    assert TABLE.display(rows[3], facts) == "size 9, colour unknown, weight 1,000,000,000"


def test_equal_rows_have_one_digest_and_others_another():
    assert TABLE.digest(ROWS[0]) == TABLE.digest(TABLE.decode((1, "red", None)))
    assert len({TABLE.digest(row) for row in ROWS}) == len(ROWS)


def test_a_row_has_no_preprocessing_of_its_own():
    with pytest.raises(BadInput, match="no `input` for rows"):
        TABLE.own_front({"mean": 1}, (3,))


@pytest.mark.parametrize("number", [0.1, 1e-9, 12345.678, 0.0])
def test_a_column_of_one_number_stays_as_it_is_apart_from_its_mean(number):
    """Rounding leaves a deviation of 1e-17, by which another number would become 1e15."""
    rows = [TABLE.decode((number, float(row))) for row in range(100)]
    rows.append(TABLE.decode((number + 0.1, 3.0)))
    stored, facts = TABLE.store(rows, np.arange(100), columns=("same", "other"))
    assert facts.std[0] == 1
    assert TABLE.front(facts)(torch.from_numpy(stored))[100, 0] == pytest.approx(0.1, rel=0.01)
