"""A registered model whose alias is moved, in a local store or on a server, by processes that may crash."""

import contextlib
import os
import signal
import traceback
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow import MlflowClient

from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion.alias_moves import AliasMove, move_alias, version_of_alias
from espalier.registry.promotion.audit import Audit
from espalier.registry.promotion.errors import ConcurrentMoveError
from espalier.registry.versions import Registry, open_registry

MOVED, LOST = 0, 3  # exit statuses


@dataclass(frozen=True)
class Place:
    """A registered model with three versions, whose champion is the first, and a request to move it to the second."""

    root: Path
    uri: str
    name: str
    request: AliasMove

    @classmethod
    def of(cls, root, uri):
        name = f"digits {uuid.uuid4().hex}"
        with connect(find_store(root, uri)) as client:
            registry = open_registry(client, find_store(root, uri), name)
            run = client.create_run(registry.experiment).info.run_id
            for _ in range(3):
                client.create_model_version(name, f"runs:/{run}/model", run)
            client.set_registered_model_alias(name, "champion", "1")
        request = AliasMove("champion", "1", "2", "b" * 64, "a" * 64, "promoted", run)
        return cls(root, uri, name, request)

    @property
    def client(self):
        return MlflowClient(self.uri, self.uri)

    @property
    def registry(self):
        return Registry(self.client, find_store(self.root, self.uri), self.name)

    @property
    def local(self):
        return self.uri.startswith("sqlite:")

    def version_of(self, alias):
        return version_of_alias(self.registry, alias)

    def lines(self):
        return Audit(self.client, self.name).moves()

    def states(self):
        return [line.state for line in self.lines()]

    def move(self, root=None, **changed):
        """Move the alias, from the machine that `root` stands for."""
        store = find_store(root or self.root, self.uri)
        with connect(store) as client:
            registry = Registry(client, store, self.name)
            return move_alias(registry, replace(self.request, **changed))

    def move_in_a_process(self, prepare=lambda: None, root=None, **changed):
        """The id of a forked process that moves the alias."""

        def work():
            prepare()
            self.move(root, **changed)

        return in_a_process(work)


def in_a_process(work):
    """The id of a forked process that calls `work`: a new interpreter would import MLflow, for seconds."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = MOVED
    except ConcurrentMoveError:
        status = LOST
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def exit_status(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def wrap(call, number, *, before=lambda: None, after=lambda: None):
    """Run functions just before or just after one call of the store, for the rest of this process."""
    real, calls = getattr(MlflowClient, call), []

    def wrapped(*given, **more):
        calls.append(1)
        mine = len(calls) == number
        if mine:
            before()
        result = real(*given, **more)
        if mine:
            after()
        return result

    setattr(MlflowClient, call, wrapped)


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def crashing(call, number, when):
    """A function that makes its process crash just before or just after one call of the store."""
    return lambda: wrap(call, number, **{when: crash})


@contextlib.contextmanager
def expired_at_once():
    """Treat an open line as one of a crash at once, not after two minutes."""
    from espalier.registry.promotion import alias_moves

    kept = alias_moves._CRASHED_AFTER
    alias_moves._CRASHED_AFTER = 0
    try:
        yield
    finally:
        alias_moves._CRASHED_AFTER = kept
