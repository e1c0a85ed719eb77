"""The columns of tables of examples, by their meaning."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from espalier.errors import BadInput
from espalier.settings.data import Columns

LABELS = ("label", "labels", "class", "category", "target")  # names that need no key


def find_columns(
    path: Path,
    present: Sequence[str],
    columns: Columns,
    usual: Mapping[str, Sequence[str]],
    required: Sequence[str],
) -> dict[str, str]:
    """The names of the columns by their meaning; others than the required ones may be missing.

    Args:
        path: file, for messages.
        present: names of its columns.
        columns: names that the user gave.
        usual: names that need no key, by meaning; the first present one counts.
        required: meanings that the file must have.

    Raises:
        BadInput: if a required column is missing, or one that the user named.
    """
    names: dict[str, str] = {}
    for meaning, known in usual.items():
        own = getattr(columns, meaning)
        _refuse_absent(path, meaning, own, present)
        found = [name for name in ([own] if own else known) if name in present]
        if found:
            names[meaning] = found[0]
    absent = [meaning for meaning in required if meaning not in names]
    if absent:
        expected = " and ".join(f"`{usual[meaning][0]}`" for meaning in required)
        raise BadInput(
            f"Expected {path} to have the columns {expected}; found no "
            f"`{usual[absent[0]][0]}` among {', '.join(present) or 'no columns'}. "
            f"`data.columns: {{{absent[0]}: ...}}` in params.yaml names another."
        )
    return names


def _refuse_absent(path: Path, meaning: str, own: str | None, present: Sequence[str]) -> None:
    """Refuse a file without a column that the user named: a split, say, would be drawn anew."""
    if own and own not in present:
        raise BadInput(
            f"Expected {path} to have the column `{own}` of `data.columns: {{{meaning}: {own}}}`; "
            f"found {', '.join(present) or 'no columns'}: correct the name in params.yaml."
        )
