"""The header of the page: data, conditions of the measurement, and warnings."""

from datetime import UTC, datetime

from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, tag

_FEW = 300  # test examples below which differences of a few points cannot be shown


def header(contents: Contents) -> Markup:
    """The name of the data, the conditions of the measurement, and warnings about them."""
    conditions = contents.conditions
    examples = int(next(iter(contents.rows.values()))["examples"])
    started = datetime.fromtimestamp(conditions["started"], UTC)
    commit = conditions.get("commit")
    runtime = conditions.get("runtime", "onnxruntime")  # earlier reports do not name it
    facts = {
        "test examples": f"{examples:,}",
        "models": len(contents.rows),
        "device": conditions["device"],
        "threads, of processors": f"{conditions['threads']} of {conditions['processors']}",
        "load at the start": f"{conditions['load']:.1f}",
        "measured": f"{started:%Y-%m-%d %H:%M} UTC",
        "runtime, torch": f"{runtime} {conditions.get(runtime, '')}, {conditions['torch']}",
        "data": tag("code", conditions["data"][:12], title=conditions["data"]),
        "commit": tag("code", commit) if commit else "not in a repository",
    }
    listed = join(tag("div", tag("dt", name), tag("dd", fact)) for name, fact in facts.items())
    title = tag("h1", f"{contents.dataset.name}: the tree of models")
    warnings = (tag("p", warning, class_="warn") for warning in _warnings(contents, examples))
    return tag("header", title, tag("dl", listed, class_="facts"), *warnings)


def _warnings(contents: Contents, examples: int) -> list[str]:
    load = contents.conditions["load"]
    processors = contents.conditions["processors"]
    warnings = []
    if examples < _FEW:
        warnings.append(
            f"{examples} test examples are few: intervals are wide, and small differences cannot be "
            "shown."
        )
    if load > processors:
        warnings.append(
            f"The machine was busy (load {load:.1f} on {processors} processors): latencies are "
            "longer than on an idle one. Speed-ups come from interleaved calls, and their bands "
            "contain this noise."
        )
    return warnings
