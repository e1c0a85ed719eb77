"""A step of training never waits for a GPU. For one stands the device `meta`, which has no values to ask for."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from espalier.data.prepared import Split
from espalier.distillation.objectives import from_teacher
from espalier.inputs.audio import AudioAugmentations
from espalier.inputs.image import ImageAugmentations, Normalize
from espalier.training import engine
from espalier.training.batches import Chosen, Resident
from espalier.training.process_group import ProcessGroup
from espalier.training.recipe import Recipe
from espalier.training.running_loss import NotFiniteError, RunningLoss

ELSEWHERE = torch.device("meta")
IMAGES = Split(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64))


class Copies(TorchDispatchMode):
    """Copies between devices, and whether torch returns before they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.others = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            devices = {one.device for one in (*args, result) if isinstance(one, torch.Tensor)}
            at_once = kwargs.get("non_blocking") or args[2:3] == (True,)
            if len(devices) > 1:
                (self.others if at_once else self.waiting).append(function)
        return result


class Answers:
    """A teacher whose outputs are on the processor, as those of the bank are."""

    def view(self, number):
        return torch.zeros(64, 10)


class Ended(Exception):
    """The steps of an epoch are done."""


@pytest.fixture
def steps(monkeypatch):
    """Runs the steps of an epoch on the other device, and returns the copies to and from it."""
    copies, epoch = Copies(), engine._Run.epoch

    def watched(run, request):
        with copies:
            epoch(run, request)

    def end(run, started):
        raise Ended

    def plain(network, recipe):
        return torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)

    monkeypatch.setattr(engine._Run, "epoch", watched)
    monkeypatch.setattr(engine._Run, "_close_epoch", end)
    monkeypatch.setattr(engine._Run, "load", lambda run: None)
    monkeypatch.setattr(engine, "optimizer", plain)  # torch has no fused one for this device
    # read at the end of the epoch, which is not part of a step
    monkeypatch.setattr(RunningLoss, "total", lambda losses: 0.0)

    def run(network, examples, augmentations, front, **settings):
        recipe = Recipe(
            epochs=1, batch_size=16, threads=1, views=2, precision="float32", **settings
        )
        objective = from_teacher(Answers(), temperature=4.0, weight=0.9)
        with pytest.raises(Ended):
            engine.fit(
                network,
                examples,
                None,
                objective,
                recipe,
                augmentations=augmentations,
                front=front,
                processes=ProcessGroup(0, 1, ELSEWHERE),
            )
        return copies

    return run


def of_images():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 10))


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 1.0}])
def test_on_images(steps, settings):
    front = Normalize([0.5], [0.25]).to(ELSEWHERE)
    augmentations = ImageAugmentations(64, 1, True, 0, 2)
    done = steps(of_images(), Resident(IMAGES, ELSEWHERE), augmentations, front, **settings)
    assert len(done.others) >= 4 * 4  # of each of four steps: indices, shifts, flips, answers
    assert not done.waiting


def test_on_some_examples_of_clips(steps):
    clips = Split(torch.zeros(80, 64, dtype=torch.int16), torch.zeros(80, dtype=torch.int64))
    resident = Resident(clips, ELSEWHERE)
    chosen = Chosen(resident, torch.arange(64), resident.targets[:64])
    network = nn.Sequential(nn.Linear(64, 10))
    done = steps(network, chosen, AudioAugmentations(64, 3, 6.0, 0, 2), lambda clips: clips.float())
    assert len(done.others) >= 4 * 4
    assert not done.waiting


def test_a_loss_that_is_not_finite_is_found_where_the_sum_is_read(monkeypatch):
    losses = RunningLoss(0.0, torch.device("cpu"))
    monkeypatch.setattr(losses, "_asks_each_step", False)  # as on a GPU
    losses.add(torch.tensor(1.0), torch.tensor(2.0))
    assert losses.total() == 1.0
    losses.add(torch.tensor(1.0), torch.tensor(torch.inf))
    losses.add(torch.tensor(1.0), torch.tensor(2.0))
    with pytest.raises(NotFiniteError, match="loss nan"):
        losses.total()
