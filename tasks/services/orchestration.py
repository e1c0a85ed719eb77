"""Prefect: its server on PostgreSQL, the pools and deployments, and a worker for each queue."""

import base64
import json
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from espalier.errors import BadInput
from espalier.interpreter import python_module
from espalier.paths import DEPLOYMENTS
from espalier.tasks.fleet.request import POOL
from espalier.tasks.services.service import Service, http_answers
from espalier.tasks.services.settings import FLOWS_POOL, Settings

LEASES = "prefect.server.concurrency.lease_storage.filesystem"
_NAME = "prefect"
_LIMITS = {"bench": 1}  # runs of a queue at once: latencies are measured one after the other
_POLLING = {"PREFECT_WORKER_QUERY_SECONDS": "2"}  # each stage waits for the next look at the queue
_DEPLOY = 180.0  # seconds
_ANSWER = 10.0  # seconds
# a stage has 20 seconds to write its checkpoint, and its flow run some more to report it
_GRACE = 40.0


def prefect_server(settings: Settings) -> Service:
    """Prefect's server; with its first answer the pools and deployments are made."""
    driver = "postgresql+asyncpg"
    own = {
        "PREFECT_API_DATABASE_CONNECTION_URL": settings.database(_NAME, driver),
        "PREFECT_SERVER_API_AUTH_STRING": settings.client()["PREFECT_API_AUTH_STRING"],
        "PREFECT_HOME": str(settings.data / _NAME),
        # in memory, the default, leases are lost with the server, and the slot of a run that was stopped
        # meanwhile stays taken: each later night would be cancelled
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        "PREFECT_UI_API_URL": settings.prefect,
    }
    place = ("--host", settings.host, "--port", str(settings.ports.prefect))
    return Service(
        name=_NAME,
        address=settings.prefect,
        command=tuple(python_module("prefect", "server", "start", *place)),
        environment=settings.environment(_NAME, own | settings.database_client()),
        probe=lambda: http_answers(f"{settings.prefect}/health"),
        folder=settings.root,
        listens=(settings.host, settings.ports.prefect),
        complete=lambda: _deploy(settings),
    )


def workers(settings: Settings) -> list[Service]:
    """A worker for the deployed flows, and one for each queue of stages."""
    queues = [_worker(settings, POOL, queue) for queue in settings.queues]
    return [_worker(settings, FLOWS_POOL, ""), *queues]


def _worker(settings: Settings, pool: str, queue: str) -> Service:
    name = f"worker-{queue or 'flows'}"
    words = ["--pool", pool, "--type", "process", "--name", name]
    words += ["--work-queue", queue, "--limit", str(settings.stages)] if queue else []
    heartbeat = _Heartbeat(settings, pool, name)
    return Service(
        name=name,
        address=f"queue {queue} of {pool}" if queue else f"pool {pool}",
        command=tuple(python_module("prefect", "worker", "start", *words)),
        environment=settings.environment(name, _client(settings) | _POLLING),
        probe=heartbeat.is_online,
        folder=settings.root,
        prepare=heartbeat.start,
        grace=_GRACE,
        children_work=True,  # a flow run goes on without its worker
    )


@dataclass
class _Heartbeat:
    """The heartbeats of a worker, as Prefect's server has them.

    Attributes:
        settings: settings of the services.
        pool: pool of the worker.
        name: name of the worker.
        since: time of its start, in seconds since 1970; earlier heartbeats are of a former worker.
    """

    settings: Settings
    pool: str
    name: str
    since: float = 0.0

    def start(self) -> None:
        """Count heartbeats from now on."""
        self.since = time.time()

    def is_online(self) -> bool:
        """Whether the worker is online, by a heartbeat since its start."""
        found = _post(self.settings, f"/work_pools/{self.pool}/workers/filter", {})
        own = [one for one in found if one["name"] == self.name]
        return any(
            one["status"] == "ONLINE"
            and datetime.fromisoformat(one["last_heartbeat_time"]).timestamp() > self.since
            for one in own
        )


def _client(settings: Settings) -> dict[str, str]:
    return settings.client() | {"PREFECT_HOME": str(settings.data / _NAME)}


def _post(settings: Settings, path: str, content: dict[str, Any]) -> Any:
    login = base64.b64encode(settings.client()["PREFECT_API_AUTH_STRING"].encode()).decode()
    request = urllib.request.Request(  # noqa: S310
        settings.prefect + path,
        data=json.dumps(content).encode(),
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_ANSWER) as response:  # noqa: S310
        return json.load(response)


def _deploy(settings: Settings) -> None:
    """Make the pools and queues that are missing, and deploy the flows of `prefect.yaml`.

    Raises:
        BadInput: if Prefect refuses.
    """
    queues = {queue: _LIMITS.get(queue) for queue in settings.queues}
    pools = json.dumps({FLOWS_POOL: {}, POOL: queues})
    commands = [["espalier.tasks.services.pools", pools]]
    if (settings.root / DEPLOYMENTS).exists():
        commands.append(["prefect", "--no-prompt", "deploy", "--all"])
    log = settings.logs / "deploy.log"
    for words in commands:
        with log.open("ab") as output:
            done = subprocess.run(
                python_module(*words),
                cwd=settings.root,
                env=settings.environment(_NAME, _client(settings)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_DEPLOY,
                check=False,
            )
        if done.returncode:
            raise BadInput(
                f"Expected `{' '.join(words)}` to succeed; found status {done.returncode}: see {log}."
            )
