"""Repair: damaged objects of DVC's cache, damaged models and reports, and missing outputs, made whole again.

An intact copy replaces a damaged one: the object in the cache, the file in the workspace, or the one on
remote storage. A model without an intact copy is made again; files that come out with the recorded bits
replace the lost ones, and the intact files of the former folder stay, so that nothing that depends on
the model changes. Reports without an intact copy are made again by DVC, because latencies differ each time.
An output that is missing in the workspace comes from the cache; without its objects there it is only named,
because nothing is made up for a clone whose data and models have not been pulled.
"""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from espalier import files, folders
from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.paths import MANIFEST, MODELS, REPORTS, STATE
from espalier.stage_lock import hold_stage
from espalier.upkeep.dvc_cache import DIRECTORY, Cache, md5, write_listing
from espalier.upkeep.dvc_commands import call_dvc
from espalier.upkeep.recorded import Output, read_outputs
from espalier.upkeep.sweep import is_at_work

Say = Callable[[str], None]


@dataclass
class Repair:
    """The repair of one project.

    Attributes:
        root: the project.
        cache: its cache of DVC.
        say: receives a sentence for each act.
        lost: outputs that could not be made whole.
    """

    root: Path
    cache: Cache
    say: Say
    lost: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Verify everything and make it whole.

        Raises:
            BadInput: if something stays damaged; it names the way on.
            TryAgain: if a process makes models in the project.
        """
        if is_at_work(self.root):
            raise TryAgain(
                f"Expected no process to make models in {self.root}; found one: repair it afterwards."
            )
        outputs = read_outputs(self.root)
        dropped = self.cache.damaged()
        for name in dropped:
            self.cache.drop(name)
            self.say(f"cache: object {name[:12]} was damaged: dropped")
        broken = [output for output in outputs if self._is_broken(output, dropped)]
        self._fetch([output for output in broken if not self._restore(output)])
        for output in broken:
            if not self._restore(output):
                self._make(output)
        missing = [output for output in self._missing(outputs) if output not in broken]
        brought = self._check_out(missing)
        self._set_unrecorded_reports_aside(outputs)
        gone = [name for name in dropped if not self.cache.holds(name)]
        self.cache.forget_runs(gone)
        if self.lost:
            raise BadInput("\nespalier: ".join(self.lost))
        whole, mended = len(outputs) - len(missing) + len(brought), len(broken) + len(brought)
        self.say(f"{whole} outputs are whole; {mended} were mended")

    def _is_broken(self, output: Output, dropped: Iterable[str]) -> bool:
        """Whether an output has lost an object, or is damaged."""
        if output.md5 in dropped or is_damaged(self.root, output.path):
            return True
        listing = self._recorded(output) or {}
        unsealed = MANIFEST in listing and self._lacks_manifest(output)
        return unsealed or bool(set(listing.values()).intersection(dropped))

    def _missing(self, outputs: Iterable[Output]) -> list[Output]:
        """The recorded outputs without a file or folder in the workspace."""
        return [output for output in outputs if not (self.root / output.path).exists()]

    def _check_out(self, missing: list[Output]) -> list[Output]:
        """Bring missing outputs that the cache holds, and name the others; returns what was brought.

        DVC keeps the records of stages that `dvc.yaml` has no more: their outputs stay away.
        """
        if not missing:
            return []
        stages = call_dvc(self.root, "stage", "list", "--name-only", say=self.say).split()
        wanted = [one for one in missing if not one.command or one.target in stages]
        held = [one for one in wanted if self._is_held(one)]
        if held:
            call_dvc(self.root, "checkout", *(output.path for output in held), say=self.say)
        for output in held:
            self.say(f"{output.path}: was missing: restored from DVC's cache")
        others = [one.path for one in wanted if one not in held]
        if others:
            self.say(
                f"{', '.join(others)}: missing, and not in DVC's cache: `dvc pull` brings them from remote "
                "storage, or `espalier run` makes them"
            )
        return held

    def _is_held(self, output: Output) -> bool:
        """Whether the cache holds all objects of an output."""
        if not output.md5.endswith(DIRECTORY):
            return self.cache.holds(output.md5)
        listing = self.cache.listing(output.md5)
        return listing is not None and all(map(self.cache.holds, listing.values()))

    def _lacks_manifest(self, output: Output) -> bool:
        folder = self.root / output.path
        return folder.is_dir() and not (folder / MANIFEST).is_file()

    def _recorded(self, output: Output) -> dict[str, str] | None:
        return self.cache.listing(output.md5) if output.md5.endswith(DIRECTORY) else None

    def _restore(self, output: Output) -> bool:
        """Replace lost objects and damaged files by intact copies; returns whether all is whole."""
        folder = self.root / output.path
        listing = self._listing(output)
        if listing is None:
            return False
        for inner, name in listing.items():
            copy = folder / inner if output.md5.endswith(DIRECTORY) else folder
            if not self.cache.holds(name) and copy.is_file() and md5(copy) == name:
                self.cache.add(name, copy.read_bytes())
        if not all(self.cache.holds(name) for name in listing.values()):
            return False
        if is_damaged(self.root, output.path) or (
            MANIFEST in listing and self._lacks_manifest(output)
        ):
            self._write(folder, listing)
            self.say(f"{output.path}: restored from DVC's cache")
        return True

    def _listing(self, output: Output) -> dict[str, str] | None:
        """MD5 of each file of an output; a lost listing is rebuilt from the workspace."""
        if not output.md5.endswith(DIRECTORY):
            return {output.path: output.md5}
        listing = self.cache.listing(output.md5)
        if listing is not None:
            return listing
        found = _hashes(self.root / output.path)
        name, content = write_listing(found)
        if name != output.md5:
            return None
        self.cache.add(name, content)
        return found

    def _write(self, folder: Path, listing: dict[str, str]) -> None:
        """Write a folder from the objects of the cache."""
        exclusive = hold_stage(self.root, folder.name, self.say)
        with exclusive, folders.replacing(folder, self._workshop) as draft:
            for inner, name in listing.items():
                target = draft / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.cache.path(name), target)

    def _fetch(self, outputs: list[Output]) -> None:
        """Bring lost objects from remote storage, where the project has one."""
        if outputs and call_dvc(self.root, "remote", "list", say=self.say).strip():
            with suppress(EspalierError):  # remote storage that lacks them: they are made again
                targets = [output.target for output in outputs]
                call_dvc(self.root, "fetch", *targets, say=self.say)

    def _make(self, output: Output) -> None:
        """Make an output again whose content is lost."""
        path = self.root / output.path
        if not output.command:
            self.lost.append(
                f"Expected an intact copy of {output.path} in the cache, on remote storage or in the "
                f"workspace; found none: bring the data again, and run `dvc add {output.path}`."
            )
        elif is_intact(self.root, output.path):
            self.say(f"{output.path}: newer than its lost record: `espalier run` records it")
        elif Path(output.path).parent == Path(MODELS):
            self._make_model(output)
        elif output.path == REPORTS:
            self._make_reports(output)
        else:
            self._set_aside(path)  # the next run makes it, because it is missing
            self.say(f"{output.path}: no intact copy: `espalier run` makes it again")

    def _set_aside(self, path: Path) -> Path:
        """Move an output to the drafts, where it stays for a day."""
        aside = self._workshop / f"{path.name}.{uuid.uuid4().hex}.damaged"
        aside.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.rename(aside)
            os.utime(aside)
        return aside

    def _set_unrecorded_reports_aside(self, outputs: Iterable[Output]) -> None:
        """Set damaged reports aside that DVC has not recorded, so that the next run makes them."""
        recorded = any(output.path == REPORTS for output in outputs)
        if not recorded and is_damaged(self.root, REPORTS):
            self._set_aside(self.root / REPORTS)
            self.say(f"{REPORTS}: damaged and not recorded: `espalier run` makes them again")

    def _make_reports(self, output: Output) -> None:
        """Have DVC make the reports and record them; the damaged ones come back if that fails."""
        folder = self.root / output.path
        aside = self._set_aside(folder)
        self.say(f"{output.path}: no intact copy: making it again by `{output.command}`")
        try:
            words = ("repro", "--single-item", "--no-run-cache", output.target)
            call_dvc(self.root, *words, say=self.say)
        except EspalierError as error:
            if aside.exists() and not folder.exists():
                aside.rename(folder)
            self.lost.append(f"{output.path}: {error}")
            return
        shutil.rmtree(aside, ignore_errors=True)
        self.say(f"{output.path}: made again and recorded; latencies were measured anew")

    def _make_model(self, output: Output) -> None:
        folder, listing = self.root / output.path, self._recorded(output)
        aside = self._set_aside(folder)
        self.say(f"{output.path}: no intact copy: making it again by `{output.command}`")
        status = self._call(output.command)
        if status != 0:
            if aside.exists() and not folder.exists():
                aside.rename(folder)
            self.lost.append(
                f"Expected `{output.command}` to make {output.path} again; found status {status}."
            )
            return
        places = (aside, folder)
        for inner, name in (listing or {}).items():
            copies = [place / inner for place in places if (place / inner).is_file()]
            intact = [copy for copy in copies if md5(copy) == name]
            if intact and not self.cache.holds(name):
                self.cache.add(name, intact[0].read_bytes())
        self._take_recorded(output, listing)
        shutil.rmtree(aside, ignore_errors=True)

    def _call(self, command: str) -> int:
        """The exit status of the command of a stage, called as DVC calls it."""
        environment = os.environ | {"PATH": _path()}
        shell = ["/bin/sh", "-c", command]
        return subprocess.run(shell, cwd=self.root, env=environment, check=False).returncode

    def _take_recorded(self, output: Output, listing: dict[str, str] | None) -> None:
        """Put the recorded bits in the place of a model that was made again, if all are there."""
        if listing and all(self.cache.holds(name) for name in listing.values()):
            self._write(self.root / output.path, listing)
            self.say(f"{output.path}: made again with the same bits")
            return
        self.say(
            f"{output.path}: made again; its records are new, so `espalier run` makes what depends on it"
        )

    @property
    def _workshop(self) -> Path:
        return self.root / STATE / "work"


def is_intact(root: Path, output: str) -> bool:
    """Whether an output is a sealed folder, and its files are those of its manifest.

    Args:
        root: the project.
        output: path of the output, relative to it.
    """
    try:
        files.verify(root / output, nested=output == REPORTS)
    except BadInput:
        return False
    return True


def is_damaged(root: Path, output: str) -> bool:
    """Whether an output is a sealed folder, and its files differ from its manifest."""
    return (root / output / MANIFEST).is_file() and not is_intact(root, output)


def find_cache(root: Path, say: Say) -> Cache:
    """The project's cache, wherever DVC is configured to keep it."""
    return Cache(root / call_dvc(root, "cache", "dir", say=say).strip())


def _hashes(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): md5(path) for path in found}


def _path() -> str:
    """The search path of a stage: `espalier` and `python` of this environment first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
