"""Makes the default data from scikit-learn's copy of the UCI digits: python benchmarks/make_digits.py FOLDER.

scikit-learn is needed for this alone. Put the folder in the place of data/, then `dvc add data` and `dvc push`.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

from espalier import files
from espalier.inputs.image import encode

SOURCE = {
    "name": "digits",
    "origin": "Optical Recognition of Handwritten Digits, as scikit-learn ships it: 1,797 scans of 8x8 pixels",
    "citation": "E. Alpaydin and C. Kaynak (1998). UCI Machine Learning Repository. https://doi.org/10.24432/C50P49",
    "license": "CC BY 4.0",
}


def main(folder: Path) -> None:
    digits = load_digits()
    pixels = np.round(digits.images * 255 / 16).astype(np.uint8)
    images = pa.array(
        [{"bytes": encode(image[None])} for image in pixels], pa.struct([("bytes", pa.binary())])
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"image": images, "label": pa.array(digits.target, pa.int64())}),
        folder / "digits.parquet",
    )
    files.write_json(folder / "classes.json", [str(digit) for digit in range(10)])
    files.write_json(folder / "source.json", SOURCE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
