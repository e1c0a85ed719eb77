"""`espalier init`: a folder becomes a project."""

import os
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from espalier.data.sources import import_data
from espalier.errors import BadInput, EspalierError, reason_of
from espalier.interpreter import python_module
from espalier.params import read_params
from espalier.paths import DATA, GATES, PARAMS, STATE

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_OTHER_GATES = ("table", "questions", "spoken-digits", "mnist-mlp")  # recipes with gates_other.yaml
_OF_WEIGHTS = "Weights of trained networks. The teacher is made again when a file here changes.\n"
_FILES = {  # of a project: template
    "dvc.yaml": "pipeline.yaml",  # by another name, because DVC reads every dvc.yaml of a repository
    "prefect.yaml": "prefect.yaml",
    "automations.yaml": "automations.yaml",
    GATES: "gates.yaml",
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
}
_SHARED = (".gitignore", ".dvcignore")  # files that a folder may have before it is a project
_NEXT = {
    "digits": "espalier run",
    "folder": "espalier data path/to/photos, then espalier run",
    "table": "espalier data path/to/table.csv, then espalier run",
    "questions": "espalier data path/to/texts.csv, then espalier run",
    "spoken-digits": "espalier data path/to/clips, then espalier run",
    "mnist-mlp": "espalier data mnist, then espalier run",
    "cifar10-vgg16-mobilenet": "espalier data cifar10, then espalier run",
    "import": "espalier data path/to/images, espalier prepare, then espalier import weights/FILE --model networks:NAME",
}


def run(folder: Path, recipe: str) -> None:
    """Write the files of a project, and start git and DVC where they are missing.

    Args:
        folder: folder of the project; it is made if need be.
        recipe: name of the recipe, one of `espalier.settings.recipes.RECIPES`.

    Raises:
        BadInput: if the folder is a project already, or has one of the files or, for the digits, data.
    """
    present = [name for name in (PARAMS, *_FILES) if (folder / name).exists()]
    own = [name for name in present if name not in _SHARED]
    if own:
        raise BadInput(f"Expected {folder} to be no project yet; found {', '.join(own)} there.")
    if recipe == "digits" and (folder / DATA).exists():
        raise BadInput(
            f"Expected {folder / DATA} not to exist yet, because the recipe digits writes it; found it "
            "there: move it away, or bring it into a project of the recipe folder."
        )
    _check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    templates = _FILES | ({GATES: "gates_other.yaml"} if recipe in _OTHER_GATES else {})
    for name, template in templates.items():
        _write(folder / name, (TEMPLATES / template).read_text())
    params = (TEMPLATES / "recipes" / f"{recipe}.yaml").read_text()
    _write(folder / PARAMS, params.replace("PROJECT", _name(folder)))
    if recipe == "import":
        _prepare_import(folder)
    _start(folder, "git", ".git", ["git", "init", "--quiet"])
    _start_dvc(folder)
    if recipe == "digits":
        settings = read_params(folder).data_settings
        import_data(
            "digits",
            folder / DATA,
            None,
            folder / STATE / "work",
            settings,
        )
        _dvc(folder, "add", "--quiet", DATA)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    say(f"{folder} is a project now, by the recipe {recipe}. {PARAMS} declares its models.")
    say(
        f"Next: cd {shlex.quote(str(folder))}, then {_NEXT[recipe]}; git add and commit what git status lists."
    )


def _check_place(folder: Path) -> None:
    """Refuse a place in which no project can be started, before anything is written there."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"Expected {folder} to be a folder, or nothing yet; found a file.")
    if not _is_started(folder, ".git"):
        _require("git")


def _write(path: Path, content: str) -> None:
    """Write a file; lines that a shared file lacks are added to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        known = path.read_text().splitlines()
        added = [line for line in content.splitlines() if line not in known]
        content = "\n".join([*known, *added, ""])
    path.write_text(content)


def _prepare_import(folder: Path) -> None:
    """A place for weights, on which the teacher's stage depends, and one for networks.

    The stage depends on the folder and not on `teacher.weights`, which may be a published name such as
    `DEFAULT`, or absent.
    """
    _write(folder / "weights" / "README.md", _OF_WEIGHTS)
    if not (folder / "networks.py").exists():
        shutil.copyfile(TEMPLATES / "networks.py", folder / "networks.py")
    path = folder / "dvc.yaml"
    stages = path.read_text()
    line = "    deps: [prepared/dataset.json, prepared/train.safetensors, prepared/validation.safetensors"
    path.write_text(stages.replace(line, line + ", weights, networks.py", 1))


def _name(folder: Path) -> str:
    """The name of the registered model: that of the folder, in plain characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower())
    return plain.strip("-") or "models"


def _start(folder: Path, tool: str, mark: str, command: list[str]) -> None:
    """Start a tool in a folder, unless it has been started there or above."""
    if not _is_started(folder, mark):
        _require(tool)
        _call(folder, command)


def _is_started(folder: Path, mark: str) -> bool:
    """Whether a tool has been started in a folder or above, by the file that it makes."""
    places = (folder.resolve(), *folder.resolve().parents)
    return any((place / mark).exists() for place in places)


def _require(tool: str) -> None:
    if shutil.which(tool) is None:
        raise BadInput(f"Expected {tool} to be installed; found no such command.")


def _start_dvc(folder: Path) -> None:
    if (folder / ".dvc").exists():
        return
    at_the_top = (folder / ".git").exists()
    _dvc(folder, "init", "--quiet", *([] if at_the_top else ["--subdir"]))
    _dvc(folder, "config", "core.analytics", "false")


def _dvc(folder: Path, *words: str) -> None:
    """Run DVC, where it is installed."""
    if find_spec("dvc") is not None:
        _call(folder, python_module("dvc", *words))


def _call(folder: Path, command: list[str]) -> None:
    """Run a command in the folder.

    Raises:
        EspalierError: if it fails; the message has its reason.
    """
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    try:
        subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        reason = error.stderr or error.stdout or reason_of(error)
        raise EspalierError(
            f"Expected `{' '.join(command)}` to succeed in {folder}; found: "
            f"{' '.join(reason.split())}"
        ) from None
