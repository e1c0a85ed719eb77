"""The build of the wheel: `pyproject.toml`, and a list of the tested versions as an SBOM (PEP 770)."""

import json
import re
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

CONSTRAINTS = Path(__file__).parent / "constraints.txt"
NAME = "espalier.cdx.json"
_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def sbom(version: str, constraints: str) -> dict[str, Any]:
    """The versions that the tests have seen together, in the format CycloneDX 1.6.

    It has neither time nor serial number, so that equal inputs give an equal wheel.

    Args:
        version: version of the project.
        constraints: content of `constraints.txt`.
    """
    pins = [match.groups() for line in constraints.splitlines() if (match := _PIN.match(line))]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("espalier", version, "application")},
        "components": [_component(name, pinned) for name, pinned in pins],
    }


def _component(name: str, version: str, kind: str = "library") -> dict[str, str]:
    """A package; its URL has the name as the index of packages spells it (PEP 503)."""
    spelled = re.sub(r"[-_.]+", "-", name).lower()
    url = f"pkg:pypi/{spelled}@{version}"
    return {"type": kind, "name": spelled, "version": version, "purl": url, "bom-ref": url}


class BdistWheelWithSbom(bdist_wheel):
    """The command that builds a wheel, with `.dist-info/sboms/` in it."""

    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        """Write the folder of metadata, then the SBOM into it."""
        super().egg2dist(egginfo_path, distinfo_path)
        folder = Path(distinfo_path, "sboms")
        folder.mkdir(exist_ok=True)
        content = sbom(self.distribution.get_version(), CONSTRAINTS.read_text())
        (folder / NAME).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    setup(cmdclass={"bdist_wheel": BdistWheelWithSbom})
