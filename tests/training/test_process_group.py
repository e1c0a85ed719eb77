"""Two processes that train one network together, as torchrun starts them."""

import json
import os
import socket
import subprocess
import sys
from itertools import chain

import pytest
from torch import nn

from espalier.seeds import seed_all

pytestmark = pytest.mark.slow  # three imports of torch's distributed half

PROGRAM = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from espalier.data.prepared import Split, read_dataset, read_split
from espalier.distillation.objectives import from_labels
from espalier.training.batches import Resident
from espalier.training.checkpoint import Checkpoints
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference
from espalier.seeds import seed_all
from espalier.inputs.image import ImageAugmentations

digits, checkpoints = map(Path, sys.argv[1:])
recipe = Recipe(epochs=2, batch_size=32, threads=1, views=2, precision="float32")
processes = join_process_group(recipe)
dataset = read_dataset(digits)
front = dataset.front(processes.device)
train, validation = read_split(digits, "train"), read_split(digits, "validation")
examples = Resident(Split(train.inputs[:263], train.targets[:263]), processes.device)
seed_all(0, "weights")
network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 10))
told, met = [], []
labels = from_labels()
def objective(seen):
    met.append(sorted(seen.batch.index.tolist()))
    return labels(seen)
history = fit(network, examples, Inference(Resident(validation, processes.device), front), objective, recipe,
    augmentations=ImageAugmentations(263, 1, False, 0, 2), front=front, processes=processes,
    checkpoints=Checkpoints(checkpoints), report=told.append)
weights = [p.detach().double().flatten().tolist() for p in network.parameters()]
print(json.dumps({"weights": sum(weights, []), "losses": [row["loss"] for row in history], "told": len(told),
    "seen": met, "size": processes.size}))
"""


def started(digits, checkpoints, rank, size, port):
    environment = os.environ | {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, "-c", PROGRAM, str(digits), str(checkpoints)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def both(digits, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("checkpoints")
    processes = [started(digits, folder, rank, 2, port) for rank in (0, 1)]
    try:
        answers = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


@pytest.fixture(scope="module")
def alone(setting):
    seed_all(0, "weights")
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 10)
    )
    met = []

    def objective(seen):
        met.append(sorted(seen.batch.index.tolist()))
        return nn.functional.cross_entropy(seen.outputs, seen.batch.targets)

    history = setting.train(network, objective=objective, epochs=2)
    weights = [p.detach().double().flatten().tolist() for p in network.parameters()]
    return {
        "weights": list(chain(*weights)),
        "losses": [row["loss"] for row in history],
        "seen": met,
    }


def test_both_end_with_the_same_weights_and_a_lower_loss(both):
    assert [one["size"] for one in both] == [2, 2]
    assert both[0]["weights"] == both[1]["weights"]
    assert both[0]["losses"] == both[1]["losses"]
    assert both[0]["losses"][1] < both[0]["losses"][0]


def test_each_batch_is_shared_out_between_them(both, alone):
    together = [
        sorted(one + other) for one, other in zip(both[0]["seen"], both[1]["seen"], strict=True)
    ]
    assert together == alone["seen"]
    assert {len(part) for one in both for part in one["seen"]} == {16}


def test_they_compute_what_one_process_does_but_for_the_order_of_sums(both, alone):
    assert both[0]["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert both[0]["weights"] == pytest.approx(alone["weights"], abs=1e-4)


def test_only_the_first_process_reports(both):
    assert [one["told"] for one in both] == [2, 0]
