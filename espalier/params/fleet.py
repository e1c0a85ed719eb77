"""The section `fleet`: the work queues whose workers make the stages of a project."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from espalier.errors import BadInput
from espalier.paths import PARAMS

_STAGES = ("prepare", "evaluate")  # beside the entries; `register` writes files of the project
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def queues_of_stages(fleet: Mapping[str, Sequence[str]], entries: Sequence[str]) -> dict[str, str]:
    """The work queue of each stage that a worker makes; the stages without one are made by the run itself.

    Args:
        fleet: for each queue, names or patterns (`student*`) of entries and stages.
        entries: names of all entries, the teacher's included.

    Raises:
        BadInput: if a queue has no valid name, a pattern fits no stage, or two queues have a stage.

    Example:
        >>> queues_of_stages({"gpu": ["teacher"], "bench": ["evaluate"]}, ["teacher", "student"])
        {'teacher': 'gpu', 'evaluate': 'bench'}
    """
    known = (*entries, *_STAGES)
    found: dict[str, str] = {}
    for queue, patterns in fleet.items():
        if not _QUEUE.fullmatch(queue):
            raise BadInput(
                "Expected a queue under `fleet` to be letters, digits, '-' and '_'; found "
                f"{queue!r} in {PARAMS}."
            )
        for pattern in patterns:
            fitting = [name for name in known if fnmatchcase(name, pattern)]
            if not fitting:
                raise BadInput(
                    f"Expected fleet.{queue} to name entries, {' or '.join(_STAGES)}, or patterns of "
                    f"them; found {pattern!r}, which fits none of {', '.join(known)}."
                )
            for name in fitting:
                if found.setdefault(name, queue) != queue:
                    raise BadInput(
                        f"Expected `fleet` to give {name} one queue; found {found[name]!r} and {queue!r}."
                    )
    return found
