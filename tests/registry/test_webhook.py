"""The webhook reports every move of an alias, and a failing webhook undoes nothing."""

import hashlib
import hmac
import json
import socket
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from espalier.errors import BadInput, Notice
from espalier.params import read_params
from espalier.registry.promotion import webhook
from espalier.registry.promotion.audit import Move, State
from espalier.registry.promotion.webhook import SECRET, SIGNATURE, send_failure, send_webhook

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
            signature = self.headers[SIGNATURE]
            heard.append((self.path, self.headers["Content-Type"], json.loads(body), signature))
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
    ((path, kind, message, signature),) = heard
    assert (path, kind, signature) == ("/moved", "application/json", None)
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


TOKEN = "T0KEN"


@pytest.fixture
def answering():
    """Start a server of raw bytes: the function gets the connection after a request has come."""
    servers = []

    def start(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            try:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    answer(connection)
            except OSError:
                pass  # the client has closed the connection, or the test has ended

        threading.Thread(target=serve, daemon=True).start()
        return f"http://user:{TOKEN}@127.0.0.1:{server.getsockname()[1]}/{TOKEN}?key={TOKEN}"

    yield start
    for server in servers:
        server.close()


def said_of(address):
    with pytest.warns(Notice, match=r"to accept the failure of a run of digits; found") as said:
        send_failure(address, "digits", "teacher: Expected a; found b.")
    (sentence,) = {str(one.message) for one in said}
    assert TOKEN not in sentence
    return sentence


HEADERS = b"".join(b"X-%d: y\r\n" % number for number in range(300))


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage",
        b"",
        b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99999 \xff\r\n\r\n",
    ],
    ids=["garbage", "nothing", "300 headers", "redirect", "no status"],
)
def test_an_odd_answer_is_a_notice_without_the_token(answering, answer):
    said_of(answering(lambda connection: connection.sendall(answer)))


@pytest.mark.parametrize(
    "address",
    [
        f"http://127.0.0.1:99999/{TOKEN}",
        f"http://\u00fc..invalid/{TOKEN}",
        f"http://[::1/{TOKEN}",
        f"https://127.0.0.1:9/{TOKEN}",
        f"http:///{TOKEN}",
    ],
)
def test_an_odd_address_is_a_notice_without_the_token(address):
    said_of(address)


def test_an_answer_without_end_takes_no_longer_than_the_limit(answering, monkeypatch):
    monkeypatch.setattr(webhook, "SECONDS", 0.5)

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"y")
            time.sleep(0.1)

    began = time.monotonic()
    assert "no answer within 0.5 s" in said_of(answering(drip))
    assert time.monotonic() - began < 10


def test_a_body_is_signed_with_the_secret(listening, monkeypatch):
    address, heard = listening
    monkeypatch.setenv(SECRET, "shared")
    monkeypatch.setenv("ADDRESS", f"{address}/{TOKEN}")
    send_failure("env:ADDRESS", "digits", "teacher: Expected a; found b.")
    ((path, _, message, signature),) = heard
    assert path == f"/{TOKEN}"
    body = json.dumps(message).encode()
    assert signature == "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()


def test_a_variable_that_is_not_set_is_a_notice(monkeypatch):
    monkeypatch.delenv("ADDRESS", raising=False)
    assert "webhook env:ADDRESS" in said_of("env:ADDRESS")


@pytest.mark.parametrize("address", [f"ftp://x/{TOKEN}", TOKEN, "env:", "env:A B"])
def test_parameters_refuse_another_text_without_repeating_it(tmp_path, address):
    (tmp_path / "params.yaml").write_text(
        f"teacher: {{model: 'espalier:mlp', epochs: 1}}\nregistry: {{webhook: '{address}'}}\n"
    )
    with pytest.raises(BadInput, match=r"`registry\.webhook` to be an http or https") as refused:
        read_params(tmp_path)
    assert TOKEN not in str(refused.value)
