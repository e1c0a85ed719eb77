"""The training engine: one loop for teachers, students, recovery after a cut, and quantization-aware steps."""

import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import BadInput, Stopped
from espalier.inputs import Augmentations, Front
from espalier.seeds import generator, seed_all
from espalier.training.allocator import kept_memory
from espalier.training.averaging import running_average
from espalier.training.batches import Batch, Examples
from espalier.training.checkpoint import Checkpoints, flatten, restore, within
from espalier.training.constraints import constraints_of
from espalier.training.device import autocast, to_device
from espalier.training.freezing import Frozen
from espalier.training.gradients import Gradients
from espalier.training.history import Report, Row, silent
from espalier.training.interrupt import StopRequest, on_sigterm
from espalier.training.loss_inputs import LossInputs, Objective
from espalier.training.optimizers import gradient_norm, optimizer
from espalier.training.process_group import ProcessGroup
from espalier.training.recipe import Recipe
from espalier.training.running_loss import NotFiniteError, RunningLoss
from espalier.training.sampling import shuffled
from espalier.training.schedules import SCHEDULES
from espalier.training.scoring import Inference


@dataclass
class _State:
    """Progress of a training. A checkpoint is this state and the tensors: all randomness derives from it."""

    epoch: int = 0
    step: int = 0  # over all epochs
    loss: float = 0.0  # sum over the steps of this epoch
    damping: float = 1.0  # factor of the learning rate, halved after a loss that was not finite
    rollbacks: int = 0
    seconds: float = 0.0  # spent in this epoch before an interruption
    lowest: float | None = None  # validation loss of the best epoch
    waited: int = 0  # epochs since then
    parts: int = 1  # of a batch that does not fit into memory
    history: list[Row] = field(default_factory=list)


def fit(  # noqa: PLR0913 - a face over the parts of a training
    network: nn.Module,
    train: Examples,
    validation: Inference,
    objective: Objective,
    recipe: Recipe,
    *,
    augmentations: Augmentations,
    front: Front,
    processes: ProcessGroup,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
) -> list[Row]:
    """Train a network in place.

    The result is the weights of the last epoch, with `patience` those of the best, or their running
    average.

    If the process is killed at any moment and called again with the same arguments and checkpoints,
    the result has the same bits.

    Args:
        network: network to train; if it has several heads, the first is validated.
        train: training split.
        validation: validation split, on which the network is measured after each epoch.
        objective: loss to be minimised.
        recipe: hyperparameters.
        augmentations: augmented versions of the training split; epoch `e` uses view `e` modulo their
            number. Their seed seeds everything random.
        front: maps stored inputs to what the network sees.
        processes: processes that train together.
        checkpoints: folder to save to after each epoch and when stopped; None to save nothing.
        report: called with each row of the history.

    Returns:
        The history, a row per epoch: step, epoch, loss, validation_loss, the mean score by the name
        of the task's headline, learning_rate, seconds, time.

    Raises:
        Stopped: if SIGTERM arrived; the checkpoint is written.
        BadInput: if the loss was not finite more often than the recipe allows.
    """
    with Frozen(network, recipe.freeze) as frozen, on_sigterm() as request, kept_memory():
        run = _Run(
            network,
            train,
            validation,
            objective,
            recipe,
            augmentations,
            front,
            processes,
            checkpoints,
            report,
            frozen,
        )
        run.load()
        while not run.is_done:
            try:
                run.epoch(request)
            except NotFiniteError as error:
                run.roll_back(error)
    run.finish()
    return run.state.history


