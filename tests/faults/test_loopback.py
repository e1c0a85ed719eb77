"""Servers listen on the loopback address alone, whether the code starts them or a command in the documents."""

import re
from pathlib import Path

import pytest
import yaml

from espalier.tasks.server import serve

ROOT = Path(__file__).resolve().parents[2]
LISTENING = "0A"  # state of a socket in /proc/net/tcp
HOST = re.compile(r"--host[= ](\S+)|(?<!\d)(0\.0\.0\.0|\[::\])")


def listeners(port):
    """Addresses on which this machine listens at a port, in the hexadecimal form of the kernel."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == LISTENING and int(number, 16) == port:
                found.append(address)
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs the tables of Linux")
def test_the_runs_own_server_listens_on_the_loopback_address_alone(tmp_path):
    with serve(tmp_path) as server:
        port = int(server.url.rpartition(":")[2].removesuffix("/api"))
        assert listeners(port) == ["0100007F"]


def test_the_team_server_publishes_its_port_on_the_loopback_address():
    services = yaml.safe_load((ROOT / "mlflow" / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_document_and_no_code_opens_a_server_to_the_network():
    folders = (ROOT / "docs", ROOT / "espalier", ROOT / "flows", ROOT / "tasks", ROOT / "examples")
    paths = [path for folder in folders for path in folder.rglob("*")]
    paths += [ROOT / "README.md", ROOT / "prefect.yaml", ROOT / "mlflow" / "README.md"]
    texts = [path for path in paths if path.suffix in (".md", ".py", ".yaml", ".toml")]
    assert len(texts) > 100
    for path in texts:
        assert [host[0] for host in HOST.finditer(path.read_text()) if host[1] != "127.0.0.1"] == []
