"""Train, prune, price bits, pack, unpack and evaluate real digits; a small `bench_lenet.py`."""

import warnings
from dataclasses import replace

import pytest
import torch

from espalier.coding import pack, unpack
from espalier.coding.rate import WithRate, reparametrise, round_to_steps
from espalier.data.prepare import prepare
from espalier.data.prepared import Split, read_dataset, read_split
from espalier.data.sources import import_data
from espalier.distillation.objectives import from_labels
from espalier.errors import Notice
from espalier.inputs.image import ImageAugmentations
from espalier.models import build
from espalier.pruning import prune
from espalier.seeds import seed_all
from espalier.settings.data import DataSettings
from espalier.training.batches import Resident
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

IMAGES = 10_000


@pytest.mark.slow
def test_lenet_300_packs_into_a_hundredth_of_its_size_and_classifies_digits(shared_data, tmp_path):
    import_data(
        "mnist",
        tmp_path / "data",
        shared_data / "mnist",
        tmp_path / "work",
        DataSettings(validation=0.1),
    )
    settings = {
        "validation": 0.1,
        "test": 0.2,
        "duplicates": "refuse",
        "split": "exact",
        "crop": 2,
        "flip": False,
        "seed": 0,
    }
    prepare(tmp_path / "data", tmp_path / "prepared", **settings, workshop=tmp_path / "work")
    dataset, splits = read_dataset(tmp_path / "prepared"), {}
    for name in ("train", "validation", "test"):
        split = read_split(tmp_path / "prepared", name)
        splits[name] = Split(split.inputs[:IMAGES], split.targets[:IMAGES])
    recipe = Recipe(
        epochs=8,
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.0,
        clip_norm=0.0,
        threads=1,
        precision="float32",
    )
    processes = join_process_group(recipe)
    front = dataset.front(processes.device)
    resident = {name: Resident(split, processes.device) for name, split in splits.items()}

    def train(network, objective, epochs):
        validation, views = (
            Inference(resident["validation"], front),
            ImageAugmentations(IMAGES, 2, False, 0, 200),
        )
        chosen = replace(recipe, epochs=epochs)
        fit(
            network,
            resident["train"],
            validation,
            objective,
            chosen,
            augmentations=views,
            front=front,
            processes=processes,
        )

    seed_all(0, "weights")
    network = build("espalier:lenet300", classes=10, shape=(1, 28, 28))
    train(network, from_labels(), 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        network = prune(network, torch.zeros(2, 1, 28, 28), keep_parameters=0.3, align=1)
    reparametrise(network, [name for name, _ in network.named_parameters()])
    train(network, WithRate(from_labels(), network, 0.006), 16)
    round_to_steps(network)
    size = pack(network, tmp_path / "packed")
    decoded = unpack(tmp_path / "packed")
    error = 1 - Inference(resident["test"], front).loss_and_score(decoded)[1]
    assert size < 4 * 266_610 / 100
    assert error < 0.04
