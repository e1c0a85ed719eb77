"""`espalier show`: the tree of models with its figures."""

from pathlib import Path

import pandas as pd

from espalier.errors import BadInput
from espalier.paths import REPORTS, TABLE
from espalier.report.terminal import tree


def run(root: Path) -> None:
    """Print the figures of the last evaluation.

    Raises:
        BadInput: If there has been none.
    """
    path = root / REPORTS / TABLE
    if not path.is_file():
        raise BadInput(f"{path} should exist. Found nothing there: run `espalier run` or `dvc repro` first.")
    tree(pd.read_csv(path, keep_default_na=False))  # a model may be called nan
