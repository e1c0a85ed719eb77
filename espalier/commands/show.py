"""`espalier show`: the tree of models with its figures, or the layers of one of them."""

from pathlib import Path

from espalier.errors import BadInput
from espalier.paths import CONDITIONS, REPORTS, TABLE
from espalier.reading import naming
from espalier.records import (
    ConditionsRecord,
    has_reports,
    read_models_table,
    read_record,
    verify_reports,
)
from espalier.report.terminal import print_tree
from espalier.settings.tasks import headline_of


def run(root: Path, name: str | None = None) -> None:
    """Print the figures of the last evaluation, or the layers of a model beside those of its teacher.

    Raises:
        BadInput: if there has been no evaluation, or no such model.
    """
    if name is not None:
        from espalier.commands.layers import show_layers  # here: importing torch takes seconds

        return show_layers(root, name)
    path = root / REPORTS / TABLE
    if not has_reports(root):
        raise BadInput(
            f"Expected {path} to exist; found nothing there: run `espalier run` or `dvc repro` "
            "first."
        )
    verify_reports(root)
    measured = root / REPORTS / CONDITIONS
    conditions = read_record(measured, ConditionsRecord) if measured.is_file() else {}
    task = conditions.get("task", "classification")  # earlier versions knew no other
    with naming(measured):
        headline = headline_of(task)
    return print_tree(read_models_table(path, headline.name), headline)
