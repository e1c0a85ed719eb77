"""What a registered model may be called, said before anything is asked of a store."""

from espalier.errors import BadInput

_LONGEST = 250  # characters: MLflow keeps 256, and the audit's name is the model's with six more


def check_name(name: str) -> str:
    """Refuse a name that MLflow does not take for a registered model, or that its addresses cannot spell.

    Dots are as good as letters: `prod.digits` is a name like any other.

    Args:
        name: As the user gave it.

    Returns:
        The same.

    Raises:
        BadInput: If it is none.
    """
    should = "The name of a registered model should"
    if not name.strip() or name != name.strip():
        raise BadInput(f"{should} have letters, and no spaces around them. Found {name!r}.")
    found = next((one for one in name if one in "/:?@" or not one.isprintable()), None)
    if found:  # MLflow takes '?' and '@', but `models:/a?b/1` is read as `a`, and `models:/a@b/1` as an alias
        raise BadInput(f"{should} have none of '/', ':', '?' and '@'. Found {found!r} in {name!r}.")
    if name == "." or name.startswith(".."):
        raise BadInput(f"{should} be no path. Found {name!r}.")
    if '"' in name and "'" in name:
        raise BadInput(
            f"{should} have one kind of quotes at most: MLflow's searches take no more. Found {name!r}."
        )
    if len(name) > _LONGEST:
        raise BadInput(f"{should} have at most {_LONGEST} characters. Found {len(name)}.")
    if name.endswith(".audit"):
        raise BadInput(
            f"{should} not end in `.audit`, which is where moves of an alias are written. Found {name!r}."
        )
    return name
