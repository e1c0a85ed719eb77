"""The console script `espalier`: the commands of the library, and `run`, which needs a flow."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from espalier import cli, paths
from espalier.collector import paused_collector
from espalier.dvc_record import is_experiment
from espalier.ending import interrupt_once, run_to_end
from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from espalier.flows.terminal import lines_on_terminal, preview, print_locations
from espalier.outcomes import OUTCOME
from espalier.settings.proxies import ask_directly
from espalier.settings.secrets import without_secrets
from espalier.tasks.environment import configure_environment
from espalier.tasks.graph import read_graph
from espalier.tasks.server import serve
from espalier.tasks.services.settings import LOOPBACK, Ports

_MOVES = ("promote", "rollback")  # commands that move aliases
_ON_SLOTS = ("make", "evaluate")  # commands of stages that need slots
_OTHER_STAGES = ("prepare", "evaluate", "register")  # beside a stage for each model


def main() -> NoReturn:
    """Run the command line, and end this process."""
    run_to_end(run_command)


def run_command() -> NoReturn:
    """Run the command line, and exit as `espalier.cli.main` does."""
    parser, commands = cli.build()
    command = commands.add_parser(
        "run",
        help="make and register everything that is out of date, in parallel",
        description="Make everything that is out of date: data, models, evaluation, registry. Uses the Prefect "
        "server of PREFECT_API_URL or of your Prefect profile, else a server of its own.",
    )
    command.add_argument(
        "--dry", action="store_true", help="only list the stages, and what a run would refuse"
    )
    command.add_argument(
        "--force",
        action="append",
        default=[],
        metavar="STAGE",
        help="make this stage or model again; repeatable",
    )
    command.set_defaults(run=_run)
    _add_fleet(commands)
    for name in _MOVES:
        _add_events(commands.choices[name])
    for name in _ON_SLOTS:
        _add_slots(commands.choices[name], name)
    cli.main(parser=parser)


def _add_fleet(commands: cli.Subparsers) -> None:
    """Add the command that starts the services of a team."""
    command = commands.add_parser(
        "fleet",
        help="start the services of a team: PostgreSQL, S3, MLflow, Prefect and workers",
        description="Start PostgreSQL, an S3 server, MLflow, Prefect and a worker for each queue, and keep them "
        "running until Ctrl-C. Their data and passwords are kept in a folder; docs/fleet.md describes them.",
    )
    command.add_argument(
        "--data", type=Path, help="folder of data and passwords (default: .fleet of the project)"
    )
    command.add_argument(
        "--host", default=LOOPBACK, help="address that clients use (default: %(default)s)"
    )
    for name, port in asdict(Ports()).items():
        command.add_argument(
            f"--{name}-port", type=int, default=port, metavar="PORT", help="default: %(default)s"
        )
    command.add_argument(
        "--only", action="append", default=[], metavar="SERVICE", help="start only this; repeatable"
    )
    command.set_defaults(run=_run_fleet)


def _add_events(command: argparse.ArgumentParser) -> None:
    """Emit a Prefect event for each alias that a command moves, if a server is configured."""
    run = command.get_default("run")

    def run_with_events(arguments: argparse.Namespace) -> None:
        # a run emits the events of its promotion itself
        if not os.environ.get("PREFECT_API_URL") or OUTCOME in os.environ:
            run(arguments)
            return
        from espalier.tasks.events import events_of_moves  # here: importing pydantic takes 0.3 s

        with events_of_moves(paths.root()):
            run(arguments)

    command.set_defaults(run=run_with_events)


def _add_slots(command: argparse.ArgumentParser, kind: str) -> None:
    """Hold the slots of a stage that an experiment of DVC runs."""
    run = command.get_default("run")

    def run_on_slots(arguments: argparse.Namespace) -> None:
        if not is_experiment():
            run(arguments)
            return
        from espalier.tasks.experiments import slots_in_experiment  # here: pydantic takes 0.3 s

        name = getattr(arguments, "name", kind)
        with slots_in_experiment(paths.root(), kind, name, _say):
            run(arguments)

    command.set_defaults(run=run_on_slots)


def _run(arguments: argparse.Namespace) -> None:
    root = paths.root()
    sys.path.append(str(root))
    with paused_collector():
        from espalier.making.problems import find_problems  # here: importing pydantic takes 0.3 s

    problems = find_problems(root, factories=arguments.dry)
    if arguments.dry:
        queues = _queues(root)
        graph = read_graph(root, arguments.force, _say, allow_missing=bool(queues), mend=False)
        preview(graph, queues)
    if problems:
        raise BadInput("\nespalier: ".join(problems))
    if arguments.dry:
        return
    interrupt_once()
    try:
        _compress(root, tuple(arguments.force))
    except KeyboardInterrupt:
        raise Stopped(
            "The run was stopped. Run it again to continue from the last checkpoints."
        ) from None
    from espalier.commands import show  # here: importing pydantic takes 0.3 s

    show.run(root)
    print_locations(root)


@contextmanager
def _named_server() -> Iterator[None]:
    """Explain that the Prefect server that the user has configured does not answer."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("Failed to reach API"):
            raise
        raise TryAgain(
            f"Expected the configured Prefect server to answer; found: {without_secrets(str(error))}. Start it, "
            "or unset PREFECT_API_URL, so that the run starts a server of its own."
        ) from None


def _queues(root: Path) -> dict[str, str]:
    """The work queues of the stages; none while `params.yaml` has problems, which are listed."""
    from espalier.params import read_params  # here: importing pydantic takes 0.3 s

    with suppress(BadInput):
        return read_params(root).queues
    return {}


def _run_fleet(arguments: argparse.Namespace) -> None:
    root = paths.root()
    from espalier.tasks.services.start import read_settings, run_services  # here: imports psutil

    ports = Ports(**{name: getattr(arguments, f"{name}_port") for name in asdict(Ports())})
    settings = read_settings(root, arguments.data or root / paths.FLEET, arguments.host, ports)
    interrupt_once()
    ask_directly(arguments.host)
    run_services(settings, _say, arguments.only)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _compress(root: Path, force: tuple[str, ...]) -> None:
    from espalier.params import read_params  # here: importing pydantic takes 0.3 s

    with ExitStack() as stack:
        home = configure_environment(root)
        server = stack.enter_context(serve(home, _say)) if home else None
        # here: Prefect reads the environment when it is imported, and the server starts meanwhile
        with paused_collector():
            import dvc.repo.reproduce  # noqa: F401  # the flow reads the graph with it

            from espalier.flows.compress import compress

        names = read_params(root).names
        stages = len(names) + len(_OTHER_STAGES)
        stack.enter_context(lines_on_terminal(max(map(len, names)), stages))
        if server:
            server.wait_until_ready()
        # again in the flow, where each SIGTERM would interrupt by Prefect's handler
        flow = compress.with_options(on_running=[lambda *_: interrupt_once()])
        with _named_server():
            state = flow(str(root), force, return_state=True)
    if not state.is_completed():
        error = state.result(raise_on_failure=False)
        raise error if isinstance(error, EspalierError) else EspalierError(state.message)
    sys.stdout.write(f"{state.message}\n")