@dataclass(eq=False)
class _Run:
    """One call of `fit`, with its arguments."""

    network: nn.Module
    train: Examples
    validation: Inference
    objective: Objective
    recipe: Recipe
    augmentations: Augmentations
    front: Front
    processes: ProcessGroup
    checkpoints: Checkpoints | None
    report: Report
    frozen: Frozen

    def __post_init__(self) -> None:
        recipe, processes, objective = self.recipe, self.processes, self.objective
        self.network = to_device(self.network, processes.device)
        # trained together with the network, such as the adapters of an objective
        self.companion = (objective if isinstance(objective, nn.Module) else nn.Module()).to(
            processes.device
        )
        self.optimizer = optimizer(nn.ModuleList([self.network, self.companion]), recipe)
        self.constraints = constraints_of(self.network)
        self.average = running_average(self.network, recipe.ema) if recipe.ema else None
        # the weights of the best epoch, a part of every checkpoint
        self.best = copy.deepcopy(self.network) if recipe.patience else None
        self.replica = processes.replica_of(self.network)
        self.gradients = Gradients(
            self.replica,
            objective,
            lambda: autocast(recipe, processes.device),
            self.optimizer.zero_grad,
            seed=self.augmentations.seed,
            may_divide=processes.size == 1,
        )
        self.state = _State()
        self.steps = max(1, len(self.train) // recipe.batch_size)
        self.good = self._snapshot()

    @property
    def is_done(self) -> bool:
        """Whether all epochs are done, or the patience is at its end."""
        patience = self.recipe.patience
        tired = patience > 0 and self.state.waited >= patience
        return tired or self.state.epoch >= self.recipe.epochs

    def epoch(self, request: StopRequest) -> None:
        """Train until the end of the current epoch, starting at the current step."""
        state, started = self.state, time.monotonic()
        view = state.epoch % self.augmentations.count
        done = state.step - state.epoch * self.steps
        groups = self._order(state.epoch)[done:]
        self.replica.train()
        self.frozen.keep_statistics()
        losses = RunningLoss(state.loss, self.processes.device)
        for batch in self.train.batches(groups, view if self.recipe.augment else None):
            losses.add(*self._step(batch, view))
            state.step += 1
            if self._stop_asked(request):
                state.loss = losses.total()
                state.seconds += time.monotonic() - started
                self._save(self._snapshot_with_good())
                self.processes.wait()  # the first process that exits ends the others
                raise Stopped(
                    f"Stopped as asked after step {state.step}; the checkpoint is written."
                )
        state.loss = losses.total()
        self._close_epoch(started)

    def roll_back(self, error: NotFiniteError) -> None:
        """Restore the last good epoch with half the learning rate; refuse after too many returns."""
        rollbacks, damping = self.state.rollbacks + 1, self.state.damping / 2
        self._adopt(*self.good)
        if rollbacks > self.recipe.rollbacks:
            raise BadInput(
                f"Expected the loss to be finite; found {error} in epoch {self.state.epoch + 1}, "
                f"again after {self.recipe.rollbacks} returns to the last good epoch with half the "
                f"learning rate each; `learning_rate = {self.recipe.learning_rate}` may be too "
                "large, or an input is not finite."
            )
        self.state.rollbacks, self.state.damping = rollbacks, damping
        self.good = self._snapshot()
        self._save(self.good)

    def load(self) -> None:
        """Resume from the checkpoint, if there is one."""
        found = self.checkpoints.read() if self.checkpoints else None
        if found:
            tensors, progress = found
            good = progress.pop("good", None)
            self._adopt(tensors, progress)
            self.good = (within("good.", tensors), good) if good else self._snapshot()
        self.processes.refuse_other_step(self.state.step)

    def finish(self) -> None:
        """Replace the weights by those of the best epoch, or by their running average, if there are any."""
        if self.best is not None:
            self.network.load_state_dict(self.best.state_dict())
        elif self.average is not None:
            self.network.load_state_dict(self.average.module.state_dict())
        self.network.eval()

    def _step(self, batch: Batch, view: int) -> tuple[Tensor, Tensor]:
        """Move the weights once, and return the loss and the norm of its gradient, scalars on the device."""
        state, recipe = self.state, self.recipe
        seed_all(self.augmentations.seed, "step", state.step, self.processes.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(state.step)
        stored = (
            self.augmentations.apply(batch.inputs, batch.index, view)
            if recipe.augment
            else batch.inputs
        )
        images = self.front(stored)
        progress = state.step / (self.steps * recipe.epochs)

        def seen(heads: dict[str, Tensor]) -> LossInputs:
            first = next(iter(heads.values()))
            return LossInputs(first, images, batch, view, progress, heads, stored)

        loss, state.parts = self.gradients.of(images, seen, state.parts, state.step)
        self.processes.average_gradients(self.companion.parameters())
        for constraint in self.constraints:
            constraint.before_step()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm or math.inf)
        norm += gradient_norm(self.companion, norm.device)
        self.optimizer.step()
        for constraint in self.constraints:
            constraint.after_step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        loss, norm = self.processes.together(torch.stack([loss, norm]))
        return loss.double() / self.processes.size, norm

    def _rate(self, step: int) -> float:
        factor = SCHEDULES[self.recipe.schedule](
            step, self.steps * self.recipe.epochs, self.recipe.warmup
        )
        return self.recipe.learning_rate * self.state.damping * factor

    def _close_epoch(self, started: float) -> None:
        state = self.state
        judged = self.average.module if self.average is not None else self.network
        # statistics of batch norms differ, because each process sees other examples
        self.processes.copy_from_first(judged.buffers())
        loss, score = self.validation.loss_and_score(judged, self.processes)
        if not math.isfinite(loss):
            raise NotFiniteError(f"validation loss {loss}")
        state.epoch += 1
        row: Row = {
            "step": state.step,
            "epoch": state.epoch,
            "loss": state.loss / self.steps,
            "validation_loss": loss,
            self.validation.task.headline.name: score,
            "learning_rate": self._rate(state.step - 1),
            "seconds": state.seconds + time.monotonic() - started,
            "time": time.time(),
        }
        state.history.append(row)
        self._keep_best(judged, loss)
        state.loss = state.seconds = 0.0
        self.good = self._snapshot()
        self._save(self.good)
        if self.processes.rank == 0:
            self.report(row)

    def _keep_best(self, judged: nn.Module, loss: float) -> None:
        """Keep the weights of an epoch whose validation loss is the lowest so far."""
        if self.best is None:
            return
        self.state.waited += 1
        if self.state.lowest is None or loss < self.state.lowest:
            self.best.load_state_dict(judged.state_dict())
            self.state.lowest, self.state.waited = loss, 0

    def _order(self, epoch: int) -> list[Tensor]:
        """This process's part of each batch of an epoch, shuffled anew for each epoch."""
        random = generator(self.augmentations.seed, "order", epoch)
        whole = shuffled(self.train.targets, self.steps, self.recipe, random)
        return [group[self.processes.rank :: self.processes.size] for group in whole]

    def _stop_asked(self, request: StopRequest) -> bool:
        return self.processes.in_any(request.stop)

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        parts: dict[str, nn.Module | torch.optim.Optimizer] = {
            "network": self.network,
            "companion": self.companion,
            "optimizer": self.optimizer,
        }
        if self.best is not None:
            parts["best"] = self.best
        return parts if self.average is None else {**parts, "average": self.average}

    def _snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        progress = {**self.state.__dict__, "history": list(self.state.history)}
        return flatten(self._parts()), progress

    def _snapshot_with_good(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A snapshot in the middle of an epoch, with the last good one, which a rollback needs."""
        tensors, progress = self._snapshot()
        good, then = self.good
        return tensors | {f"good.{name}": value for name, value in good.items()}, {
            **progress,
            "good": then,
        }

    def _adopt(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        restore(self._parts(), tensors)
        self.state = _State(**{**progress, "history": list(progress["history"])})

    def _save(self, snapshot: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        if self.checkpoints and self.processes.rank == 0:
            self.checkpoints.write(*snapshot)
