"""Tables as JSON lines."""

import json
from pathlib import Path

import pandas as pd


def read_json_lines(path: Path) -> pd.DataFrame:
    """A table of JSON objects, one a line, in UTF-8 with or without a byte-order mark.

    Lines end with a line feed alone: a text may hold the line separators of Unicode, at which
    `str.splitlines` would cut it.
    """
    lines = path.read_text("utf-8-sig").split("\n")
    return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
