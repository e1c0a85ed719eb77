"""MLflow's basic-auth app: a user with a password registers and promotes; a wrong password is one sentence."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from registry.servers import serving
from selection import mostly_slow

from espalier.commands import evaluate, make

pytest.importorskip("flask_wtf", reason="MLflow's basic-auth app needs Flask-WTF")
USER, PASSWORD, WRONG = "admin", "pass-PLANTED-word", "wrong-PLANTED-word"
POLICY = {"champion": {"gates": {"drop": 1.0}}}


@pytest.fixture(scope="module")
def evaluated(tiny, tmp_path_factory):
    """A project with a teacher and a student, evaluated and not registered."""
    root = shutil.copytree(tiny, tmp_path_factory.mktemp("authentication") / "project")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["models"] = {"student": params["models"]["student"]}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "mlflow").mkdir()
    (root / "mlflow" / "gates.yaml").write_text(yaml.safe_dump(POLICY))
    make.run(root, "student")
    evaluate.run(root)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with the basic-auth app, and its folder."""
    folder = tmp_path_factory.mktemp("server")
    options = ("--app-name", "basic-auth")
    variables = {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "key-of-the-server",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
    }
    with serving(folder, *options, **variables) as address:
        yield address, folder


def espalier(root, *arguments, **variables):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-m", "espalier", *arguments],
        cwd=root,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def written(*folders):
    """The content of every file below some folders."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in paths}


@pytest.mark.slow
def test_a_user_with_a_password_registers_and_promotes(evaluated, server):
    address, folder = server
    access = {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }
    outputs = [espalier(evaluated, *words, **access) for words in (["register"], ["promote"])]
    assert [one.returncode for one in outputs] == [0, 0], [one.stderr for one in outputs]
    assert "digits@champion is version" in outputs[1].stdout
    assert not [one for one in outputs if PASSWORD in one.stdout + one.stderr]
    assert not [
        path for path, content in written(evaluated, folder).items() if b"PLANTED" in content
    ]


@pytest.mark.slow
def test_a_password_in_the_address_is_written_nowhere(evaluated, server):
    address, folder = server
    with_password = address.replace("://", f"://{USER}:{PASSWORD}@")
    output = espalier(evaluated, "register", MLFLOW_TRACKING_URI=with_password)
    assert output.returncode == 0, output.stderr
    assert "PLANTED" not in output.stdout + output.stderr
    assert not [
        path for path, content in written(evaluated, folder).items() if b"PLANTED" in content
    ]


@pytest.mark.parametrize(
    "command", mostly_slow(["register", "promote", "models", "rollback"], "register")
)
def test_a_wrong_password_ends_in_one_sentence_without_it(evaluated, server, command):
    address, _ = server
    given = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": WRONG}
    named = {"MLFLOW_TRACKING_URI": address.replace("://", f"://{USER}:{WRONG}@")}
    for variables in ({"MLFLOW_TRACKING_URI": address, **given}, named):
        output = espalier(evaluated, command, **variables)
        (line,) = [one for one in output.stderr.splitlines() if one]
        assert output.returncode == 2, line
        assert line.startswith("espalier: Expected the tracking store ")
        assert "to grant access; found" in line
        assert "PLANTED" not in output.stdout + output.stderr
