"""A registered model whose alias is moved, in a local store or on a server, and processes that move it and may die."""

import contextlib
import os
import signal
import traceback
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow import MlflowClient

from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion.audit import Audit
from espalier.registry.promotion.move_alias import OvertakenError, Swap, swap, where
from espalier.registry.versions.registry import open_registry

MOVED, OVERTAKEN = 0, 3  # exit statuses


@dataclass(frozen=True)
class Place:
    """A registered model with three versions, whose champion is the first, and a wish to move it to the second."""

    root: Path
    uri: str
    name: str
    wish: Swap

    @classmethod
    def of(cls, root, uri):
        name = f"digits {uuid.uuid4().hex}"
        with connect(find_store(root, uri)) as client:
            registry = open_registry(client, find_store(root, uri), name)
            run = client.create_run(registry.experiment).info.run_id
            for _ in range(3):
                client.create_model_version(name, f"runs:/{run}/model", run)
            client.set_registered_model_alias(name, "champion", "1")
        return cls(root, uri, name, Swap("champion", "1", "2", "b" * 64, "a" * 64, "promoted", run))

    @property
    def client(self):
        return MlflowClient(self.uri, self.uri)

    @property
    def local(self):
        return self.uri.startswith("sqlite:")

    def where(self, alias):
        return where(self.client, self.name, alias)

    def lines(self):
        return Audit(self.client, self.name).moves()

    def states(self):
        return [line.state for line in self.lines()]

    def move(self, root=None, **changed):
        """Move the alias, from the machine that `root` stands for."""
        store = find_store(root or self.root, self.uri)
        with connect(store) as client:
            return swap(
                client, self.name, replace(self.wish, **changed), alone=store.database is not None
            )

    def move_in_a_process(self, prepare=lambda: None, root=None, **changed):
        """The id of a forked process that does so."""

        def work():
            prepare()
            self.move(root, **changed)

        return in_a_process(work)


def in_a_process(work):
    """The id of a forked process that does something: a new interpreter would have to import MLflow, for seconds."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = MOVED
    except OvertakenError:
        status = OVERTAKEN
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def wrap(call, number, *, before=lambda: None, after=lambda: None):
    """Let something happen just before or just after one call of the store, for the rest of this process."""
    real, made = getattr(MlflowClient, call), []

    def wrapped(*given, **more):
        made.append(1)
        mine = len(made) == number
        if mine:
            before()
        result = real(*given, **more)
        if mine:
            after()
        return result

    setattr(MlflowClient, call, wrapped)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying(call, number, when):
    """What lets a process die just before or just after one call of the store."""
    return lambda: wrap(call, number, **{when: die})


@contextlib.contextmanager
def no_patience():
    """Take the writer of an open line for dead at once, not after two minutes."""
    from espalier.registry.promotion import move_alias as promotion

    kept = promotion._DEAD_AFTER
    promotion._DEAD_AFTER = 0
    try:
        yield
    finally:
        promotion._DEAD_AFTER = kept
