"""Names of registered models: what MLflow cannot take, or spell in an address, is refused before it is asked."""

from pathlib import Path

import mlflow.artifacts
import pytest
from mlflow.exceptions import MlflowException
from properties import assert_explains

from espalier.errors import BadInput
from espalier.registry.connection.names import check_name
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion.audit import Audit
from espalier.registry.versions import open_registry, quoted

GOOD = [
    "prod.digits",
    "a.b.c",
    "digits of 2026",
    "Zürich",
    "it's",
    "100%",
    "a#b",
    "a;b",
    ".hidden",
    "x" * 250,
]
REFUSED_BY_MLFLOW = ["", " ", "prod/digits", "prod:digits", ".", "..", "..digits"]
UNSPELLABLE = [
    "digits?",
    "digits@home",
    "two\nlines",
    " digits",
    "digits ",
    "x" * 251,
    "digits.audit",
    "'\"",
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_one_that_mlflow_takes_finds_and_loads_from(project, name, tmp_path):
    store = find_store(project.root)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_text("1")
    with connect(store) as client:
        registry = open_registry(client, store, check_name(name))
        logged = client.create_logged_model(registry.experiment, "one").model_id
        client.log_model_artifacts(logged, str(tmp_path / "files"))
        client.finalize_logged_model(logged, "READY")
        client.create_model_version(name, f"models:/{logged}")
        client.set_registered_model_alias(name, "champion", "1")
        assert [one.name for one in client.search_registered_models(f"name = {quoted(name)}")] == [
            name
        ]
        fetched = mlflow.artifacts.download_artifacts(
            f"models:/{name}/1", dst_path=str(tmp_path / "fetched")
        )
        assert Audit(client, name).moves() == []
        run = client.create_run(registry.experiment).info.run_id
        Audit(client, name).open_move(run, alias="champion", to="1")
        assert [move.to for move in Audit(client, name).moves()] == ["1"]
    assert "one" in [path.name for path in Path(fetched).iterdir()]


@pytest.mark.parametrize("name", REFUSED_BY_MLFLOW + UNSPELLABLE)
def test_another_is_refused_in_a_sentence(name):
    with pytest.raises(BadInput) as refused:
        check_name(name)
    assert_explains(refused.value, "name")


@pytest.mark.parametrize("name", REFUSED_BY_MLFLOW)
def test_those_are_the_ones_that_mlflow_refuses(project, name):
    with connect(find_store(project.root)) as client, pytest.raises(MlflowException):
        client.create_registered_model(name)
