"""Pull the data and reproduce every stage that is out of date, independent branches in parallel."""

from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed

from espalier.errors import EspalierError
from espalier.tasks.artifacts import publish
from espalier.tasks.commit import commit
from espalier.tasks.data import pull_data
from espalier.tasks.fetch import fetch
from espalier.tasks.flow_runs import mark_crashed
from espalier.tasks.graph import Graph, read_graph
from espalier.tasks.notify import notify
from espalier.tasks.project import Project, TimeLimits, open_project, promotes
from espalier.tasks.promote import promote
from espalier.tasks.registry import check_registry
from espalier.tasks.reporting import line_reporter
from espalier.tasks.reproduce import reproduce
from espalier.tasks.summary import fail, summarize, unregistered
from espalier.tasks.sweep import sweep_leftovers
from espalier.tasks.warm import warm_process

REGISTER = "register"
UNREGISTERED = "Unregistered"  # name of the state in which the tracking server is away
NEXT_REGISTERS = "The models are complete; the next run, or `espalier register`, registers them."
NEXT_PROMOTES = "The models are registered; the next run, or `espalier promote`, promotes."
LIMITS = TimeLimits()


@flow(name="compress", persist_result=False)
def compress(
    folder: str = ".",
    force: tuple[str, ...] = (),
    limits: TimeLimits = LIMITS,
    fetch_first: bool = False,
    commit_after: bool = False,
) -> State[Any]:
    """Make everything that is out of date, from the data to the registry.

    Args:
        folder: a folder of the project.
        force: stages or models to make again although nothing changed.
        limits: delays and time limits, in seconds.
        fetch_first: whether to pull the repository and the data before.
        commit_after: whether to commit `dvc.lock` and the `.dvc` files after a run without failure.
    """
    try:
        if fetch_first:
            with open_project(folder, limits) as project:
                fetch.submit(project).result()
        with open_project(folder, limits) as project:
            state = walk(project, force)
            if commit_after and state.is_completed():
                commit.submit(project, state.message or "").result()
    except EspalierError as error:
        state = fail(error)
    if state.is_failed():
        notify(folder, state.message or "")
    return state


def walk(project: Project, force: tuple[str, ...]) -> State[Any]:
    """Read the graph, with the data that it needs, and make what is out of date."""
    report = line_reporter(get_run_logger())
    mark_crashed(project.root, report)
    sweep_leftovers(project, report)
    project.live.reconcile(report)
    allow_missing = bool(project.queues)
    graph = read_graph(project.root, force, report, allow_missing)
    if graph.missing_data:
        pull_data.submit(graph.missing_data, project).result()
        graph = read_graph(project.root, force, report, allow_missing)
    with warm_process(project, graph.stale):
        return make_all(project, graph)


def make_all(project: Project, graph: Graph) -> State[Any]:
    """Submit a task for each stage, which waits for the tasks of the stages that it needs; then promote."""
    registered = check_registry.submit(project) if graph.unchanged(REGISTER) else None

    runs: dict[str, PrefectFuture[Any]] = {}
    for stage in graph.stages:
        if stage.name == REGISTER and registered and not registered.result():
            stage = replace(stage, stale=True, forced=True)
        needed = [runs[name] for name in stage.needs]
        runs[stage.name] = reproduce.submit(stage, project, wait_for=needed, return_state=False)
    wait(list(runs.values()))
    publish(project, return_state=True)
    states = {name: run.state for name, run in runs.items()}
    away = unregistered(states[REGISTER]) if REGISTER in states else ""
    others = {name: state for name, state in states.items() if name != REGISTER}
    if away and all(state.is_completed() for state in others.values()):
        return without_registry(summarize(graph, others), f"{away} {NEXT_REGISTERS}")
    state = summarize(graph, states)
    return then_promote(project, state) if state.is_completed() and promotes(project) else state


def then_promote(project: Project, state: State[Any]) -> State[Any]:
    """Move the champion if a better model passes the gates; that none passes is no failure."""
    promoted = promote(project, return_state=True)
    away = unregistered(promoted)
    if away:
        return without_registry(state, f"{away} {NEXT_PROMOTES}")
    return (
        promoted
        if promoted.is_failed()
        else Completed(message=f"{state.message}\n{promoted.message}")
    )


def without_registry(state: State[Any], away: str) -> State[Any]:
    """The state of a run whose models are complete, and whose tracking server is away."""
    return Completed(name=UNREGISTERED, message=f"{state.message}\n{away}")
