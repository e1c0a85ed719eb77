"""Committed results of benchmarks, and the tables of the docs that are made of them."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from espalier.measures.device import processor_name

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"

Record = dict[str, Any]


def conditions(command: str) -> Record:
    """The first fields of a result: when, how, and on what it is measured; the load is that of now."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "device": processor_name(),
        "processors": os.cpu_count(),
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


def read(name: str) -> Record:
    """The committed result of that name."""
    record: Record = json.loads((RESULTS / f"{name}.json").read_text())
    return record


def show(name: str, record: Record, *, write: bool) -> None:
    """Print a result, and commit it if it is to be written."""
    content = json.dumps(record, indent=2)
    print(content)
    if write:
        path = RESULTS / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content + "\n")


def place_table(name: str, table: str, page: Path = BENCHMARKS) -> None:
    """Put a table between the lines `<!-- NAME -->` and `<!-- end of NAME -->` of a page."""
    between = re.compile(f"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
    page.write_text(between.sub(lambda _: table, page.read_text()))


def source(record: Record) -> str:
    """The last line of a table: its command, machine and day."""
    return f"`{record['command']}`, {record['device']}, {record['date']}."
