"""The command line of the library: the stages of the pipeline, and what looks at their results.

Nothing heavy is imported here; each command imports its own step when it runs.
"""

import argparse
import errno
import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from espalier import __version__
from espalier.errors import EspalierError, Notice

_ENVIRONMENT = {
    # threads that wait by spinning make two trainings side by side thirty times slower than one
    # after the other
    "OMP_WAIT_POLICY": "PASSIVE",
    "DO_NOT_TRACK": "true",
}
OUTCOME = (
    "ESPALIER_OUTCOME"  # names a file that is to hold how the command ended, for whoever started it
)


def build() -> tuple[
    argparse.ArgumentParser, "argparse._SubParsersAction[argparse.ArgumentParser]"
]:
    """The parser of the library's commands, and the place where others can be added.

    A command sets `run` to a function of the parsed arguments.
    """
    parser = argparse.ArgumentParser(
        prog="espalier",
        description="Distil, prune, quantize and judge neural networks, as a pipeline.",
    )
    parser.add_argument("--version", action="version", version=f"espalier {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(commands, "prepare", "check data/, split it, and write it as tensors to prepared/")
    make = _add(commands, "make", "make one model of the tree that params.yaml declares")
    make.add_argument("name", metavar="NAME", help="an entry under `models`, or `teacher`")
    _add(commands, "evaluate", "measure every model on the test split, and write reports/")
    _add(commands, "report", "write reports/index.html again, from what the last evaluation found")
    register = _add(commands, "register", "project all models and their figures into MLflow")
    register.add_argument(
        "--check", action="store_true", help="only say whether the registry holds everything"
    )
    promote = _add(
        commands,
        "promote",
        "let the champion be the best model that passes the gates of mlflow/gates.yaml",
    )
    promote.add_argument(
        "--alias", metavar="ALIAS", help="move this alias alone; by default all, --into: champion"
    )
    promote.add_argument(
        "--into", metavar="NAME", help="copy who bears the alias here to another registered model"
    )
    promote.add_argument(
        "--at", metavar="URI", help="of another store: a server, or sqlite:///... (with --into)"
    )
    rollback = _add(commands, "rollback", "let the champion be the version that it was before")
    rollback.add_argument(
        "--to", metavar="VERSION", help="another version that was champion before"
    )
    rollback.add_argument("--alias", metavar="ALIAS", default="champion", help="another alias")
    models = _add(
        commands,
        "models",
        "list the versions in the registry, their aliases, and every move of one",
    )
    for command in (rollback, models):
        command.add_argument(
            "--in",
            metavar="NAME",
            dest="within",
            help="another registered model than the project's",
        )
        command.add_argument(
            "--at", metavar="URI", help="in another store: a server, or sqlite:///..."
        )
    data = commands.add_parser("data", help="replace data/ by another data set, and version it")
    data.add_argument(
        "source",
        metavar="SOURCE",
        help="digits, mnist, fashion-mnist, cifar10, cifar100, a folder, or parquet files",
    )
    data.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        dest="files",
        help="use the files that are already there",
    )
    data.set_defaults(
        run=lambda arguments: _run("data", source=arguments.source, files=arguments.files)
    )
    show = _add(
        commands, "show", "print the tree of models with their last figures, or the layers of one"
    )
    show.add_argument(
        "name", metavar="NAME", nargs="?", help="list its layers and their pairs in its teacher"
    )
    _add(commands, "doctor", "say what this machine and project have, and what is missing")
    return parser, commands


def main(argv: list[str] | None = None, parser: argparse.ArgumentParser | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 2 bad input, 75 worth a retry, 143 stopped, else a defect."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    arguments = (parser or build()[0]).parse_args(argv)
    warnings.showwarning = _tell(warnings.showwarning)
    status, message = 0, ""
    try:
        arguments.run(arguments)
    except EspalierError as error:
        status, message = error.status, str(error)
    except KeyboardInterrupt:
        status, message = 130, "Interrupted."
    except Exception as error:
        status, message = _outside(error)
        if not status:
            _record(1, f"{type(error).__name__}: {error}", defect=True)
            raise
    if message:
        sys.stderr.write(f"espalier: {message}\n")
    _record(status, message)
    sys.stdout.flush()
    sys.exit(status)


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    """Add a command whose step has its name and takes its arguments."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")

    def run(arguments: argparse.Namespace) -> None:
        _run(name, **{key: value for key, value in vars(arguments).items() if key != "run"})

    parser.set_defaults(run=run)
    return parser


def _run(step: str, **arguments: Any) -> None:
    from espalier.paths import root

    importlib.import_module(f"espalier.commands.{step}").run(root(), **arguments)


def _tell(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Show our own warnings as a sentence for the user, those of others as they would be."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            sys.stderr.write(f"espalier: warning: {message}\n")
        else:
            otherwise(message, category, *place, **more)

    return show


def _outside(error: Exception) -> tuple[int, str]:
    """The status of errors that no step raised itself: 75 if memory, a device or the disk gave out, else 0."""
    kind = type(error).__name__
    starved = isinstance(error, RuntimeError) and "can't allocate memory" in str(
        error
    )  # torch's word on processors
    if (
        kind in ("OutOfMemoryError", "AcceleratorError")
        or isinstance(error, MemoryError)
        or starved
    ):
        return 75, f"Expected the device to have room for this step; found: {error}"
    if isinstance(error, PermissionError):
        return 2, f"Expected {error.filename} to be readable and writable; found: {error.strerror}."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        where = error.filename or "The disk"
        return (
            2 if error.errno == errno.EROFS else 75,
            f"Expected {where} to be writable; found: {error.strerror}.",
        )
    return 0, ""


def _record(status: int, message: str, *, defect: bool = False) -> None:
    path = os.environ.get(OUTCOME)
    if path:
        Path(path).write_text(json.dumps({"status": status, "message": message, "defect": defect}))
