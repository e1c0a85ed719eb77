"""The default data, and ways to write them down again: every layout and every damage starts from real scans."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from espalier.data.prepare import prepare
from espalier.data.prepared import Dataset
from espalier.data.sources import import_data
from espalier.settings.data import DataSettings

SETTINGS = {
    "validation": 0.15,
    "test": 0.2,
    "duplicates": "refuse",
    "split": "exact",
    "crop": -1,
    "flip": None,
    "seed": 0,
}


@pytest.fixture(scope="session")
def digits(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("digits")
    shutil.copytree(project_root / ".dvc" / "embedded", project / ".dvc" / "embedded")
    import_data("digits", project / "data", None, project / "work", DataSettings())
    return project / "data"


@pytest.fixture
def table(digits: Path) -> pd.DataFrame:
    """A row per scan: image {bytes}, label."""
    return pq.read_table(digits / "digits.parquet").to_pandas()


@pytest.fixture
def write() -> Callable[..., Path]:
    """Write a table as parquet; images are {bytes} unless the rows hold bytes."""

    def written(table: pd.DataFrame, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
        return path

    return written


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Dataset]:
    """Prepare a folder to tmp_path/prepared with the defaults, but for what is given."""

    def run(folder: Path, target: Path | None = None, **settings: object) -> Dataset:
        return prepare(
            folder,
            target or tmp_path / "prepared",
            **(SETTINGS | settings),
            workshop=tmp_path / "work",
        )

    return run
