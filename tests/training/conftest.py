"""A training run so small that an epoch is eight steps of a few milliseconds."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from espalier.data.prepared import Split, read_dataset, read_split
from espalier.distillation.objectives import from_labels
from espalier.inputs import Front
from espalier.inputs.image import ImageAugmentations
from espalier.models import build
from espalier.seeds import seed_all
from espalier.training.batches import Examples, Resident
from espalier.training.checkpoint import Checkpoints
from espalier.training.device import ProcessGroup
from espalier.training.engine import fit
from espalier.training.history import Report, Row, silent
from espalier.training.loss_inputs import Objective
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=32, threads=1, views=2, precision="float32")


@dataclass(frozen=True)
class Setting:
    """Everything that a training run takes, with defaults; `train` is a run of its own each time."""

    examples: Examples
    validation: Inference
    front: Front
    recipe: Recipe = RECIPE
    processes: ProcessGroup = field(default_factory=lambda: ProcessGroup(0, 1, CPU))

    def network(self) -> nn.Module:
        """All that makes a state: filters, a norm, dropout, a classifier."""
        seed_all(0, "weights")
        body = (
            nn.Conv2d(1, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.1),
        )
        return nn.Sequential(*body, nn.Linear(128, 10))

    def built(self, factory: str, **arguments: Any) -> nn.Module:
        seed_all(0, "weights")
        return build(factory, classes=10, shape=(1, 8, 8), arguments=arguments)

    def train(
        self,
        network: nn.Module,
        *,
        objective: Objective | None = None,
        checkpoints: Path | None = None,
        report: Report = silent,
        examples: Examples | None = None,
        processes: ProcessGroup | None = None,
        **changes: Any,
    ) -> list[Row]:
        return fit(
            network,
            examples or self.examples,
            self.validation,
            objective or from_labels(),
            replace(self.recipe, **changes),
            augmentations=ImageAugmentations(
                len(examples or self.examples), 1, False, 0, self.recipe.views
            ),
            front=self.front,
            processes=processes or self.processes,
            checkpoints=Checkpoints(checkpoints) if checkpoints else None,
            report=report,
        )


@pytest.fixture(scope="session")
def setting(digits: Path) -> Setting:
    dataset = read_dataset(digits)
    front = dataset.front(CPU)
    train, validation = read_split(digits, "train"), read_split(digits, "validation")
    examples = Resident(
        Split(train.inputs[:263], train.targets[:263]), CPU
    )  # the last seven make no whole batch
    return Setting(examples, Inference(Resident(validation, CPU), front), front)
