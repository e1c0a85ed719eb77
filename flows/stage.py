"""Make one stage of a project on the machine of a worker."""

import logging
import os
from dataclasses import asdict
from typing import Any

from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler
from prefect.states import Completed, Failed

from espalier.errors import EspalierError
from espalier.params import read_params
from espalier.system_errors import sentences
from espalier.tasks.artifacts import publish_model
from espalier.tasks.fleet.leftovers import sweep_home
from espalier.tasks.fleet.making import make_or_find, refuse_other_version
from espalier.tasks.fleet.orphaned import survive_the_worker
from espalier.tasks.fleet.request import RESULT, Request, Result
from espalier.tasks.fleet.watching import LOGGER
from espalier.tasks.fleet.workspace import Home
from espalier.tasks.project import TimeLimits, open_project
from espalier.tasks.reporting import ReportLine, line_reporter

LIMITS = TimeLimits()


@flow(name="stage", persist_result=False)
def stage(
    request: Request, checkpoint_minutes: float = 5.0, limits: TimeLimits = LIMITS
) -> State[Any]:
    """Make a stage that a run has handed over. Its files go to DVC's remote, its entry back to the run.

    Args:
        request: the stage, as text.
        checkpoint_minutes: minutes between two copies of the checkpoints to DVC's remote.
        limits: delays and time limits, in seconds.
    """
    survive_the_worker()
    report = _reporter()
    try:
        refuse_other_version(request)
        home = Home.of_this_user()
        with home.workspace(request) as root, sentences(root):
            sweep_home(home, read_params(root).sweep, root)
            with open_project(str(root), limits, slots=home.slots) as project:
                if not os.environ.get("MLFLOW_TRACKING_URI"):
                    project.live.close()  # curves would go to a registry in the clone
                result = make_or_find(request, project, 60 * checkpoint_minutes, report)
            publish_model(request.stage.rpartition("@")[2], root)
            _return(request, result)
    except EspalierError as error:
        APILogHandler().flush()  # before the state, which ends the run's reading of lines
        return Failed(name=type(error).__name__, message=str(error))
    APILogHandler().flush()
    return Completed(message=f"{request.stage} is {'made' if result.executed else 'found'}.")


def _return(request: Request, result: Result) -> None:
    """Leave the result where the run reads it."""
    key = "stage-" + "".join(one if one.isalnum() else "-" for one in request.stage.lower())
    data = asdict(result)
    Artifact(type=RESULT, key=key, data=data, description="Entry of dvc.lock.").create()


def _reporter() -> ReportLine:
    """Reports lines of the stage in the log of the flow run, under a name by which the run finds them."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    extra = {
        "flow_run_name": context.flow_run.name,
        "flow_run_id": str(context.flow_run.id),
        "flow_name": "stage",
    }
    return line_reporter(logging.LoggerAdapter(logging.getLogger(LOGGER), extra))
