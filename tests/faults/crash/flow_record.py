"""The record of `make faults-runs` in the documents: its table, and its figures in a sentence."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from faults.crash.disturbances import ACTS, ALL, PROCESSES

RECORD = Path("docs", "reliability_runs.json")
PAGE = Path("docs", "reliability.md")
_SECTION = re.compile(r"(?<=<!-- runs -->\n).*?(?=<!-- end -->)", re.DOTALL)


def section(record: dict[str, Any]) -> str:
    """The sentence and the table of a record in Markdown."""
    return f"{sentence(record)}.\n\n{table(record)}"


def table(record: dict[str, Any]) -> str:
    """The table of a record in Markdown: how often each process met each act."""
    counts = Counter({(one["process"], one["act"]): one["count"] for one in record["met"]})
    rows = [f"| process | {' | '.join(ACTS)} |", f"|---|{'--:|' * len(ACTS)}"]
    for process in (*PROCESSES, ALL):
        cells = (f"{counts[process, act]:,}" for act in ACTS)
        rows.append(f"| {process} | {' | '.join(cells)} |")
    minutes = f"{record['seconds'] / 60:.0f} minutes on {record['machine']}"
    rows += ["", f"`{record['command']}`, {record['date']}, {minutes}."]
    return "\n".join(rows) + "\n"


def sentence(record: dict[str, Any]) -> str:
    """The figures of a record in the words of the documents."""
    met = sum(one["count"] for one in record["met"])
    return (
        f"{met:,} disturbances of {record['projects']:,} projects: {record['differing']} ended "
        f"differently, {record['trained_again']} models were trained again"
    )


def write_documents(root: Path, record: dict[str, Any]) -> None:
    """Write the section of a record into the page."""
    page = root / PAGE
    page.write_text(_SECTION.sub(lambda _: section(record), page.read_text()))


def stated(page: str) -> str:
    """The section of the page that a record fills; empty before the first one."""
    found = _SECTION.search(page)
    return found[0] if found else ""
