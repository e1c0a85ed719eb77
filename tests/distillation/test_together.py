"""Two processes that train one student and its adapters together, as torchrun starts them."""

import json
import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # three imports of torch's distributed half

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from espalier.data.prepared import Split, read_dataset, read_split
from espalier.distillation.features import FeatureTerm, FromFeatures
from espalier.distillation.losses import hints
from espalier.distillation.objectives import WeightedSum
from espalier.training.batches import Resident
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference
from espalier.seeds import seed_all
from espalier.inputs.image import ImageAugmentations

recipe = Recipe(epochs=2, batch_size=32, threads=1, precision="float32", ema=0.9)
processes = join_process_group(recipe)
dataset = read_dataset(Path(sys.argv[1]))
front = dataset.front(processes.device)
train, validation = (read_split(Path(sys.argv[1]), name) for name in ("train", "validation"))
examples = Resident(Split(train.inputs[:256], train.targets[:256]), processes.device)

def network(width, seed):
    seed_all(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

student, teacher = network(16, 0), network(32, 1)
seed_all(0, "adapters")
term = FeatureTerm(hints, {"2": "2"}, adapted=True)
inside = FromFeatures(student, teacher, [term], torch.zeros(2, *dataset.shape))
history = fit(student, examples, Inference(Resident(validation, processes.device), front), WeightedSum([(1.0, inside)]),
    recipe, augmentations=ImageAugmentations(256, 1, False, 0, 200), front=front, processes=processes)
numbers = [value.detach().double().flatten().tolist() for one in (student, inside) for value in one.parameters()]
print(json.dumps({"weights": sum(numbers, []), "losses": [row["loss"] for row in history]}))
"""


def run(digits, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(size):
        place = {
            "RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_RANK": str(rank),
            "MASTER_PORT": str(port),
        }
        more = {
            "MASTER_ADDR": "127.0.0.1",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        command = [sys.executable, "-c", PROGRAM, str(digits)]
        processes.append(
            subprocess.Popen(
                command, env=os.environ | place | more, stdout=subprocess.PIPE, text=True
            )
        )
    try:
        answers = [process.communicate(timeout=250)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * size
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


def test_they_end_with_the_same_weights_and_adapters_which_are_those_of_one_process(digits):
    """Although nothing is asked of the network's last layer, whose gradient the processes wait for."""
    one, other = run(digits, 2)
    assert one == other
    assert one["losses"][1] < one["losses"][0]
    (alone,) = run(digits, 1)
    assert one["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert one["weights"] == pytest.approx(alone["weights"], abs=1e-4)
