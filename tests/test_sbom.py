"""The wheel lists the versions that the tests have seen together, as PEP 770 says."""

import json
import shutil
import subprocess
import sys
import zipfile

import pytest

NEEDED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt")
MATTERING = ("torch", "mlflow", "prefect", "dvc", "onnxruntime", "pillow", "pyarrow", "safetensors")


@pytest.fixture(scope="module")
def wheel(project_root, tmp_path_factory):
    """The built wheel, from a copy: a build leaves folders behind."""
    root = tmp_path_factory.mktemp("build")
    for name in NEEDED:
        shutil.copy(project_root / name, root / name)
    shutil.copytree(
        project_root / "espalier", root / "espalier", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", root / "dist", root], check=True, timeout=200)
    (path,) = (root / "dist").glob("*.whl")
    return path


def test_the_wheel_lists_every_pinned_version(wheel, project_root):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if ".dist-info/sboms/" in one]
        bom = json.loads(archive.read(name))
        record = next(one for one in archive.namelist() if one.endswith("/RECORD"))
        assert name in archive.read(record).decode()
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    found = {one["name"]: one["version"] for one in bom["components"]}
    lines = (project_root / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    assert found == {
        name.lower().replace("_", "-").replace(".", "-"): pin for name, pin in pins.items()
    }
    assert found["torch"] == pins["torch"]
    assert len({one["bom-ref"] for one in bom["components"]}) == len(found)


def test_the_reviewed_versions_of_the_page_are_the_pinned_ones(project_root):
    lines = (project_root / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    page = (project_root / "docs" / "security.md").read_text()
    for name in MATTERING:
        assert f"| `{name}` {pins[name]} |" in page, name
