"""`espalier prepare`: data/ becomes prepared/."""

from pathlib import Path

from rich.console import Console

from espalier.data.prepare import prepare
from espalier.params import read_params
from espalier.paths import DATA, PREPARED, STATE


def run(root: Path) -> None:
    """Check, split and write the data of the project in `root`.

    Raises:
        BadInput: If the data or `params.yaml` are not as they should be; `prepared/` is then as it
            was.
    """
    params = read_params(root)
    settings, workshop = params.data_settings, root / STATE / "work"
    dataset = prepare(root / DATA, root / PREPARED, settings, workshop=workshop)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    counts = ", ".join(f"{count} {name}" for name, count in dataset.counts.items())
    say(f"{dataset.name}: {counts}; {dataset.describe()}")
    if dataset.dropped:
        say(
            f"Warning: left out {dataset.dropped} examples that are also in a stricter split "
            "(data.duplicates)."
        )
    say(f"{PREPARED}/ is ready, from data {dataset.source_hash[:12]}")
