"""The structure of the code: imports without circles, and bounds on its density."""

import ast
import graphlib
import importlib.util
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "espalier").rglob("*.py"))
}


def imported(path: Path) -> set[str]:
    """The modules of espalier that a file imports, also in functions and for type checking."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module_of(name) for name in names if name.partition(".")[0] == "espalier"}


def module_of(name: str) -> str:
    """The module that a dotted name lies in: `espalier.files.verify` lies in `espalier.files`."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def folder_of(module: str) -> str:
    is_package = MODULES[module].name == "__init__.py"
    return module if is_package else module.rpartition(".")[0]


def edges() -> dict[str, set[str]]:
    return {module: imported(path) - {module} for module, path in MODULES.items()}


def assert_no_circle(graph: Mapping[str, set[str]]) -> None:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_no_module_imports_itself_through_others():
    assert_no_circle(edges())


def test_no_package_imports_itself_through_others():
    graph: dict[str, set[str]] = defaultdict(set)
    for module, others in edges().items():
        own = folder_of(module)
        graph[own] |= {folder_of(other) for other in others} - {own, "espalier"}
    graph.pop("espalier")  # the command line and the error types: above and below everything
    assert_no_circle(graph)


def test_every_package_of_the_library_stands_in_the_contract_of_layers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [layer for contract in settings["contracts"] for layer in contract.get("layers", ())]
    named = {
        name.strip().removeprefix("espalier.") for layer in layers for name in layer.split("|")
    }
    modules = {module.split(".")[1] for module in MODULES if module.count(".") == 1}
    assert modules - {"__main__"} <= named


def test_modules_are_started_in_one_way():
    """A module that is started with the project on its search path can be replaced by one of the user's."""
    started = re.compile(r'sys\.executable,\s*(?:"-\w+",\s*)*"-m"')
    own = [name for name, path in MODULES.items() if started.search(path.read_text())]
    assert own == ["espalier.interpreter"]


def metrics():
    path = ROOT / "benchmarks" / "code_metrics.py"
    spec = importlib.util.spec_from_file_location("code_metrics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_code_stays_as_plain_as_it_is():
    module = metrics()
    files = module.measure_all([ROOT / "espalier"])
    functions = [function for file in files for function in file.functions]
    assert module.density(files) <= 9.5
    assert [file.path for file in files if file.lines > 350] == []
    assert len([function.place for function in functions if function.lines > 40]) == 0
    assert len([function.place for function in functions if function.branches > 10]) <= 5
