"""Each alias that this user moves here is an event of Prefect; lines that come from elsewhere are none."""

import json
import socket
import time
import warnings
from dataclasses import replace

import pytest
from prefect.client.orchestration import get_client

from espalier.errors import Notice
from espalier.registry.promotion import Move, State, user
from espalier.registry.promotion.audit_chain import chain
from espalier.tasks.events import EVENT, events_of_moves

HERE = f"{user()}@{socket.gethostname()}"
MOVE = Move(
    1, "champion", None, "3", "c" * 64, None, "promoted", HERE, "run", 1_700_000_000_000, State.DONE
)


@pytest.fixture
def audit(tmp_path):
    """A function that writes the audit of a registered model."""

    def write(name, *moves):
        path = tmp_path / "mlflow" / "audit" / f"{name.replace('/', '%2F')}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        numbered = [replace(move, number=number) for number, move in enumerate(moves, start=1)]
        path.write_text("".join(f"{line.text}\n" for line in chain(name, numbered)))

    return write


def received(resource, number):
    """The payloads of the events of a resource on the server, once there are as many."""
    wanted = {"filter": {"resource": {"id": [resource]}, "event": {"name": [EVENT]}}}
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            events = client._client.post("/events/filter", json=wanted).json()["events"]
            if len(events) >= number or time.monotonic() > deadline:
                return [event["payload"] for event in events]
            time.sleep(0.2)


@pytest.mark.usefixtures("server")
def test_the_moves_of_a_command_are_events(tmp_path, audit):
    name = f"digits {tmp_path.name}"
    audit(name, MOVE)
    later = replace(MOVE, former="3", to="5")
    others = [replace(later, who="ann@elsewhere"), replace(later, state=State.LOST)]
    with events_of_moves(tmp_path):
        audit(name, MOVE, *others, later)
    (payload,) = received(f"espalier.alias.{name}.champion", 1)
    assert (payload["model"], payload["former"], payload["to"]) == (name, "3", "5")
    assert (payload["number"], payload["who"]) == (4, HERE)


def test_without_a_move_prefect_is_not_asked(tmp_path, audit, monkeypatch):
    monkeypatch.setattr("prefect.events.emit_event", None)
    audit("digits", MOVE)
    with warnings.catch_warnings(), events_of_moves(tmp_path):
        warnings.simplefilter("error")


def test_an_event_that_cannot_be_sent_is_a_warning(tmp_path, audit, monkeypatch):
    def broken(*_given, **_more):
        raise RuntimeError("no server")

    monkeypatch.setattr("prefect.events.emit_event", broken)
    with (
        pytest.warns(Notice, match=f"accept the event {EVENT}; found: no server"),
        events_of_moves(tmp_path),
    ):
        audit("digits", MOVE)


def test_a_damaged_file_is_no_move(tmp_path):
    folder = tmp_path / "mlflow" / "audit"
    folder.mkdir(parents=True)
    with events_of_moves(tmp_path):
        (folder / "digits.jsonl").write_text(json.dumps({"number": 1}) + "\n")
