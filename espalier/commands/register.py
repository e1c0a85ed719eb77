"""`espalier register`: write every model and its metrics to MLflow, or list what the registry lacks."""

import sys
import warnings
from pathlib import Path

from espalier.errors import EspalierError, Notice
from espalier.params import Params, read_params
from espalier.registry import Registered, missing, register
from espalier.registry.recovery import Restored


def run(root: Path, check: bool = False) -> None:
    """Register every model of the project.

    Args:
        root: The project.
        check: Whether to compare only, and write nothing to the registry.

    Raises:
        EspalierError: If `check`, and the registry does not hold every model as it is now.
    """
    params = read_params(root)
    if check:
        _check(root, params)
        return
    width = max(len(entry) for entry in params.names)

    def print_model(one: Registered) -> None:
        state = "new" if one.new else "unchanged"
        sys.stdout.write(f"{one.entry:<{width}}  version {one.version:>3}  {state}\n")

    name = params.registry.name
    register(root, params, print_model, lambda restored: print_restored(name, restored))
    sys.stdout.write(f"models:/{name}@NAME is the version that holds NAME as it is now\n")


def print_restored(name: str, restored: Restored) -> None:
    """Print the restored parts of a registered model, and the lost ones as warnings."""
    if restored.lines:
        sys.stdout.write(f"{name}.audit: {restored.lines} moves restored from its file\n")
    for alias, version in restored.aliases.items():
        sys.stdout.write(f"{name}@{alias} is version {version} again\n")
    for reason in restored.lost:
        warnings.warn(f"Not restored: {reason}.", Notice, stacklevel=2)


def _check(root: Path, params: Params) -> None:
    problems = missing(root, params)
    if problems:
        found = "; ".join(f"{entry}: {problem}" for entry, problem in problems.items())
        raise EspalierError(
            f"Expected the registered model {params.registry.name!r} to hold all "
            f"{len(params.names)} models as they are now; found {found}. "
            "Run `espalier register`."
        )
