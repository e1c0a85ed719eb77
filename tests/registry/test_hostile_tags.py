"""Tags that another client of the store sets end no command with a traceback."""

import pytest
from mlflow import MlflowClient

from espalier.commands import models
from espalier.errors import BadInput
from espalier.registry import register
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import Audit, State
from espalier.registry.promotion.champion import fetch_champion
from espalier.registry.versions import Registry, open_registry

MARKUP = "[/x] [red] \x1b[2J ü"


@pytest.fixture
def client(project):
    """A client of a store in which every text of a version and of a line is markup."""
    register(project.root, project.params)
    store = find_store(project.root)
    with connect(store) as client:
        registry = open_registry(client, store, "digits")
        run = client.create_run(registry.experiment).info.run_id
        Audit(client, "digits").open_move(
            run, alias=MARKUP, to=MARKUP, reason=MARKUP, content=MARKUP
        )
    client = MlflowClient(store.uri, store.uri)
    for tag in ("entry", "content", "by"):
        client.set_model_version_tag("digits", "2", f"espalier.{tag}", MARKUP)
    return client


@pytest.mark.parametrize("state", ["foo", "[/x]", "DONE", " done"])
def test_an_unknown_state_is_listed_as_one(project, client, capsys, state):
    client.set_model_version_tag("digits.audit", "1", "espalier.state", state)
    client.set_model_version_tag("digits.audit", "1", "espalier.when", "9" * 30)
    models.run(project.root)
    listed = capsys.readouterr().out
    assert "[/x] [red] \\x1b[2J ü" in listed
    assert "unknown" in listed
    (move,) = Audit(client, "digits").moves()
    assert (move.state, move.state.is_final) == (State.UNKNOWN, False)


def test_a_version_whose_run_is_gone_is_listed(project, client, capsys):
    client.create_model_version("digits", "file:///etc", "0" * 32)
    client.create_model_version("digits", "file:///etc")
    models.run(project.root)
    assert "student-p50" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["' or name = 'x", "%", "", "[/x]"])
def test_a_content_that_is_no_hash_is_no_part_of_a_search(project, client, tmp_path, content):
    client.set_model_version_tag("digits", "2", "espalier.content", content)
    client.set_registered_model_alias("digits", "champion", "2")
    store = find_store(project.root)
    with pytest.raises(BadInput, match="models:/digits/2 to hold"), connect(store) as connected:
        fetch_champion(Registry(connected, store, "digits"), "champion", tmp_path / "champion")
