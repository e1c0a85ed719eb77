"""Figures where Prefect's users look for them: a table per model, and a table and a page per run."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from espalier import paths
from tasks.environment import OPEN_REGISTRY
from tasks.project import Project


def publish_model(name: str, root: Path) -> None:
    """Publish the figures of one model, if the stage made one. Failing to is no failure of the stage."""
    metrics = root / paths.MODELS / name / paths.METRICS
    if metrics.is_file():
        try:
            rows = [
                {"figure": figure, "value": value}
                for figure, value in json.loads(metrics.read_text()).items()
            ]
            create_table_artifact(
                table=rows, key=_key(name), description=f"What is known of the model {name}."
            )
        except Exception as error:
            get_run_logger().warning("The figures of %s could not be published: %s", name, error)


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish(project: Project) -> None:
    """Publish the table of all models, and where everything is."""
    table = project.root / paths.REPORTS / paths.TABLE
    if table.is_file():
        with table.open(newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        create_table_artifact(
            table=rows, key="models", description="All models, measured side by side."
        )
    create_markdown_artifact(
        markdown=_page(project.root), key="espalier", description="Where everything is."
    )


def _page(root: Path) -> str:
    lines = [
        "# Where everything is",
        f"- models: `{root / paths.MODELS}`",
        f"- reports: `{root / paths.REPORTS}`",
        f"- registry: `{OPEN_REGISTRY}`, in `{root}`",
    ]
    receipt = root / paths.REGISTERED
    if receipt.is_file():
        lines += ["", "## Registered", "```json", receipt.read_text().strip(), "```"]
    return "\n".join(lines)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name)
