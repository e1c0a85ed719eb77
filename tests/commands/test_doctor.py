"""`espalier doctor`: findings on the machine and the project, and refusals with a way out."""

import pytest

from espalier.commands import doctor, init
from espalier.errors import BadInput


def test_a_new_project_has_all_that_a_run_needs(tmp_path, capsys):
    init.run(tmp_path, "folder")
    doctor.run(tmp_path)
    assert "not there yet" in capsys.readouterr().out


def test_entrypoints_of_former_versions_are_refused(tmp_path):
    init.run(tmp_path, "folder")
    deployments = tmp_path / "prefect.yaml"
    deployments.write_text(deployments.read_text().replace("espalier.flows.", "flows."))
    with pytest.raises(BadInput, match=r"`espalier\.flows\.`; found `flows\.`.*prefect deploy"):
        doctor.run(tmp_path)
