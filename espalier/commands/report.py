"""`espalier report`: the page of the last evaluation, written again."""

import subprocess
from pathlib import Path

from espalier import files, folders
from espalier.errors import BadInput
from espalier.paths import PAGE, REPORTS, STATE, TABLE
from espalier.records import has_reports, verify_reports
from espalier.report.page import render


def run(root: Path) -> None:
    """Write `reports/index.html` from the tables of the last evaluation and the current gates.

    Raises:
        BadInput: if there has been no evaluation, or its files are damaged.
    """
    if not has_reports(root):
        raise BadInput(
            f"Expected {root / REPORTS / TABLE} to exist; found nothing there: run `espalier evaluate` first."
        )
    is_sealed = verify_reports(root)
    page = render(root, root / REPORTS)
    with folders.replacing(root / REPORTS, root / STATE / "work") as draft:
        folders.link_files(root / REPORTS, draft)
        files.write(draft / PAGE, page)
        if is_sealed:
            files.seal(draft, nested=True)
    print(f"wrote {root / REPORTS / PAGE}")  # noqa: T201


def write_page(root: Path, reports: Path) -> None:
    """Write the page into `reports`, from the tables there."""
    files.write(reports / PAGE, render(root, reports))


def commit_of(root: Path) -> str:
    """Git's name of the current commit, with `-dirty` after uncommitted changes; empty without Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
