"""The compose file, as far as it can be checked without containers: its references, commands and options."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from registry.servers import COMPOSE

from espalier.tasks.fleet.request import POOL
from espalier.tasks.services.orchestration import LEASES
from espalier.tasks.services.settings import BUCKETS, DATABASES, FLOWS_POOL, QUEUES

ROOT = COMPOSE.parents[1]
CONTENT = yaml.safe_load(COMPOSE.read_text())
SERVICES = CONTENT["services"]
VARIABLE = re.compile(r"\$\{(\w+)(:\?[^}]+)?\}")
PYTHON = {name: one for name, one in SERVICES.items() if one["image"] == "espalier-fleet"}


def words_of(service):
    """The arguments of a service's command, with those inside `sh -c`."""
    command = service.get("command") or service.get("entrypoint") or []
    return command[2].split() if command[:2] == ["sh", "-c"] else command


def test_every_service_has_an_image_and_depends_on_services_with_a_health_check():
    assert set(SERVICES) >= {"postgres", "s3", "mlflow", "prefect", "worker-gpu", "worker-bench"}
    for name, service in SERVICES.items():
        assert service["image"], name
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, name
            assert SERVICES[other]["healthcheck"]["test"][0] == "CMD", other


def test_volumes_and_configs_are_declared():
    for name, service in SERVICES.items():
        named = [one.partition(":")[0] for one in service.get("volumes", ())]
        assert {one for one in named if not one.startswith(".")} <= set(CONTENT["volumes"]), name
        assert {one["source"] for one in service.get("configs", ())} <= set(CONTENT["configs"])


def test_every_secret_is_required_and_made_by_the_first_lines():
    head = COMPOSE.read_text().partition("services:")[0]
    found = VARIABLE.findall(COMPOSE.read_text())
    assert len({name for name, _ in found}) == 5
    for name, check in found:
        assert check, name
        assert re.search(rf"for name in [^;]*\b{name}\b", head), name


def test_no_password_is_an_argument_of_a_command():
    for name, service in SERVICES.items():
        assert not VARIABLE.search(" ".join(words_of(service))), name


def test_the_build_copies_files_that_exist():
    text = SERVICES["mlflow"]["build"]["dockerfile_inline"]
    context = (COMPOSE.parent / SERVICES["mlflow"]["build"]["context"]).resolve()
    assert context == ROOT
    named = re.findall(r"/espalier/([\w.]+)", text)
    assert named == ["constraints.txt"]
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize("name", sorted(PYTHON))
def test_commands_exist_and_know_their_options(name):
    words = words_of(SERVICES[name])
    program, *rest = words
    if program == "python":
        assert rest[:2] == ["-m", "espalier.tasks.services.pools"]
        return
    spoken = [word for word in rest if not word.startswith("-")]
    helped = subprocess.run(
        [sys.executable, "-m", program, *spoken, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "HOME": "/nonexistent"},
    ).stdout
    for option in (word.partition("=")[0] for word in rest if word.startswith("-")):
        assert option in helped, f"{program}: {option}"


def test_databases_buckets_pools_and_queues_are_those_of_the_services_without_containers():
    text = COMPOSE.read_text()
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == DATABASES[0]
    assert CONTENT["configs"]["databases"]["content"] == f"CREATE DATABASE {DATABASES[1]};"
    assert all(f"/data/{bucket}" in text for bucket in BUCKETS)
    workers = [one for name, one in SERVICES.items() if name.startswith("worker-")]
    pools = {word for one in workers for word in one["command"] if word.startswith("--pool=")}
    assert pools == {f"--pool={FLOWS_POOL}", f"--pool={POOL}"}
    queues = {word for one in workers for word in one["command"] if "queue" in word}
    assert queues == {f"--work-queue={queue}" for queue in QUEUES}


def test_leases_of_running_flows_outlive_the_server():
    server = SERVICES["prefect"]
    assert server["environment"]["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == LEASES
    assert f"prefect:{server['environment']['PREFECT_HOME']}" in server["volumes"]
    assert find_spec(LEASES)


def test_modules_that_the_file_names_exist():
    for module in re.findall(r"-m (espalier[\w.]+)", COMPOSE.read_text()):
        assert Path(ROOT, *module.split(".")).with_suffix(".py").exists(), module
