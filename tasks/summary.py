"""The final state of a run: a sentence per failed stage, and the stages that could not run."""

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import BadInput, EspalierError, ServerAway, Stopped, TryAgain
from espalier.tasks.graph import Graph

# Bad input first: no retry can help. The run is worth a retry only if a retry helps every failure.
_KINDS = (BadInput, Stopped, EspalierError, TryAgain)


def summarize(graph: Graph, states: Mapping[str, State[Any]]) -> State[Any]:
    """The state of the flow. A failed one carries an error whose kind says what to do next.

    Args:
        graph: the stages.
        states: the final state of each stage's task, by name.
    """
    failed = {
        name: state for name, state in states.items() if state.is_failed() or state.is_crashed()
    }
    if not failed:
        executed = sum(state.name != "Unchanged" for state in states.values())
        unchanged = len(states) - executed
        return Completed(
            message=f"{executed} of {len(states)} stages were made, {unchanged} were unchanged."
        )
    sentences = [state.message or f"{name} failed." for name, state in failed.items()]
    blocked = [stage.label for stage in graph.stages if not states[stage.name].is_final()]
    if blocked:
        sentences.append(f"Not run, because they need it: {', '.join(blocked)}.")
    errors = [state.result(raise_on_failure=False) for state in failed.values()]
    return fail(_kind(errors)("\n".join(sentences)))


def unregistered(state: State[Any]) -> str:
    """The sentence of a task that failed because the tracking server is away; empty for another reason.

    The models and reports are complete without it: the run succeeds, and the next one does the rest.

    Args:
        state: the final state of a task that needs the registry.
    """
    error = state.result(raise_on_failure=False) if state.is_failed() else None
    return str(error) if isinstance(error, ServerAway) else ""


def fail(error: EspalierError) -> State[Any]:
    """The state of a flow that ended with this error; its message has no traceback."""
    return Failed(message=str(error), data=error)


def _kind(errors: list[Any]) -> type[EspalierError]:
    """The kind of error that decides what to do next, of several."""
    for kind in _KINDS:
        if any(type(error) is kind for error in errors):
            return kind
    return TryAgain
