"""`espalier register`: project every model and its figures into MLflow, or tell what the registry lacks."""

import sys
from pathlib import Path

from espalier.errors import EspalierError
from espalier.params import read_params
from espalier.registry import Registered, missing, register


def run(root: Path, check: bool = False) -> None:
    """Register every model of the project.

    Args:
        root: The project.
        check: Only compare, and write nothing.

    Raises:
        EspalierError: If `check`, and the registry does not hold every model as it is now.
    """
    params = read_params(root)
    name = params.registry.name
    if check:
        lacks = missing(root, params)
        if lacks:
            found = "; ".join(f"{entry}: {lack}" for entry, lack in lacks.items())
            raise EspalierError(
                f"The registered model {name!r} should hold all {len(params.names)} models as they are now. "
                f"Found {found}. `espalier register` brings them there."
            )
        return
    width = max(len(entry) for entry in params.names)

    def tell(one: Registered) -> None:
        state = "new" if one.new else "unchanged"
        sys.stdout.write(f"{one.entry:<{width}}  version {one.version:>3}  {state}\n")

    register(root, params, tell)
    sys.stdout.write(f"models:/{name}@NAME is the version that holds NAME as it is now\n")
