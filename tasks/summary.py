"""What a run came to, in one state: a sentence for each stage that failed, and how many others were held back by it."""

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from tasks.graph import Graph


def conclude(graph: Graph, states: Mapping[str, State[Any]]) -> State[Any]:
    """The state of the flow. A failed one carries an error of the kind that says what to do next."""
    failed = {
        name: state for name, state in states.items() if state.is_failed() or state.is_crashed()
    }
    if not failed:
        made = sum(state.name != "Unchanged" for state in states.values())
        return Completed(
            message=f"{made} of {len(states)} stages were made, {len(states) - made} were unchanged."
        )
    sentences = [state.message or f"{name} failed." for name, state in failed.items()]
    held = [stage.label for stage in graph.stages if not states[stage.name].is_final()]
    if held:
        sentences.append(f"Not run, as they need it: {', '.join(held)}.")
    errors = [state.result(raise_on_failure=False) for state in failed.values()]
    # Bad input first: no retry can help. Only if all could be helped by one is the run worth a retry.
    for kind in (BadInput, Stopped, EspalierError, TryAgain):
        if any(type(error) is kind for error in errors):
            break
    return fail(kind("\n".join(sentences)))


def fail(error: EspalierError) -> State[Any]:
    """The state of a flow that ended with this error: its message is what the user reads, without a traceback."""
    return Failed(message=str(error), data=error)
