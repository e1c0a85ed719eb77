"""The console script `espalier`: the library's commands, and those that need a flow."""

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from espalier import cli, paths
from espalier.errors import EspalierError, Stopped
from flows.terminal import preview, print_locations, showing
from tasks.environment import settle
from tasks.graph import read_graph
from tasks.server import serve


def main() -> NoReturn:
    """Run the command line."""
    parser, commands = cli.build()
    command = commands.add_parser(
        "run",
        help="make everything that is out of date, side by side, and register it",
        description="Make everything that is out of date: data, models, evaluation, registry. What is done is not "
        "done again. Uses the Prefect server of PREFECT_API_URL or of your Prefect profile, else one of its own.",
    )
    command.add_argument("--dry", action="store_true", help="only show what would be done")
    command.add_argument(
        "--force",
        action="append",
        default=[],
        metavar="STAGE",
        help="make this stage or model again; repeatable",
    )
    command.set_defaults(run=_run)
    cli.main(parser=parser)


def _run(arguments: argparse.Namespace) -> None:
    root = paths.root()
    if arguments.dry:
        preview(read_graph(root, arguments.force))
        return
    signal.signal(
        signal.SIGTERM, _interrupt
    )  # Prefect passes it on to this when it has stopped the flow
    try:
        _compress(root, tuple(arguments.force))
    except KeyboardInterrupt:
        raise Stopped(
            "The run was stopped. Run it again to go on from the last checkpoints."
        ) from None
    from espalier.commands import show  # pandas

    show.run(root)
    print_locations(root)


def _interrupt(_sign: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _compress(root: Path, force: tuple[str, ...]) -> None:
    from espalier.params import (
        read_params,  # pydantic: a third of a second that `--help` does not pay
    )

    with ExitStack() as held:
        home = settle(root)
        if home:
            held.enter_context(serve(home))
        # Only now: Prefect reads the environment when it is imported, and the server starts meanwhile.
        from flows.compress import compress

        held.enter_context(showing(width=max(map(len, read_params(root).names))))
        state = compress(str(root), force, return_state=True)
    if not state.is_completed():
        error = state.result(raise_on_failure=False)
        raise error if isinstance(error, EspalierError) else EspalierError(state.message)
    sys.stdout.write(f"{state.message}\n")
