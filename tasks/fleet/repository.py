"""The commit at which a worker clones the project."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import BadInput

# files that travel with each request, or that no stage reads
_RECORDS = ("params.yaml", "dvc.yaml", "dvc.lock", "prefect.yaml")
_FOLDERS = ("mlflow/",)
_ENDINGS = (".dvc", ".gitignore")  # DVC writes the latter

# user and password of an address that git reads by HTTP or FTP; by SSH the user is part of the place
_CREDENTIALS = re.compile(r"^((?:http|ftp)s?://)[^/]*@", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """The place of a project in git.

    Attributes:
        repository: address of the repository: that of `origin` without credentials, else its folder here.
        commit: commit that is checked out.
        folder: folder of the project in the repository; empty for the repository's root.
    """

    repository: str
    commit: str
    folder: str


def find_source(root: Path) -> Source:
    """The place of a project in git, with all code committed and pushed.

    Commits that change only records, as a nightly run makes them, need not be pushed.

    Args:
        root: root folder of the project.

    Raises:
        BadInput: if a worker could not clone what is here.
    """
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if not head:
        raise BadInput(
            f"Expected {root} to be in a git repository with a commit, which workers clone; found "
            "none: `git init`, `git add` and `git commit` make one."
        )
    changed = _code(root, _git(root, "diff", "--name-only", "HEAD", "--", "."))
    if changed:
        raise BadInput(
            "Expected the code of the project to be committed, because workers clone it; found "
            f"changes in {', '.join(changed)}: commit and push them."
        )
    remote = _CREDENTIALS.sub(r"\1", _git(root, "config", "--get", "remote.origin.url"))
    commit = _pushed_commit(root, head, remote) if remote else head
    top = _git(root, "rev-parse", "--show-toplevel")
    return Source(remote or top, commit, _git(root, "rev-parse", "--show-prefix").rstrip("/"))


def _pushed_commit(root: Path, head: str, remote: str) -> str:
    """The last commit that the remote has, if its code is that of the current one.

    Raises:
        BadInput: if code was committed since.
    """
    lines = _git(root, "rev-list", "--boundary", head, "--not", "--remotes").splitlines()
    pushed = [line[1:] for line in lines if line.startswith("-")] if lines else [head]
    changed = ["all files"]
    if pushed:
        changed = _code(root, _git(root, "diff", "--name-only", pushed[0], head, "--", "."))
    if changed:
        raise BadInput(
            f"Expected the code of the commit {head[:12]} to be at {remote}, from which workers clone; "
            f"found it here alone: {', '.join(changed)}: `git push`."
        )
    return pushed[0]


def _code(root: Path, listed: str) -> list[str]:
    """The paths of a list of git without records, relative to the project."""
    prefix = _git(root, "rev-parse", "--show-prefix")
    paths = [line.removeprefix(prefix) for line in listed.splitlines()]
    return [
        path
        for path in paths
        if path not in _RECORDS and not path.startswith(_FOLDERS) and not path.endswith(_ENDINGS)
    ]


def _git(root: Path, *words: str) -> str:
    """The output of a git command; empty if it fails."""
    ended = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return ended.stdout.rstrip() if ended.returncode == 0 else ""
