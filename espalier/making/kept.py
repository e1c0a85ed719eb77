"""Copies of the outputs of stages, which DVC removes before it runs a stage.

DVC removes the outputs of a stage, runs the command, and then records what it made. If DVC is killed after
the command, or if the command outlives it, the next `dvc repro` removes a complete model and trains it
again, as it does one that `espalier make` made by hand; if the command fails, the former output is gone.
So a command links its complete output into `.espalier/kept` too, and a stage puts it back from there:

- a model, if it was made from the same inputs and DVC has not recorded it;
- the reports, until the new ones are complete.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from espalier import folders
from espalier.dvc_record import GRAPH, is_run_by_dvc
from espalier.making.stage_dependencies import recorded_outputs
from espalier.paths import MODELS, STATE

_FOLDER = Path(STATE, "kept")


@dataclass(frozen=True)
class Kept:
    """The copy of one output; its files are hard links where the file system has them.

    Attributes:
        root: folder of the project.
        output: path of the output, a folder, relative to the project.
    """

    root: Path
    output: str

    @property
    def folder(self) -> Path:
        """The folder of the copy."""
        return self.root / _FOLDER / self.output

    def keep(self, complete: Path) -> None:
        """Keep a complete folder, if there is a pipeline.

        That of a command that was called by hand, too: the next run of the pipeline removes an output that
        DVC has not recorded.

        Args:
            complete: the output, or a draft of it.
        """
        if is_run_by_dvc() or (self.root / GRAPH).is_file():
            self._replace(self.folder, complete)

    def put_back(self) -> None:
        """Give the output the content of the copy."""
        self._replace(self.root / self.output, self.folder)

    def is_there(self) -> bool:
        """Whether there is a copy, and DVC runs this process."""
        return is_run_by_dvc() and self.folder.is_dir()

    def drop_if_recorded(self) -> None:
        """Remove the copy if `dvc.lock` names its content: DVC's cache holds it.

        Without this, `dvc repro --force` would not train again.
        """
        if self.is_there() and recorded_outputs(self.root).get(self.output) == dvc_hash(
            self.folder
        ):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _replace(self, target: Path, source: Path) -> None:
        with folders.replacing(target, self.root / STATE / "work") as draft:
            folders.link_files(source, draft)


def drop_recorded_models(root: Path) -> None:
    """Remove the copies of all models that DVC has recorded."""
    for folder in sorted((root / _FOLDER / MODELS).glob("*")):
        Kept(root, f"{MODELS}/{folder.name}").drop_if_recorded()


def dvc_hash(folder: Path) -> str:
    """The hash by which `dvc.lock` names a folder: MD5 of the sorted list of its files with their MD5."""
    listed = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in folder.rglob("*")
        if path.is_file()
    ]
    listed.sort(key=lambda entry: entry["relpath"])
    content = json.dumps(listed, sort_keys=True).encode()
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
