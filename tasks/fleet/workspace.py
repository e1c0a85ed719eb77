"""The worker's side: the folders of its machine.

| in the home | content |
|---|---|
| `repositories/` | a mirror of each git repository |
| `stages/KEY-N/` | a clone for each attempt at a stage; kept after a failure, because it has the checkpoints |
| `cache/` | DVC's cache, shared by all clones |
| `bank/` | answers of teachers, shared by all clones |
| `slots/` | the locks of this machine's slots |

The home may be deleted whenever no worker runs: it costs only time.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from espalier import files
from espalier.errors import BadInput, TryAgain
from espalier.files import digest
from espalier.locks import take_lock, try_lock
from espalier.paths import STATE
from espalier.tasks.fleet.lock_entries import write_entries
from espalier.tasks.fleet.request import Request

_DIGITS = 32  # of a key, in names of folders
HOME = "ESPALIER_WORKER_HOME"  # variable that names another home


@dataclass(frozen=True)
class Home:
    """The folders of the workers of one user on one machine."""

    path: Path

    @classmethod
    def of_this_user(cls) -> "Home":
        """The home that `ESPALIER_WORKER_HOME` names, else one in the user's cache folder.

        Raises:
            BadInput: if neither is known, as for the number of a user without entry in passwd.
        """
        named = os.environ.get(HOME)
        if named:
            return cls(Path(named).resolve())
        try:
            cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        except RuntimeError:
            raise BadInput(
                f"Expected the user of the worker to have a home; found none: set {HOME} to a folder."
            ) from None
        return cls(Path(cache) / "espalier" / "worker")

    @property
    def slots(self) -> Path:
        """The folder of the locks of this machine's slots."""
        return self.path / "slots"

    @contextmanager
    def workspace(self, request: Request) -> Iterator[Path]:
        """A clone of the project for one stage, without its data; it is removed if the block succeeds.

        Raises:
            BadInput: if the repository has no such commit.
            TryAgain: if the repository cannot be reached.
        """
        _refuse_odd_paths(request)
        folder, lock = self._free_folder(request.key)
        try:
            self._clone(request, folder)
            root = folder / request.folder
            self._prepare(root, request)
            yield root
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)

    def _free_folder(self, key: str) -> tuple[Path, int]:
        """A folder for a stage, and its lock; other attempts, also frozen ones, have folders of their own."""
        for number in count():
            folder = self.path / "stages" / f"{key[:_DIGITS]}-{number}"
            lock = try_lock(folder.with_suffix(".lock"))
            if lock is not None:
                return folder, lock
        raise AssertionError("folders are not limited")

    def _clone(self, request: Request, folder: Path) -> None:
        """Check the commit out, by a repository made anew: a killed git leaves a half one, or one with locks."""
        repository = folder / ".git"
        shutil.rmtree(repository, ignore_errors=True)
        mirror = str(self._mirror(request))
        _git(folder, "clone", "--shared", "--bare", "--", mirror, str(repository))
        _git(folder, "config", "core.bare", "false")
        _git(folder, "checkout", "--quiet", "--force", "--detach", request.commit)
        # files of another commit
        _git(folder, "clean", "--quiet", "--force", "-d", "--exclude", STATE)

    def _mirror(self, request: Request) -> Path:
        """The mirror of a repository, with the commit."""
        address = request.repository
        mirror = self.path / "repositories" / digest(address)[:16]
        lock = take_lock(mirror.with_suffix(".lock"))
        try:
            if not mirror.is_dir():
                _make_mirror(mirror, address)
            elif not _has_commit(mirror, request.commit):
                try:
                    _git(mirror, "fetch", "--quiet", "--prune", "--", address, "+refs/*:refs/*")
                except TryAgain:  # a killed git leaves locks
                    _make_mirror(mirror, address)
            if not _has_commit(mirror, request.commit):
                raise BadInput(
                    f"Expected the commit {request.commit[:12]} to be in {address}; found no such "
                    "commit: push it."
                )
        finally:
            os.close(lock)
        return mirror

    def _prepare(self, root: Path, request: Request) -> None:
        """Give a clone the run's files, its records, and the cache and bank of this machine."""
        for name, text in request.files.items():
            files.write(root / name, text)
        write_entries(root, request.entries)
        for name in ("cache", "bank"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        bank = root / STATE / "bank"
        bank.parent.mkdir(exist_ok=True)
        if not bank.exists():
            bank.symlink_to(self.path / "bank")
        _set_cache(root, self.path / "cache")


def _refuse_odd_paths(request: Request) -> None:
    """Refuse a request that would write outside its folder.

    Raises:
        BadInput: if it names such a path.
    """
    names = [*request.files, *Path(request.folder).parts]
    odd = [name for name in names if name == ".." or Path(name).name != name]
    if odd or not re.fullmatch("[0-9a-f]{64}", request.key):
        raise BadInput(
            "Expected a key of 64 hexadecimal digits, and files and folders of the project; found "
            f"{(odd or [request.key])[0]!r}."
        )


def _make_mirror(mirror: Path, address: str) -> None:
    """Clone a repository beside its mirror, and put the clone in its place."""
    draft, former = mirror.with_suffix(".draft"), mirror.with_suffix(".former")
    for left in (draft, former):
        shutil.rmtree(left, ignore_errors=True)
    _git(mirror.parent, "clone", "--mirror", "--", address, str(draft))
    if mirror.is_dir():
        mirror.rename(former)
    draft.rename(mirror)
    shutil.rmtree(former, ignore_errors=True)


def _set_cache(root: Path, cache: Path) -> None:
    """Name the shared cache in the clone's own configuration of DVC."""
    from configobj import ConfigObj  # here: DVC's own parser, which knows what has to be quoted

    lines = ConfigObj({"cache": {"dir": str(cache)}}).write()
    files.write(root / ".dvc" / "config.local", "\n".join(lines) + "\n")


def _has_commit(repository: Path, commit: str) -> bool:
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=repository, capture_output=True, check=False).returncode == 0


def _git(folder: Path, *words: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        ["git", *words],
        cwd=folder,
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        found = ended.stderr.strip() or f"status {ended.returncode}"
        raise TryAgain(f"Expected `git {words[0]}` to succeed on the worker; found: {found}")
