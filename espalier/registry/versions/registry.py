"""One registered model of MLflow and its experiment, which have the same name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espalier.registry.connection import Store, keep_artifacts_in
from espalier.registry.versions.requests import quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Registry:
    """A registered model in a connected store.

    Attributes:
        client: Client of the store.
        store: The store.
        name: Name of the registered model and of its experiment.
        experiment: MLflow's id of the experiment; empty where versions are only read.
    """

    client: "MlflowClient"
    store: Store
    name: str
    experiment: str = ""


def open_registry(client: "MlflowClient", store: Store, name: str) -> Registry:
    """Open the registered model `name` and its experiment; create them if they are missing."""
    experiment = open_experiment(client, store, name)
    if not client.search_registered_models(f"name = {quoted(name)}"):
        with ignoring("RESOURCE_ALREADY_EXISTS"):
            client.create_registered_model(
                name, description="Networks made by Espalier; an alias is the entry's name."
            )
    return Registry(client, store, name, experiment)


def open_experiment(client: "MlflowClient", store: Store, name: str) -> str:
    """Open the experiment `name`, restore it if it was deleted, or create it.

    Returns:
        MLflow's id of the experiment.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with ignoring("RESOURCE_ALREADY_EXISTS"):
            client.create_experiment(name, artifact_location=store.artifacts)
        experiment = client.get_experiment_by_name(name)
    elif experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    identity = str(experiment.experiment_id)
    if store.database is not None:
        location = f"{store.artifacts}/{identity}"
        if experiment.artifact_location != location:
            keep_artifacts_in(store.database, identity, location)
    return identity


@contextmanager
def ignoring(code: str) -> Iterator[None]:
    """Ignore an answer of MLflow, such as RESOURCE_ALREADY_EXISTS: another machine has been faster."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise
