"""The command line of the library.

Nothing heavy is imported here; each command imports its module when it runs.
"""

import argparse
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeAlias

from espalier import __version__
from espalier.collector import paused_collector
from espalier.commands.table import COMMANDS, Command
from espalier.errors import EspalierError, Notice, printable, reason_of
from espalier.outcomes import Outcome, is_worker, write_outcome
from espalier.settings.proxies import LOOPBACK_HOSTS, ask_directly
from espalier.settings.secrets import hide_in_tracebacks, without_secrets
from espalier.system_errors import as_sentence

_ENVIRONMENT = {
    # with threads that spin, two trainings side by side are thirty times slower than in sequence
    "OMP_WAIT_POLICY": "PASSIVE",
    "DO_NOT_TRACK": "true",
}
_OF_PARSER = ("run", "print_completion")  # arguments that are no command's

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def build() -> tuple[argparse.ArgumentParser, Subparsers]:
    """The parser of the library's commands, and the action to which others can be added.

    A command sets `run` to a function of the parsed arguments.
    """
    parser = argparse.ArgumentParser(
        prog="espalier",
        description="Distil, prune, quantize and judge neural networks, as a pipeline.",
    )
    parser.add_argument("--version", action="version", version=f"espalier {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        _add(subparsers, command)
    return parser, subparsers


def main(argv: list[str] | None = None, parser: argparse.ArgumentParser | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 2 bad input, 75 worth a retry, 143 stopped, else a defect."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ask_directly(*LOOPBACK_HOSTS)
    parser = parser or build()[0]
    _add_completion(parser)
    arguments = parser.parse_args(argv)
    warnings.showwarning = _show_notices(warnings.showwarning)
    hide_in_tracebacks()
    outcome = Outcome(0, "")
    try:
        arguments.run(arguments)
    except EspalierError as error:
        outcome = Outcome.of(error)
    except KeyboardInterrupt:
        outcome = Outcome(130, "Interrupted.")
    except Exception as error:
        outcome = _outcome_of(error)
        if outcome.defect and not is_worker():
            write_outcome(outcome)
            raise
    if outcome.message and not is_worker():
        sys.stderr.write(f"espalier: {_shown(outcome.message)}\n")
    write_outcome(outcome)
    sys.stdout.flush()
    sys.exit(outcome.status)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints a script of completions for a shell, where shtab is installed."""
    if find_spec("shtab") is None:
        return
    import shtab

    shtab.add_argument_to(parser, "--print-completion", help="print a script of completions")


def _add(subparsers: Subparsers, command: Command) -> None:
    """Add a command; its module is imported when it runs."""
    description = f"{command.help[0].upper()}{command.help[1:]}."
    parser = subparsers.add_parser(command.name, help=command.help, description=description)
    for flag, keywords in command.options:
        parser.add_argument(flag, **keywords)

    def run(arguments: argparse.Namespace) -> None:
        given = {key: value for key, value in vars(arguments).items() if key not in _OF_PARSER}
        _run(command, **given)

    parser.set_defaults(run=run)


def _run(command: Command, /, **arguments: Any) -> None:
    from espalier.paths import root

    module = f"espalier.commands.{command.module or command.name}"
    if command.anywhere:
        sys.path.append(str(Path.cwd()))
        _import(module).run(**arguments)
        return
    # last, so that nothing in the project replaces an installed package
    sys.path.append(str(root()))
    _import(module).run(root(), **arguments)


def _import(module: str) -> ModuleType:
    with paused_collector():
        return importlib.import_module(module)


def _show_notices(default: Callable[..., None]) -> Callable[..., None]:
    """Show notices of this project as sentences, and other warnings as `default` does."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            sys.stderr.write(f"espalier: warning: {_shown(str(message))}\n")
        else:
            default(message, category, *place, **more)

    return show


def _outcome_of(error: Exception) -> Outcome:
    """The outcome of an error of the system, or of a defect of the program."""
    found = as_sentence(error) or _of_memory(error)
    if found:
        return Outcome(found.status, str(found))
    if type(error).__name__ == "AcceleratorError":
        sentence = (
            f"Expected the device to work; found: {reason_of(error)}: check it and try again."
        )
        return Outcome(75, sentence)
    trace = "".join(traceback.format_exception(error)) if is_worker() else ""
    return Outcome(1, f"{type(error).__name__}: {error}", defect=True, trace=trace)


def _of_memory(error: Exception) -> EspalierError | None:
    """The sentence for memory that ran out; None for another error."""
    if not isinstance(error, (MemoryError, RuntimeError)):
        return None
    from espalier.training.memory import explain_out_of_memory, is_out_of_memory

    return explain_out_of_memory(error) if is_out_of_memory(error) else None


def _shown(message: str) -> str:
    """A message for the terminal: without secrets and control characters."""
    return printable(without_secrets(message))
