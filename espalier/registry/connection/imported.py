"""MLflow, imported as `connect` imports it: the variables that it reads then are set before."""

from espalier.registry.connection.store import configure_mlflow

configure_mlflow()

import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401
