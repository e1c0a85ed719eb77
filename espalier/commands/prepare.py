"""`espalier prepare`: data/ becomes prepared/."""

from pathlib import Path

from rich.console import Console

from espalier.data.prepare import prepare
from espalier.errors import TryAgain
from espalier.params import read_params
from espalier.paths import DATA, PREPARED, STATE
from espalier.settings.data import DataSettings


def run(root: Path) -> None:
    """Check, split and write the data of the project in `root`.

    Raises:
        BadInput: If the data or `params.yaml` are not as they should be; `prepared/` is then as it
            was.
        TryAgain: if they were changed meanwhile.
    """
    began = _inputs(root)
    settings, workshop = read_params(root).data_settings, root / STATE / "work"
    dataset = prepare(root / DATA, root / PREPARED, settings, workshop=workshop)
    if _inputs(root) != began:
        raise TryAgain(
            f"Expected {DATA}/ and `data` of params.yaml to stay as they were when their preparation "
            "began; found that they were changed meanwhile: prepare again."
        )
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    counts = ", ".join(f"{count} {name}" for name, count in dataset.counts.items())
    say(f"{dataset.name}: {counts}; {dataset.describe()}")
    if dataset.dropped:
        say(
            f"Warning: left out {dataset.dropped} examples that are also in a stricter split "
            "(data.duplicates)."
        )
    say(f"{PREPARED}/ is ready, from data {dataset.source_hash[:12]}")


def _inputs(root: Path) -> tuple[DataSettings, dict[Path, tuple[int, int]]]:
    """The settings of the data, and size and time of change of every file: all that DVC would record."""
    found = {}
    for path in (root / DATA).rglob("*"):
        status = path.lstat()
        found[path] = (status.st_size, status.st_mtime_ns)
    return read_params(root).data_settings, found
