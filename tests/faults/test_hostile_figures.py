"""The page on threats states the figures of the committed measurement, which is within its limits."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_figures_of_the_page_are_those_measured():
    summary = json.loads((ROOT / "benchmarks/results/hostile.json").read_text())["summary"]
    assert summary["refused"] == summary["in one line"] == summary["files"] >= 50
    assert summary["largest mb"] <= summary["limit mb"] == 300
    assert summary["longest seconds"] <= summary["limit seconds"] == 2
    page = " ".join((ROOT / "docs/threats.md").read_text().split())
    assert f"hands over {summary['files']} hostile files" in page
    assert f"at most {summary['largest mb']:.0f} MB more than before" in page
