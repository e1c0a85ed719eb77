"""Metrics as Prefect artifacts: a table per model, and a table and a page per run."""

import json
import re
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from espalier import paths
from espalier.errors import EspalierError
from espalier.records import has_reports, read_csv, verify_reports
from espalier.tasks.environment import locate_registry
from espalier.tasks.project import Project


def publish_model(name: str, root: Path) -> None:
    """Publish the metrics of one model, if the stage made one. A failure is only logged."""
    metrics = root / paths.MODELS / name / paths.METRICS
    if metrics.is_file():
        try:
            rows = [
                {"metric": metric, "value": value}
                for metric, value in json.loads(metrics.read_text()).items()
            ]
            create_table_artifact(
                table=rows, key=_key(name), description=f"Metrics of the model {name}."
            )
        except Exception as error:
            get_run_logger().warning("The metrics of %s could not be published: %s", name, error)


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish(project: Project) -> None:
    """Publish the table of all models, and the locations of the results."""
    if has_reports(project.root):
        try:
            _publish_table(project.root)
        except EspalierError as error:
            get_run_logger().warning("The table of all models could not be published: %s", error)
    create_markdown_artifact(
        markdown=_page(project.root), key="espalier", description="Locations of the results."
    )


def _publish_table(root: Path) -> None:
    verify_reports(root)
    rows: list[dict[str, Any]] = list(read_csv(root / paths.REPORTS / paths.TABLE))
    create_table_artifact(
        table=rows, key="models", description="All models, measured in one evaluation."
    )


def _page(root: Path) -> str:
    lines = [
        "# Locations",
        f"- models: `{root / paths.MODELS}`",
        f"- reports: `{root / paths.REPORTS}`",
        f"- registry: `{locate_registry()}`; commands are for the folder `{root}`",
    ]
    receipt = root / paths.REGISTERED
    if receipt.is_file():
        lines += ["", "## Registered", "```json", receipt.read_text().strip(), "```"]
    return "\n".join(lines)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name)
