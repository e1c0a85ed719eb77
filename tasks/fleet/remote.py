"""DVC's remote: the results of stages by their key, and checkpoints.

`dvc push --run-cache` copies every result of a project's history. Here a worker looks for one key, and pushes
one entry. Checkpoints lie beside the data, under `espalier/checkpoints/KEY`; `dvc gc` does not touch them.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier.errors import BadInput, TryAgain, reason_of

_CHECKPOINTS = ("espalier", "checkpoints")
# settings of DVC that name a server; the others are credentials
_PLACE = ("host", "port", "endpointurl", "account_name")


@contextmanager
def naming_remote(url: str) -> Iterator[None]:
    """Turn failures of the remote into one sentence.

    Raises:
        TryAgain: if the remote cannot be reached or refuses.
    """
    from dvc.exceptions import DvcException  # here: importing DVC takes 0.3 s

    try:
        yield
    except (OSError, DvcException) as error:
        raise TryAgain(
            f"Expected DVC's remote {url} to answer; found: {reason_of(error)}: check the connection "
            "and the credentials of this machine."
        ) from None


@dataclass(frozen=True)
class Remote:
    """The default remote of a project.

    Attributes:
        fs: its file system.
        path: its root.
        objects: its objects by hash.
    """

    fs: Any
    path: str
    objects: Any

    @classmethod
    def of(cls, repo: Any) -> "Remote":
        """The default remote of a repository of DVC.

        Raises:
            BadInput: if there is none, or it lies inside the project, where no other machine sees it.
        """
        from dvc.config import NoRemoteError, RemoteConfigError, RemoteNotFoundError

        try:
            objects = repo.cloud.get_remote_odb()
        except (NoRemoteError, RemoteNotFoundError, RemoteConfigError):
            objects = None
        path = repo.cloud.get_remote_odb(hash_name="md5-dos2unix").path if objects else ""
        if objects is None or Path(path).is_relative_to(repo.root_dir):
            found = f"{path}, inside the project" if path else "none"
            raise BadInput(
                "Expected DVC's default remote to be a place that all workers reach, because stages "
                f"of `fleet` exchange their files there; found {found}: `dvc remote add --default "
                "NAME URL`, and commit `.dvc/config`."
            )
        return cls(objects.fs, path, objects)

    @property
    def place(self) -> list[str]:
        """The protocol, the path and the server, without credentials: equal for all users of the remote."""
        return [str(self.fs.protocol), self.path, *(str(self.fs.config.get(one)) for one in _PLACE)]

    def find_entry(self, stage: Any) -> dict[str, Any] | None:
        """The entry of `dvc.lock` of a stage that was made before from the same dependencies.

        Args:
            stage: a stage of DVC whose dependencies are in the workspace.

        Returns:
            The entry, if all outputs that it names are in the remote.
        """
        from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
        from dvc.utils.serialize import parse_yaml

        folder = self._folder_of(stage)
        if folder is None or not self.fs.exists(folder):
            return None
        for path in sorted(self.fs.find(folder)):
            text = self.fs.cat_file(path).decode()
            entry: dict[str, Any] = COMPILED_LOCK_FILE_STAGE_SCHEMA(parse_yaml(text, path))
            if self.has_outputs(entry):
                return entry
        return None

    def has_outputs(self, entry: dict[str, Any]) -> bool:
        """Whether all outputs that an entry of `dvc.lock` names are in the remote."""
        return all(self.objects.exists(out["md5"]) for out in entry["outs"])

    def push_entry(self, stage: Any) -> None:
        """Copy the entry of a stage that was just made from the local cache of runs."""
        folder = self._folder_of(stage)
        if folder is None:
            return
        local = Path(stage.repo.stage_cache.cache_dir, *Path(folder).parts[-2:])
        for path in local.iterdir() if local.is_dir() else ():
            self._put(path, self.fs.join(folder, path.name))

    def _folder_of(self, stage: Any) -> str | None:
        """The folder of a stage's results; None for a stage that DVC keeps out of its cache of runs."""
        from dvc.stage.cache import _can_hash, _get_stage_hash

        if not _can_hash(stage):
            return None
        key = _get_stage_hash(stage)
        folder: str = self.fs.join(self.path, "runs", key[:2], key)
        return folder

    def checkpoints(self, key: str) -> str:
        """The folder of the checkpoints of a stage, by the key of the request."""
        folder: str = self.fs.join(self.path, *_CHECKPOINTS, key)
        return folder

    def push_checkpoints(self, folder: Path, key: str) -> int:
        """Copy new checkpoints of a folder to the remote, and remove its former ones.

        Returns:
            The number of files that were copied.
        """
        target = self.checkpoints(key)
        there = self._files(target)
        here = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        copied = 0
        for name, path in here.items():
            with suppress(FileNotFoundError):  # replaced meanwhile by a later one
                # their names hold hashes of their content
                if there.get(name) != path.stat().st_size:
                    self._put(path, self.fs.join(target, *name.split("/")))
                    copied += 1
        for name in there.keys() - here.keys():
            self.fs.rm_file(self.fs.join(target, *name.split("/")))
        return copied

    def fetch_checkpoints(self, folder: Path, key: str) -> int:
        """Copy the checkpoints of a stage from the remote, unless the folder has some.

        Returns:
            The number of files that were copied.
        """
        if folder.is_dir() and any(folder.iterdir()):
            return 0
        source = self.checkpoints(key)
        names = self._files(source)
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.fs.get_file(self.fs.join(source, *name.split("/")), str(path))
        return len(names)

    def remove_checkpoints(self, key: str) -> None:
        """Remove the checkpoints of a stage that is done."""
        for name in self._files(self.checkpoints(key)):
            self.fs.rm_file(self.fs.join(self.checkpoints(key), *name.split("/")))

    def _files(self, folder: str) -> dict[str, int]:
        """The files below a folder of the remote, relative to it, with their bytes."""
        if not self.fs.exists(folder):
            return {}
        return {
            self.fs.relpath(path, folder): int(self.fs.size(path) or 0)
            for path in self.fs.find(folder)
        }

    def _put(self, path: Path, target: str) -> None:
        """Copy a file so that its name is there only when its content is; object stores do so by themselves."""
        self.fs.makedirs(self.fs.parent(target), exist_ok=True)
        if self.fs.protocol != "local":
            self.fs.put_file(str(path), target)
            return
        draft = f"{target}.{uuid.uuid4().hex}"
        self.fs.put_file(str(path), draft)
        self.fs.mv(draft, target)
