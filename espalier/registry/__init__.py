"""The registry: every model a version in MLflow, as a projection of the files that can be repeated at any time.

MLflow is imported by the functions that talk to it, never by importing this package: that alone takes two seconds.
"""

from espalier.registry.register import Registered, missing, register

__all__ = ["Registered", "missing", "register"]
