"""Slots of the stages of an experiment: DVC runs them itself, without a flow that holds a slot for them.

Experiments and flows of one project share its slots, wherever DVC runs the experiment: in the project, or in
a copy of it (`dvc exp run --queue`).
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from espalier import paths
from espalier.dvc_record import is_experiment, is_run_by_dvc
from espalier.outcomes import OUTCOME
from espalier.params import read_params
from espalier.stage_lock import stopped_by_sigterm
from espalier.tasks.slots import demand_of, find_slots, take_slots
from espalier.waiting import Reminder


@contextmanager
def slots_in_experiment(
    root: Path, kind: str, name: str, report: Callable[[str], None]
) -> Iterator[None]:
    """Hold the slots of a stage while the block runs, if it is a part of an experiment of DVC.

    Args:
        root: the project, or DVC's copy of it.
        kind: name of the stage before the `@`.
        name: name of the entry that it makes, or of the stage.
        report: receives a sentence while no slot is free.

    Raises:
        Stopped: if SIGTERM arrives while it waits.
    """
    is_of_flow = OUTCOME in os.environ  # the flow holds the slots of its stages
    if not (is_run_by_dvc() and is_experiment()) or is_of_flow:
        yield
        return
    folder = paths.origin(root) / paths.STATE / "slots"
    params = read_params(root)
    slots = find_slots(folder, params.training.threads)
    reminder = Reminder(lambda sentence: report(f"{name}: {sentence}"))
    with ExitStack() as stack:
        with stopped_by_sigterm(name):
            taken = take_slots(
                slots,
                demand_of(kind, name, params),
                threading.Event(),
                lambda: reminder.say("waiting: every slot of this machine is taken"),
            )
            allocation = stack.enter_context(taken)
        os.environ.update(allocation.environment)  # before torch looks for a GPU
        yield
