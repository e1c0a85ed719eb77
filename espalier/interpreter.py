"""Commands that run a module in an interpreter like this one."""

import sys


def python_module(name: str, *words: str) -> list[str]:
    """The command that runs an installed module with these arguments.

    `-P` keeps the working directory, which is the user's project, off the module search path: a `queue.py` there
    would replace the module of the standard library, and a `yaml.py` an installed one.
    """
    return [sys.executable, "-P", "-m", name, *words]
