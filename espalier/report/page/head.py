"""The head of the page: what was judged, on what, and where it came from."""

from datetime import UTC, datetime

from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, tag

_FEW = 300  # test images with which a margin of a few points can be shown at best


def head(contents: Contents) -> Markup:
    """The name of the data, the conditions of the measurement, and what to beware of."""
    conditions = contents.conditions
    examples = int(next(iter(contents.rows.values()))["examples"])
    started = datetime.fromtimestamp(conditions["started"], UTC)
    facts = {
        "test images": f"{examples:,}",
        "models": len(contents.rows),
        "device": conditions["device"],
        "threads, of processors": f"{conditions['threads']} of {conditions['processors']}",
        "load when it began": f"{conditions['load']:.1f}",
        "measured": f"{started:%Y-%m-%d %H:%M} UTC",
        "ONNX Runtime, torch": f"{conditions['onnxruntime']}, {conditions['torch']}",
        "data": tag("code", conditions["data"][:12], title=conditions["data"]),
        "commit": tag("code", conditions["commit"])
        if conditions.get("commit")
        else "not in a repository",
    }
    listed = join(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items())
    return tag("header", tag("h1", f"{contents.dataset.name}: the tree of models"), tag("dl", listed, class_="facts"),
               *(tag("p", warning, class_="warn") for warning in _warnings(contents, examples)))  # fmt: skip


def _warnings(contents: Contents, examples: int) -> list[str]:
    conditions = contents.conditions
    found = []
    if examples < _FEW:
        found.append(
            f"{examples} test images are few: intervals are wide, and small differences cannot be told."
        )
    if conditions["load"] > conditions["processors"]:
        found.append(
            f"The machine was busy (load {conditions['load']:.1f} on {conditions['processors']} processors): times are "
            "longer than on an idle one. Speed-ups are of interleaved runs, and their bands tell how sure they are."
        )
    return found
