"""Records that stages write beside models and reports, checked where they are read: JSON with typed keys, and CSV.

Each type lists the keys that code reads; further keys and missing ones are left to the reader, except
where they are required.
"""

import csv
import io
import math
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from espalier import files
from espalier.errors import BadInput, Notice, first_problem, printable, reason_of
from espalier.paths import CONDITIONS, MANIFEST, REPORTS, TABLE, TEACHER
from espalier.settings.limits import CSV_BYTES, CSV_CELLS


class Record(BaseModel):
    """Types of the keys of a JSON file that code reads."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class LineageRecord(Record):
    """The content of `lineage.json`."""

    key: str = ""
    data: str = ""
    entry: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    parent: str | None = None
    models: dict[str, str] = {}
    architectures: dict[str, str] = {}
    seed: int = 0
    device: str = ""
    latency_device: str = ""
    versions: dict[str, str] = {}
    base_macs: int = 0
    base_parameters: int | None = None
    seconds: float = 0.0
    finished: float = 0.0


class MetricsRecord(Record):
    """The content of `metrics.json`: flat numbers."""

    macs: float
    bytes: float
    parameters: float = 0.0
    packed_bytes: float = 0.0
    seconds: float = 0.0


class ConditionsRecord(Record):
    """The content of `conditions.json`."""

    data: str
    models: dict[str, str]
    device: str
    threads: int
    processors: int
    load: float
    torch: str
    started: float
    task: str = ""
    commit: str | None = None
    runtime: str = "onnxruntime"
    processor: str = ""
    provider: str = ""
    espalier: str = ""


_REPAIR = f"`espalier repair` restores {REPORTS}/ or makes them again."


def has_reports(root: Path) -> bool:
    """Whether a project has reports of an evaluation, damaged or not."""
    return any((root / REPORTS / name).exists() for name in (TABLE, MANIFEST))


def verify_reports(root: Path) -> bool:
    """Check the reports of a project against their manifest, before any of their files is read.

    Reports of versions without such a manifest are accepted with a warning: DVC takes them for up to date, and
    would not make them again.

    Args:
        root: the project, which has reports.

    Returns:
        Whether there is a manifest.

    Raises:
        BadInput: if a file is missing, changed, or not listed; the message has the file and the way on.
    """
    folder = root / REPORTS
    try:
        if not (folder / MANIFEST).is_file() and not _names_version(folder / CONDITIONS):
            warnings.warn(
                f"Expected {folder} to be sealed by a {MANIFEST}; found none, as earlier versions left "
                "them: their files are read unchecked until the next evaluation.",
                Notice,
                stacklevel=3,
            )
            return False
        sealed = files.verify(folder, (TABLE,), nested=True)
    except BadInput as error:
        remedy = "" if "`espalier repair`" in str(error) else f" {_REPAIR}"
        raise BadInput(f"{error}{remedy}") from None
    others = [name for name in files.sealed_names(folder, nested=True) if name not in sealed]
    if others:
        raise BadInput(
            f"Expected {folder} to hold only files that its {MANIFEST} lists; found {others[0]} too: move it "
            "elsewhere, or `espalier run` makes new reports without it."
        )
    return True


def _names_version(conditions: Path) -> bool:
    """Whether reports name the version that wrote them, as all with a manifest do."""
    return conditions.is_file() and bool(read_record(conditions, ConditionsRecord).get("espalier"))


_LAST_SECOND = 2**37  # of a time since 1970 that the calendar of Python has


def read_record(path: Path, record: type[Record]) -> dict[str, Any]:
    """Read a JSON file of a stage.

    Args:
        path: the file.
        record: types of its keys, such as `LineageRecord`.

    Raises:
        BadInput: if it is missing or no JSON, or a key is missing or of another type; the message
            has the file and the key.
    """
    content = files.read_json_object(path)
    try:
        record.model_validate(content)
    except ValidationError as error:
        place, problem = first_problem(error)
        raise BadInput(
            f"Expected {path} to be as Espalier writes it; found at `{place[:100]}`: {problem}."
        ) from None
    for key in ("started", "finished", "seconds"):
        if not abs(content.get(key) or 0) < _LAST_SECOND:
            raise BadInput(f"Expected seconds at `{key}` of {path}; found {content[key]}.")
    return content


def read_csv(path: Path, required: Collection[str] = ()) -> list[dict[str, str]]:
    """Read a CSV file of a stage: its rows, by column.

    Args:
        path: the file.
        required: columns that it has to have, unless it has no line at all.

    Raises:
        BadInput: if it is missing, too large or no CSV in UTF-8, lacks a column, or a line has another
            number of cells than the first; the message has the file and the line.
    """
    content = files.read_bounded(path, CSV_BYTES)
    cells = content.count(b",") + content.count(b"\n")
    if cells > CSV_CELLS:
        raise BadInput(f"Expected {path} to have at most {CSV_CELLS:,} cells; found {cells:,}.")
    try:
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
        rows = list(csv.reader(text, strict=True))
    except (csv.Error, ValueError) as error:
        raise BadInput(f"Expected {path} to be CSV in UTF-8; found {reason_of(error)}.") from None
    if not rows:
        return []
    names, *others = rows
    _check_columns(path, names, required)
    for line, row in enumerate(others, start=2):
        if len(row) != len(names):
            raise BadInput(
                f"Expected {len(names)} cells in row {line} of {path}; found {len(row)}."
            )
    return [dict(zip(names, row, strict=True)) for row in others]


def number(path: Path, row: Mapping[str, str], column: str, line: int) -> float:
    """The finite number in a cell of a CSV file.

    Args:
        path: the file, for the message.
        row: cells by column.
        column: name of the column.
        line: number of the row in the file; the head is row 1.

    Raises:
        BadInput: if there is another value.
    """
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(
            f"Expected a number in the column `{column}` of line {line} of {path}; found "
            f"{row[column][:100]!r}."
        )
    return value


def _check_columns(path: Path, names: list[str], required: Collection[str]) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        found = printable(", ".join(names)[:200]).replace("\n", " ")
        raise BadInput(f"Expected a column `{missing[0]}` in {path}; found {found}.")
    if len(set(names)) != len(names):
        raise BadInput(f"Expected the columns of {path} to have different names; found equal ones.")


_WORDS = ("model", "parent", "by")
_OF_THE_SCORE = ("", "_low", "_high")
_MEASURED = (
    "examples",
    "parameters",
    "macs",
    "bytes",
    "latency_1_ms",
    "latency_64_ms",
    "speedup_1",
    "speedup_1_low",
    "speedup_1_high",
    "speedup_64",
    "drop",
    "drop_low",
    "drop_high",
    "not_finite",
)
_ABOVE_ZERO = frozenset({"examples", "bytes", "latency_1_ms", "latency_64_ms"})
_MAY_BE_EMPTY = ("memory_1", "worst_class_drop_high")
_OF_A_HEAD = ".drop_high"  # ending of columns of single heads, which may be empty too


def read_models_table(path: Path, headline: str) -> list[dict[str, str]]:
    """The rows of `reports/models.csv`, the teacher's among them.

    Args:
        path: the file.
        headline: column of the score.

    Raises:
        BadInput: if it is damaged, lacks a column or the teacher, has a model twice or one without its
            parent above it, or another value where a number has to be; the message has the file and the row.
    """
    measured = (*(f"{headline}{ending}" for ending in _OF_THE_SCORE), *_MEASURED)
    rows = read_csv(path, (*_WORDS, *measured, *_MAY_BE_EMPTY, "front"))
    parents = {row["model"]: row["parent"] for row in rows}
    if parents.get(TEACHER) != "" or len(parents) < len(rows):
        raise BadInput(
            f"Expected {path} to have a row for each model, and one for the {TEACHER}, which has no "
            f"parent; found {', '.join(row['model'] for row in rows)[:200]!r}."
        )
    above: set[str] = set()
    for line, row in enumerate(rows, start=2):
        _check_words(path, row, line, above)
        above.add(row["model"])
        filled = [name for name in row if row[name] and _may_be_empty(name)]
        for column in (*measured, *filled):
            _check_number(path, row, column, line)
    return rows


def _may_be_empty(column: str) -> bool:
    return column in _MAY_BE_EMPTY or column.endswith(_OF_A_HEAD)


def _check_words(path: Path, row: Mapping[str, str], line: int, above: Collection[str]) -> None:
    name, parent = row["model"], row["parent"]
    if not name or "/" in name or not name.isprintable():
        raise BadInput(
            f"Expected a name without '/' in row {line} of {path}; found {name[:100]!r}."
        )
    if parent not in above and name != TEACHER:
        raise BadInput(
            f"Expected the parent of {name} in row {line} of {path} to be a model of a row above; "
            f"found {parent[:100]!r}."
        )
    if row["front"] not in ("True", "False"):
        raise BadInput(
            f"Expected True or False in the column `front` of row {line} of {path}; found "
            f"{row['front'][:100]!r}."
        )


def _check_number(path: Path, row: Mapping[str, str], column: str, line: int) -> None:
    value = number(path, row, column, line)
    if column in _ABOVE_ZERO and value <= 0:
        raise BadInput(f"Expected `{column}` above 0 in row {line} of {path}; found {value:g}.")
