"""Rules for the names of registered models: MLflow refuses some names and cannot address others."""

# MLflow accepts '?' and '@', but reads `models:/a?b/1` as model `a`, and `models:/a@b/1` as an
# alias
_FORBIDDEN = "/:?@"
_LONGEST = 250  # characters: MLflow keeps 256, and the audit's name has six more than the model's


def name_problem(name: str) -> tuple[str, str] | None:
    """The broken rule and the offending part of a name; None for a valid name."""
    stripped = name.strip()
    if not stripped or stripped != name:
        return "with letters and no spaces around them", repr(name)
    forbidden = [one for one in name if one in _FORBIDDEN or not one.isprintable()]
    if forbidden:
        return "without '/', ':', '?' and '@'", f"{forbidden[0]!r} in {name!r}"
    if name == "." or ".." in name:
        return "that is not a path", repr(name)
    if '"' in name and "'" in name:
        return "with at most one kind of quotes, as MLflow's searches need", repr(name)
    if len(name) > _LONGEST:
        return f"of at most {_LONGEST} characters", str(len(name))
    if name.endswith(".audit"):
        return "that does not end in `.audit`, the name of the audit of its aliases", repr(name)
    return None
