"""Three processes that share inference, agree on what one of them decides, and train a batch norm."""

import json
import os
import subprocess
import sys

import pytest
import torch

from espalier.training.process_group import ProcessGroup

PROGRAM = """
import json, sys, time
from pathlib import Path
import torch
from torch import nn
from espalier.data.prepared import Split, read_dataset, read_split
from espalier.distillation.objectives import from_labels
from espalier.errors import BadInput
from espalier.inputs.image import ImageAugmentations
from espalier.seeds import seed_all
from espalier.training.batches import Resident
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

digits = Path(sys.argv[1])
recipe = Recipe(epochs=2, batch_size=33, threads=1, precision="float32")
processes = join_process_group(recipe)
front = read_dataset(digits).front(processes.device)
train, validation = (read_split(digits, name) for name in ("train", "validation"))
examples, held_out = (Resident(split, processes.device) for split in (train, validation))
seed_all(0, "weights")
network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
small = Inference(held_out, front, batch_size=64)  # four batches, the last smaller
history = fit(network, examples, small, from_labels(), recipe, front=front, processes=processes,
    augmentations=ImageAugmentations(len(train.targets), 1, False, 0, 200))
found = {"rank": processes.rank, "loss": history[-1]["validation_loss"], "alone": small.loss_and_score(network)[0]}
for name, inference in {"four": small, "one": Inference(held_out, front, batch_size=512)}.items():
    alone = inference.outputs(network)
    shared = inference.outputs(network, processes=processes)
    found[name] = all(map(torch.equal, alone, shared))
calls = []
def make():
    time.sleep(0.5)
    calls.append(1)
    return "the text of process 0"
found["text"], found["calls"] = processes.from_first("text", make), len(calls)
found["any"] = [processes.in_any(processes.rank == 2), processes.in_any(False)]
processes.refuse_other_step(7)
try:
    processes.refuse_other_step(7 + (processes.rank == 1))
except BadInput as error:
    found["refused"] = str(error)
print(json.dumps(found), flush=True)
processes.leave()
"""


@pytest.fixture(scope="module")
def three(digits, tmp_path_factory):
    """Findings of each of three processes, by its rank."""
    script = tmp_path_factory.mktemp("program") / "program.py"
    script.write_text(PROGRAM)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE"}
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "3",
        "--local-addr",
    ]
    done = subprocess.run(
        [sys.executable, *launch, "localhost", str(script), str(digits)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return sorted(found, key=lambda one: one["rank"])


@pytest.mark.slow
def test_outputs_that_are_shared_out_have_the_bits_of_one_process(three):
    assert [one["four"] for one in three] == [True] * 3


@pytest.mark.slow
def test_fewer_batches_than_processes_are_shared_out_too(three):
    assert [one["one"] for one in three] == [True] * 3


@pytest.mark.slow
def test_all_validate_the_batch_norms_of_the_first(three):
    """Each process sees other batches, so its own statistics are others."""
    losses = {one["loss"] for one in three}
    assert len(losses) == 1
    assert {one["alone"] for one in three} == losses


@pytest.mark.slow
def test_one_process_decides_and_the_others_wait_for_it(three):
    assert [one["text"] for one in three] == ["the text of process 0"] * 3
    assert [one["calls"] for one in three] == [1, 0, 0]


@pytest.mark.slow
def test_all_processes_see_a_flag_of_one(three):
    assert [one["any"] for one in three] == [[True, False]] * 3


@pytest.mark.slow
def test_processes_that_read_different_checkpoints_are_refused(three):
    assert all("the same checkpoint" in one["refused"] for one in three)


def test_one_process_does_all_by_itself():
    one = ProcessGroup(0, 1, torch.device("cpu"))
    parts = [torch.zeros(2), torch.ones(1)]
    assert one.part(parts) == parts
    assert one.join_parts(parts, [2, 1]) == parts
    assert one.from_first("text", lambda: "own") == "own"
    assert one.in_any(True)
    assert not one.in_any(False)
    assert one.alone is one
