"""The command line of the library.

Nothing heavy is imported here; each command imports its module when it runs.
"""

import argparse
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from espalier import __version__
from espalier.commands.table import COMMANDS, Command
from espalier.errors import EspalierError, Notice, printable, reason_of
from espalier.settings.secrets import hide_in_tracebacks, without_secrets
from espalier.system_errors import as_sentence

_ENVIRONMENT = {
    # with threads that spin, two trainings side by side are thirty times slower than in sequence
    "OMP_WAIT_POLICY": "PASSIVE",
    "DO_NOT_TRACK": "true",
}
_OF_PARSER = ("run", "print_completion")  # arguments that are no command's
OUTCOME = "ESPALIER_OUTCOME"  # path of a file for the outcome, for the process that started it

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
    parser = parser or build()[0]
    _add_completion(parser)
    arguments = parser.parse_args(argv)
    warnings.showwarning = _show_notices(warnings.showwarning)
    hide_in_tracebacks()
    status, message = 0, ""
    try:
        arguments.run(arguments)
    except EspalierError as error:
        status, message = error.status, str(error)
    except KeyboardInterrupt:
        status, message = 130, "Interrupted."
    except Exception as error:
        status, message = _status_of(error)
        if not status:
            _record(1, f"{type(error).__name__}: {error}", defect=True)
            raise
    if message:
        sys.stderr.write(f"espalier: {_shown(message)}\n")
    _record(status, message)
    sys.stdout.flush()
    sys.exit(status)


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
        importlib.import_module(module).run(**arguments)
        return
    # last, so that nothing in the project replaces an installed package
    sys.path.append(str(root()))
    importlib.import_module(module).run(root(), **arguments)


def _show_notices(default: Callable[..., None]) -> Callable[..., None]:
    """Show notices of this project as sentences, and other warnings as `default` does."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            sys.stderr.write(f"espalier: warning: {_shown(str(message))}\n")
        else:
            default(message, category, *place, **more)

    return show


def _status_of(error: Exception) -> tuple[int, str]:
    """The exit status and message of an error of the system; 0 for a defect of the program."""
    found = as_sentence(error) or _of_memory(error)
    if found:
        return found.status, str(found)
    if type(error).__name__ == "AcceleratorError":
        return (
            75,
            f"Expected the device to work; found: {reason_of(error)}: check it and try again.",
        )
    return 0, ""


def _of_memory(error: Exception) -> EspalierError | None:
    """The sentence for memory that ran out; None for another error."""
    if not isinstance(error, (MemoryError, RuntimeError)):
        return None
    from espalier.training.memory import explain_out_of_memory, is_out_of_memory

    return explain_out_of_memory(error) if is_out_of_memory(error) else None


def _shown(message: str) -> str:
    """A message for the terminal: without secrets and control characters."""
    return printable(without_secrets(message))


def _record(status: int, message: str, *, defect: bool = False) -> None:
    path = os.environ.get(OUTCOME)
    # on a full disk not even the outcome can be written; the status and the sentence remain
    with suppress(OSError):
        if path:
            record = {"status": status, "message": without_secrets(message), "defect": defect}
            Path(path).write_text(json.dumps(record))
