"""A second kind of input, which no module of the library knows, goes from files to a deployed file.

Its examples are spectra: numbers, each with its own scale.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from espalier.data.names import SPLITS
from espalier.data.prepared import Dataset, file_name, read_dataset, read_split
from espalier.data.writing import write_dataset, write_split
from espalier.distillation.objectives import from_labels
from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.inputs import INPUTS
from espalier.pruning import prune
from espalier.runtimes import DEFAULT
from espalier.seeds import seed_all
from espalier.training.batches import open_examples
from espalier.training.device import ProcessGroup
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

CPU = torch.device("cpu")
COLUMNS, CLASSES = 64, 10


@dataclass(frozen=True)
class SpectrumFacts:
    center: tuple[float, ...]
    spread: tuple[float, ...]


class Standardize(nn.Module):
    """Each column to mean 0 and deviation 1."""

    def __init__(self, facts):
        super().__init__()
        self.register_buffer("center", torch.tensor(facts.center))
        self.register_buffer("spread", torch.tensor(facts.spread))

    def forward(self, row):
        return (row - self.center) / self.spread


@dataclass(frozen=True)
class NoAugmentations:
    seed: int
    count: int = 1
    key: tuple = ()

    def apply(self, inputs, index, view):
        return inputs


class SpectrumInput:
    name, plural, dtype, facts_type = "spectrum", "spectra", torch.float32, SpectrumFacts

    def facts(self, inputs, train, **options):
        rows = inputs[train]
        spread = np.maximum(rows.std(0), 1e-3)
        return SpectrumFacts(tuple(map(float, rows.mean(0))), tuple(map(float, spread)))

    def front(self, facts):
        return Standardize(facts)

    def augmentations(self, facts, *, examples, seed, count, active):
        return NoAugmentations(seed)


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setitem(INPUTS, "spectrum", SpectrumInput())
    return INPUTS["spectrum"]


@pytest.fixture
def prepared(table, digits, tmp_path):
    """The pixels of the digits as columns of very different scales."""
    scales = np.logspace(-3, 3, COLUMNS).astype(np.float32)
    parts = {name: read_split(digits, name) for name in SPLITS}
    rows = np.concatenate([part.inputs.flatten(1).numpy() for part in parts.values()]) * scales
    start, indices = 0, {}
    for name, part in parts.items():
        indices[name] = np.arange(start, start + len(part.targets))
        write_split(tmp_path / file_name(name), rows, indices[name], part.targets.numpy())
        start += len(part.targets)
    hashes = {
        file_name(name): hashlib.sha256((tmp_path / file_name(name)).read_bytes()).hexdigest()
        for name in SPLITS
    }
    dataset = Dataset(
        name="columns",
        classes=tuple("0123456789"),
        shape=(COLUMNS,),
        counts={name: len(part.targets) for name, part in parts.items()},
        seed=0,
        source_hash="",
        files=hashes,
        facts=table.facts(rows, indices["train"]),
        kind="spectrum",
    )
    write_dataset(tmp_path, dataset)
    return tmp_path


def trained(folder):
    """A small network that was trained on the data of a folder, and its validation."""
    dataset = read_dataset(folder)
    train = open_examples(folder, dataset, "train", CPU, 10**9)
    validation = Inference(
        open_examples(folder, dataset, "validation", CPU, 10**9), dataset.front()
    )
    seed_all(0, "weights")
    network = nn.Sequential(nn.Linear(COLUMNS, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    views = dataset.input.augmentations(
        dataset.facts, examples=len(train), seed=0, count=1, active=False
    )
    history = fit(
        network,
        train,
        validation,
        from_labels(),
        Recipe(epochs=8, batch_size=32, threads=1, precision="float32"),
        augmentations=views,
        front=dataset.front(),
        processes=ProcessGroup(0, 1, CPU),
    )
    return dataset, network, history


def test_its_description_is_read_back_with_its_own_facts(prepared):
    dataset = read_dataset(prepared)
    assert dataset.kind == "spectrum"
    assert isinstance(dataset.facts, SpectrumFacts)
    assert len(dataset.facts.center) == COLUMNS
    assert (dataset.zeros(3).shape, dataset.zeros(3).dtype) == ((3, COLUMNS), torch.float32)


def test_training_looks_through_its_front_and_the_deployed_file_holds_it(prepared, tmp_path):
    dataset, network, history = trained(prepared)
    assert history[-1]["accuracy"] > 0.9  # unscaled columns between 1e-3 and 1e3 would not train
    test = read_split(prepared, "test")
    difference = export(network, tmp_path / "model.onnx", test.inputs[:8], dataset.front())
    assert difference < 1e-4
    answers = DEFAULT.open(tmp_path / "model.onnx").outputs(test.inputs.numpy()).argmax(1)
    assert (answers == test.targets.numpy()).mean() > 0.9


def test_a_description_of_an_unknown_kind_is_refused_with_the_known_ones(prepared, monkeypatch):
    monkeypatch.delitem(INPUTS, "spectrum")
    with pytest.raises(BadInput, match=r"tensor; found 'spectrum'"):
        read_dataset(prepared)


def test_its_network_is_pruned_without_knowing_the_input(prepared):
    dataset, network, _ = trained(prepared)
    smaller = prune(network, dataset.example(), keep_parameters=0.5, align=1)
    assert smaller(dataset.example()).shape == (2, CLASSES)
    assert smaller[0].out_features < 32
