"""A program that makes the work pools and queues that are missing, and leaves the others as they are."""

import json
import sys
from contextlib import suppress

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker


def make_pools(client: SyncPrefectClient, pools: dict[str, dict[str, int | None]]) -> None:
    """Make pools for workers that start processes.

    Args:
        client: client of Prefect's server.
        pools: for each pool its queues, each with the number of runs that it starts at once; None for no
            limit.
    """
    template = ProcessWorker.get_default_base_job_template()
    for pool, queues in pools.items():
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(
                WorkPoolCreate(name=pool, type="process", base_job_template=template)
            )
        for queue, limit in queues.items():
            with suppress(ObjectAlreadyExists):
                client.create_work_queue(queue, work_pool_name=pool, concurrency_limit=limit)


if __name__ == "__main__":
    with get_client(sync_client=True) as connected:
        make_pools(connected, json.loads(sys.argv[1]))
