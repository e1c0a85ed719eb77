"""The code of the user's own packages, on which results depend."""

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from espalier import files
from espalier.own_functions import LIBRARIES

_INSTALLED = ("site-packages", "dist-packages")  # folders whose packages do not belong to the user


def own_code(functions: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the user's packages whose code makes a result, by the name of the package or module.

    Modules that these import count too, if they lie in the same folder, as `layers.py` beside `networks.py`.

    Args:
        functions: `package.module:function`; those of libraries are left out.
    """
    found: dict[str, str] = {}
    waiting = {place.partition(":")[0].partition(".")[0] for place in functions}
    while waiting := waiting - found.keys() - set(LIBRARIES):
        package = min(waiting)
        found[package] = _hash(package)
        waiting |= set(_neighbours(package))
    return dict(sorted(found.items()))


def _hash(package: str) -> str:
    """The hash of the source of a package or module; that of nothing if there is none."""
    place = _place(package)
    if place is None:
        return files.digest({})
    if place.is_file():
        return files.sha256(place)
    return files.digest(
        {path.relative_to(place).as_posix(): files.sha256(path) for path in _sources(place)}
    )


def _place(package: str) -> Path | None:
    """The file of a module, or the folder of a package; None if there is neither, as for a built-in one."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # of a module without specification, as `__main__`
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    place = Path(folders[0] if folders else str(spec.origin))
    return place if place.exists() else None


def _sources(place: Path) -> list[Path]:
    """The Python files of a module or package."""
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def _neighbours(package: str) -> Iterator[str]:
    """The modules and packages of the same folder that a package imports."""
    place = _place(package)
    if place is None or place.parent.name in _INSTALLED:
        return
    for name in {name for source in _sources(place) for name in _imported(source)}:
        other = None if name in LIBRARIES else _place(name)
        if other is not None and other.parent == place.parent:
            yield name


def _imported(source: Path) -> Iterator[str]:
    """The top-level names of the modules that a file imports."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):  # the import of the module says what is wrong with it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
