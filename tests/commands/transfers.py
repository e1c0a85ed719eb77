"""A project with a champion that is to be taken elsewhere, and a registered model seen from outside."""

from pathlib import Path

import yaml
from mlflow import MlflowClient

from espalier.commands import promote
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import Audit
from espalier.registry.versions import Registry, fetch

PARAMS = {
    "training": {"batch_size": 64, "threads": 1, "views": 3},
    "teacher": {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}, "epochs": 2},
    "models": {
        "poor": {
            "from": "teacher",
            "by": "train",
            "epochs": 1,
            "learning_rate": 1e-9,
            "model": "espalier:mlp",
        },
        "good": {"from": "teacher", "by": "train", "epochs": 1},
    },
    "evaluation": {"rounds": 3},
    "registry": {"name": "dev.digits"},
}


def promote_at_home(root, entry):
    allow(root, entry, 1.0)
    promote.run(root)
    allow(root, entry, 0.06)


def rename(root, name):
    params = PARAMS | {"registry": {"name": name}}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def allow(root, entry, champion_drop):
    policy = {"candidates": [entry], "gates": {"champion_drop": champion_drop}}
    (root / "mlflow" / "gates.yaml").write_text(yaml.safe_dump({"champion": policy}))


class Side:
    """A registered model, seen from outside."""

    def __init__(self, root, name, at=None):
        self.store, self.name = find_store(root, at), name
        self.client = MlflowClient(self.store.uri, self.store.uri)

    def versions(self):
        found = self.client.search_model_versions(f"name = '{self.name}'")
        return {str(one.version): one for one in sorted(found, key=lambda one: int(one.version))}

    def aliases(self):
        found = self.client.search_registered_models(f"name = '{self.name}'")
        return (
            {alias: str(version) for alias, version in dict(found[0].aliases).items()}
            if found
            else {}
        )

    def entry(self, alias="champion"):
        version = self.aliases().get(alias)
        return version and self.versions()[version].tags["espalier.entry"]

    def moves(self):
        return Audit(self.client, self.name).moves()

    def all(self):
        """All records of the transfer."""
        runs = {
            run: self.client.get_run(run).to_dictionary()
            for run in {one.run_id for one in self.versions().values()}
        }
        return (
            self.aliases(),
            {key: dict(one) for key, one in self.versions().items()},
            self.moves(),
            runs,
        )

    def fetch(self, version, folder):
        with connect(self.store) as client:
            return fetch(Registry(client, self.store, self.name), version, folder)

    def artifact(self, run, name, folder):
        with connect(self.store) as client:
            folder.mkdir(exist_ok=True)
            return Path(client.download_artifacts(run, name, str(folder))).read_text()

    def files_of(self, version):
        logged = self.versions()[version].source.removeprefix("models:/")
        return self.store.home / self.client.get_logged_model(logged).artifact_location
