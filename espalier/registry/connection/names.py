"""Names of registered models, checked before a store is contacted."""

from espalier.errors import BadInput

# MLflow accepts '?' and '@', but reads `models:/a?b/1` as model `a`, and `models:/a@b/1` as an
# alias
_FORBIDDEN = "/:?@"
_LONGEST = 250  # characters: MLflow keeps 256, and the audit's name has six more than the model's


def check_name(name: str) -> str:
    """Check that MLflow accepts a name for a registered model, and can address the model by it.

    A dot is an ordinary character: `prod.digits` is a valid name.

    Args:
        name: The name as the user gave it.

    Returns:
        The same name.

    Raises:
        BadInput: If MLflow refuses the name or cannot address it.
    """
    problem = _problem(name)
    if problem:
        expected, found = problem
        raise BadInput(f"Expected the name of a registered model {expected}; found {found}.")
    return name


def _problem(name: str) -> tuple[str, str] | None:
    """The broken rule and the offending part of a name; None for a valid name."""
    stripped = name.strip()
    if not stripped or stripped != name:
        return "with letters and no spaces around them", repr(name)
    forbidden = [one for one in name if one in _FORBIDDEN or not one.isprintable()]
    if forbidden:
        return "without '/', ':', '?' and '@'", f"{forbidden[0]!r} in {name!r}"
    if name == "." or name.startswith(".."):
        return "that is not a path", repr(name)
    if '"' in name and "'" in name:
        return "with at most one kind of quotes, as MLflow's searches need", repr(name)
    if len(name) > _LONGEST:
        return f"of at most {_LONGEST} characters", str(len(name))
    if name.endswith(".audit"):
        return "that does not end in `.audit`, the name of the audit of its aliases", repr(name)
    return None
