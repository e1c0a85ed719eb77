"""Names of registered models, checked before a store is contacted."""

from espalier.errors import BadInput
from espalier.settings.names import name_problem


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
    problem = name_problem(name)
    if problem:
        expected, found = problem
        raise BadInput(f"Expected the name of a registered model {expected}; found {found}.")
    return name
