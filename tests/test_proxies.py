"""Proxies of the environment: servers of this machine are asked without one, others by it."""

import os
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests

from espalier.settings.proxies import LOOPBACK_HOSTS, ask_directly

CLIENTS = {
    "urllib": lambda url: urllib.request.build_opener().open(url).read().decode(),
    "requests": lambda url: requests.get(url, timeout=60).text,
    "httpx": lambda url: httpx.get(url).text,
}


@pytest.fixture
def address():
    """A server that is a proxy as well: it answers with the path, or the whole address for a proxy."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def environment(monkeypatch):
    """An environment without proxies, which is as before after the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    return os.environ


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("given", [{}, {"no_proxy": "a.org"}, {"NO_PROXY": "a.org, .b.org"}])
def test_servers_of_this_machine_are_asked_without_a_proxy(environment, address, client, given):
    environment |= {"http_proxy": f"http://{address}", **given}
    ask_directly(*LOOPBACK_HOSTS)
    assert CLIENTS[client](f"http://{address}/own") == "/own"
    assert CLIENTS[client]("http://c.org/other") == "http://c.org/other"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*", "no_proxy": ""}),
        (
            {"HTTPS_PROXY": "http://p", "no_proxy": "a.org"},
            {
                "HTTPS_PROXY": "http://p",
                "no_proxy": "a.org,127.0.0.1,localhost",
                "NO_PROXY": "a.org,127.0.0.1,localhost",
            },
        ),
    ],
    ids=["without proxies", "none for all", "a list"],
)
def test_hosts_of_the_user_stay_in_the_lists(environment, given, expected):
    environment |= given
    for _ in range(2):
        ask_directly(*LOOPBACK_HOSTS)
    found = {name: environment.get(name, "") for name in expected}
    assert found == expected
    assert given or not [name for name in environment if name.lower().endswith("_proxy")]


def test_commands_ask_servers_of_this_machine_directly(environment):
    code = (
        "import os\n"
        "from espalier import cli\n"
        "parser, commands = cli.build()\n"
        "commands.add_parser('ask').set_defaults(run=lambda _: print(os.environ['no_proxy']))\n"
        "cli.main(['ask'], parser)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(environment, http_proxy="http://p"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "127.0.0.1,localhost\n"
