"""The webhook reports every move of an alias, and a failing webhook undoes nothing."""

import json
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from espalier.errors import Notice
from espalier.registry.promotion.audit import Move, State
from espalier.registry.promotion.webhook import send_webhook

MOVE = Move(
    3,
    "champion",
    "1",
    "2",
    "b" * 64,
    "a" * 64,
    "promoted",
    "me@here",
    "run",
    1_700_000_000_000,
    State.DONE,
)


@pytest.fixture
def listening():
    """A real server, its address, and what was posted to it."""
    heard = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_line_of_the_audit_is_posted_in_json(listening):
    address, heard = listening
    send_webhook(f"{address}/moved", "digits", MOVE)
    ((path, kind, message),) = heard
    assert (path, kind) == ("/moved", "application/json")
    assert (message["model"], message["alias"], message["former"], message["to"]) == (
        "digits",
        "champion",
        "1",
        "2",
    )
    assert (message["content"], message["reason"], message["who"], message["state"]) == (
        "b" * 64,
        "promoted",
        "me@here",
        "done",
    )


def test_without_an_address_nothing_is_sent(listening):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        send_webhook("", "digits", MOVE)
    assert listening[1] == []


def test_a_listener_that_fails_or_is_not_there_is_a_notice(listening):
    for address in (f"{listening[0]}/broken", "http://127.0.0.1:9/"):
        with pytest.warns(Notice, match=r"to accept the move of digits@champion; found"):
            send_webhook(address, "digits", MOVE)
