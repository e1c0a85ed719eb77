"""Functions of the user's packages, by their place, and the rules of `trusted`.

A file from elsewhere may name a function. It runs only if it is defined in a package that the user
trusts, and no package is accepted there that can itself load other code, as `torch.hub.load` does.
"""

import importlib
import re
import sys
from collections.abc import Collection
from functools import partial
from typing import Any

from espalier.errors import BadInput, reason_of

_PLACE = re.compile(r"([^\W\d]\w*)(\.[^\W\d]\w*)*:[^\W\d]\w*")
# libraries with functions that load code or files, and the packages of Espalier itself
_NEVER = frozenset(
    (
        *("espalier", "flows", "tasks", "torch", "torchvision", "torchaudio", "transformers"),
        *("timm", "numpy", "pandas", "scipy", "yaml", "onnx", "onnxruntime", "mlflow", "prefect"),
        *("dvc", "joblib", "dill", "cloudpickle", "setuptools", "pip"),
    )
)

# packages whose code is not the user's: it needs no trust, and its version is recorded
LIBRARIES = ("espalier", "torchvision", "timm")


def refuse_untrusted(place: str, trusted: Collection[str]) -> None:
    """Refuse a function that may not run here.

    Args:
        place: `package.module:function`.
        trusted: packages of the user.

    Raises:
        BadInput: if it is no function of a module, or its package is not trusted or cannot be.
    """
    if not _PLACE.fullmatch(place):
        raise BadInput(
            "Expected a function of a module as `package.module:function`, without further dots; "
            f"found {place!r}."
        )
    package = place.partition(":")[0].partition(".")[0]
    if package not in trusted:
        raise BadInput(
            f"Expected the package {package!r}, whose code {place!r} runs, under `trusted` in "
            f"params.yaml; found there: {', '.join(trusted) or 'nothing'}."
        )
    refuse_library(package)


def refuse_library(package: str) -> None:
    """Refuse a package under `trusted` that is no package of the user.

    Raises:
        BadInput: if it is of the standard library, or a library with functions that load code.
    """
    if package in _NEVER or package in sys.stdlib_module_names:
        raise BadInput(
            f"Expected packages of your own under `trusted`; found {package!r}, whose functions can "
            "load other code: write a function of your own that calls it."
        )


def own_function(place: str) -> Any:
    """The function at `package.module:function`, whose package is imported.

    A function that the module has only imported, from a package outside, is refused.

    Raises:
        BadInput: if it cannot be imported; the message has the reason.
    """
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the user's own module does while it is imported
        raise BadInput(
            f"Expected {place!r} to be importable, as package.module:function; found "
            f"{reason_of(error)}."
        ) from error
    package = module.partition(".")[0]
    defined = found.func if isinstance(found, partial) else found
    home = str(getattr(defined, "__module__", None) or module).partition(".")[0]
    if not callable(found) or home != package:
        raise BadInput(
            f"Expected {place!r} to be a function that {package!r} defines; found "
            f"{'one of ' + repr(home) if callable(found) else 'another value'}."
        )
    return found
