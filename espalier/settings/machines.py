"""The machines on which the processes of one training run, from the environment.

`ESPALIER_RENDEZVOUS` is `HOST:PORT` of machine 0, `ESPALIER_NODES` the number of machines, and
`ESPALIER_NODE` the number of this one. Without the first there is one machine.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from espalier.errors import BadInput

RENDEZVOUS, NODES, NODE = "ESPALIER_RENDEZVOUS", "ESPALIER_NODES", "ESPALIER_NODE"


@dataclass(frozen=True)
class Machines:
    """The machines of one training.

    Attributes:
        count: number of machines.
        own: number of this machine; machine 0 writes the model.
        rendezvous: `HOST:PORT` at which they meet; empty for one machine.
    """

    count: int = 1
    own: int = 0
    rendezvous: str = ""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "Machines":
        """The machines that the environment names.

        Raises:
            BadInput: if a variable is missing or not valid.
        """
        rendezvous = environment.get(RENDEZVOUS, "")
        if not rendezvous:
            return cls()
        host, _, port = rendezvous.rpartition(":")
        if not (host and port.isdecimal()):
            raise BadInput(f"Expected {RENDEZVOUS} to be HOST:PORT; found {rendezvous!r}.")
        count, own = (_number(environment, name) for name in (NODES, NODE))
        if own >= count:
            raise BadInput(
                f"Expected {NODE} to be below {NODES}, because the first machine is 0; found "
                f"{NODE}={own} and {NODES}={count}."
            )
        return cls(count, own, rendezvous)

    def processes_here(self, name: str, processes: int) -> int:
        """The number of processes of a model on this machine.

        Raises:
            BadInput: if the machines cannot have equal numbers.
        """
        here, rest = divmod(processes, self.count)
        if rest or not here:
            raise BadInput(
                f"Expected `processes` of {name} to be a multiple of {NODES}; found `processes: "
                f"{processes}` and {NODES}={self.count}."
            )
        return here


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        raise BadInput(f"Expected {name} to be a number beside {RENDEZVOUS}; found {value!r}.")
    return int(value)
