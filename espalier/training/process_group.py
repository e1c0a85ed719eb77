"""The processes that train one network together."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from espalier.errors import BadInput, LostProcess, reason_of

_POLL = 0.1  # seconds between two looks for a text of process 0


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train one network together; usually one.

    Attributes:
        rank: number of this process; process 0 writes files.
        size: number of processes.
        device: device of this process.
        store: store of texts that all processes read; None for one process.
    """

    rank: int
    size: int
    device: torch.device
    store: Store | None = field(default=None, compare=False, repr=False)

    @property
    def alone(self) -> "ProcessGroup":
        """This process by itself, for work that the others do not do."""
        return replace(self, size=1, store=None) if self.size > 1 else self

    def together(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def in_any(self, holds: bool) -> bool:
        """Whether something holds in one process or more."""
        if self.size == 1:
            return holds
        return self.together(torch.tensor(float(holds), device=self.device)).item() > 0

    def wait(self) -> None:
        """Wait until all processes call this."""
        self.in_any(False)

    def replica_of(self, network: nn.Module) -> nn.Module:
        """The network, or a replica of it that averages its gradients over several processes.

        `find_unused_parameters` fixes the order of the sums: without it the first step of a process sums
        in another order than the next ones, so a training that is resumed would have other bits.
        """
        if self.size == 1:
            return network
        return DistributedDataParallel(network, find_unused_parameters=True)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients of parameters that are outside the replica over the processes."""
        for parameter in parameters if self.size > 1 else ():
            if parameter.grad is not None:
                parameter.grad = self.together(parameter.grad) / self.size

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of process 0."""
        for tensor in tensors if self.size > 1 else ():
            dist.broadcast(tensor, 0)

    def part(self, items: list[Tensor]) -> list[Tensor]:
        """The items of this process: every `size`-th one, beginning at its rank."""
        return items[self.rank :: self.size]

    def join_parts(self, parts: list[Tensor], counts: list[int]) -> list[Tensor]:
        """The items of all processes, in their order.

        Args:
            parts: items of this process, tensors (n, ...) that differ in n alone, as `part` chooses
                them.
            counts: n of each of the items of all processes.

        Example:
            Of three items, process 0 gives the first and the third, and process 1 the second. Both
            get all three.
        """
        if self.size == 1:
            return parts
        own = torch.cat(parts)
        lengths = [sum(counts[rank :: self.size]) for rank in range(self.size)]
        padded = own.new_zeros(max(lengths), *own.shape[1:])
        padded[: lengths[self.rank]] = own[: lengths[self.rank]]
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded)
        by_rank = [
            iter(whole[:length].split(counts[rank :: self.size]))
            for rank, (whole, length) in enumerate(zip(gathered, lengths, strict=True))
        ]
        return [next(by_rank[place % self.size]) for place in range(len(counts))]

    def from_first(self, key: str, make: Callable[[], str]) -> str:
        """A text that process 0 makes. The others wait for it as long as that takes.

        A collective operation would end with an error after some minutes; if process 0 crashes, the
        command that started the processes ends the others.

        Args:
            key: name of the text, used once.
            make: makes it, in process 0 alone.
        """
        if self.store is None:
            return make()
        if self.rank == 0:
            text = make()
            self.store.set(key, text)
            return text
        while not self.store.check([key]):
            time.sleep(_POLL)
        found: str = self.store.get(key).decode()
        return found

    def refuse_other_step(self, step: int) -> None:
        """Refuse processes that continue from different steps, as on machines with different files.

        Raises:
            BadInput: if a process has another step than this one.
        """
        total = self.together(torch.tensor(float(step), device=self.device)).item()
        if self.in_any(total != step * self.size):
            raise BadInput(
                f"Expected all processes to read the same checkpoint; found step {step} in process "
                f"{self.rank}, and other steps elsewhere: keep the project in a folder that all machines "
                "share."
            )

    def leave(self) -> None:
        """Leave the group; the processes no longer wait for each other."""
        if self.size > 1:
            dist.destroy_process_group()


def join(device: torch.device) -> ProcessGroup:
    """Join the processes that torch started, by the variables that it sets; without them this one alone."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return ProcessGroup(0, 1, device)
    store, rank, size = next(rendezvous("env://"))
    if not dist.is_initialized():
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=PrefixStore("group", store),
            rank=rank,
            world_size=size,
            device_id=device if on_gpu else None,
        )
    return ProcessGroup(rank, size, device, PrefixStore("espalier", store))


@contextmanager
def lost_processes() -> Iterator[None]:
    """An error of the connection between processes is a `LostProcess`.

    Raises:
        LostProcess: if another process ended, or its machine cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_of_connection(error):
            raise
        raise LostProcess(
            f"Expected the processes that train together to be connected; found: {reason_of(error)}: "
            "check the other processes and the network between the machines."
        ) from error


def _is_of_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)
