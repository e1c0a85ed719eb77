"""The code of the user's own packages, on which results depend."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from espalier import files

_VERSIONED = ("espalier", "torchvision", "timm")  # libraries, whose versions are recorded


def own_code(factories: Iterable[str]) -> dict[str, str]:
    """SHA-256 over the Python files of each package that builds networks, by the package's name.

    Args:
        factories: `package.module:function`; those of libraries are left out.
    """
    packages = sorted({factory.partition(":")[0].partition(".")[0] for factory in factories})
    own = [package for package in packages if package not in _VERSIONED]
    return {package: _hash(package) for package in own}


def _hash(package: str) -> str:
    """The hash of the source of a package or module; that of nothing if there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return files.digest({})
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders:
        return files.sha256(Path(str(spec.origin)))
    contents = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            contents[path.relative_to(folder).as_posix()] = files.sha256(path)
    return files.digest(contents)
