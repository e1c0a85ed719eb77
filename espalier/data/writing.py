"""Writing of prepared data, split by split, without loading it; equal inputs give equal bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from espalier import files
from espalier.data.prepared import Dataset
from espalier.paths import DATASET, EXAMPLES

IMAGES_AT_ONCE = 4096
_DTYPES = {  # of NumPy: of safetensors
    "uint8": "U8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float32": "F32",
}


def write_split(
    path: Path, images: npt.NDArray[Any], rows: npt.NDArray[np.int64], labels: npt.NDArray[Any]
) -> None:
    """Write a split as safetensors (https://huggingface.co/docs/safetensors: a JSON header, then the bytes).

    Args:
        path: file to write.
        images: stored inputs (N, ...) of all splits, perhaps mapped from disk: the library's own writer wants them
            in memory.
        rows: rows of the inputs that belong to the split.
        labels: target of each of these rows.
    """
    shape = [len(rows), *images.shape[1:]]
    middle = labels.nbytes
    end = middle + images.itemsize * int(np.prod(shape))
    header = json.dumps(
        {
            "labels": {
                "dtype": _DTYPES[labels.dtype.name],
                "shape": list(labels.shape),
                "data_offsets": [0, middle],
            },
            "images": {
                "dtype": _DTYPES[images.dtype.name],
                "shape": shape,
                "data_offsets": [middle, end],
            },
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("xb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(np.ascontiguousarray(labels).tobytes())
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            file.write(images[rows[start : start + IMAGES_AT_ONCE]].tobytes())


def write_examples(folder: Path, examples: pd.DataFrame) -> None:
    """Write the manifest: a row per example, in the order of the splits' files."""
    names = ["file", "row", "label", "split", "sha256"]
    table = pa.table({name: pa.array(examples[name].to_numpy()) for name in names})
    pq.write_table(table, folder / EXAMPLES, compression="zstd")


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write the description of the data; last, because it holds the hashes of the rest."""
    files.write_json(folder / DATASET, dataset.to_json())
