"""The record of `make faults` in the documents: its table, and its figures in sentences."""

import re
from pathlib import Path
from typing import Any

RECORD = Path("docs", "reliability.json")
PAGE = Path("docs", "reliability.md")
README = Path("README.md")
_NAMES = {"repro": "dvc repro"}
_TABLE = re.compile(r"(?<=<!-- kills -->\n).*?(?=<!-- end -->)", re.DOTALL)
_SENTENCE = re.compile(r"[\d,]+ kills in [\d,]+ scenarios: \d+ ended differently")


def processor() -> str:
    """The processor of this machine."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def add(before: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    """The record of two campaigns; the second may be of some stages alone."""
    both = {key: f"{before[key]} and {further[key]}" for key in ("command", "commit", "seed")}
    stages = dict(further["stages"])
    for stage, tally in before["stages"].items():
        found = stages[stage]
        sums = {key: tally[key] + found[key] for key in tally if key != "calls"}
        stages[stage] = {"calls": found["calls"], **sums}
    seconds = before["seconds"] + further["seconds"]
    return {**further, **both, "seconds": seconds, "stages": stages}


def table(record: dict[str, Any]) -> str:
    """The table of a record in Markdown, a row per stage and one for all."""
    stages = record["stages"]
    rows = [
        "| stage | calls that change files | scenarios | kills | ended differently | epochs trained again |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    rows += [
        _row(f"`{_NAMES.get(stage, stage).replace('@', ' ')}`", tally)
        for stage, tally in stages.items()
    ]
    keys = ("calls", "scenarios", "kills", "differing", "trained_again")
    rows.append(_row("all", {key: sum(tally[key] for tally in stages.values()) for key in keys}))
    minutes = f"{record['seconds'] / 60:.0f} minutes with {record['runners']} runners"
    rows += ["", f"`{record['command']}`, {record['date']}, {minutes} on {record['machine']}."]
    return "\n".join(rows) + "\n"


def _row(name: str, tally: dict[str, Any]) -> str:
    return (
        f"| {name} | {tally['calls']:,} | {tally['scenarios']:,} | {tally['kills']:,} | "
        f"{tally['differing']:,} | {tally['trained_again']:,} |"
    )


def sentence(record: dict[str, Any]) -> str:
    """The figures of a record in the words of the documents."""
    stages = record["stages"].values()
    kills = sum(tally["kills"] for tally in stages)
    played = sum(tally["scenarios"] for tally in stages)
    differing = sum(tally["differing"] for tally in stages)
    return f"{kills:,} kills in {played:,} scenarios: {differing} ended differently"


def write_documents(root: Path, record: dict[str, Any]) -> None:
    """Write the table and the sentences of a record into the documents."""
    page = root / PAGE
    page.write_text(_TABLE.sub(lambda _: table(record), page.read_text()))
    for path in (page, root / README):
        path.write_text(_SENTENCE.sub(sentence(record), path.read_text()))


def stated(text: str) -> list[str]:
    """The sentences with figures of a record in a document."""
    return _SENTENCE.findall(text)
