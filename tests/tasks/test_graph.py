import shutil
import subprocess
import sys

import pytest
import sample_projects

from espalier.errors import BadInput
from espalier.tasks.graph import read_graph


def stale(root, force=()):
    return {stage.label for stage in read_graph(root, force).stale}


def test_stages_are_those_of_dvc_each_after_those_it_needs(root):
    stages = read_graph(root).stages
    names = [stage.name for stage in stages]
    assert sorted(names) == sorted(
        [
            "prepare",
            "teacher",
            "model@student",
            "model@student-p50",
            "model@other",
            "evaluate",
            "register",
        ]
    )
    assert all(
        names.index(need) < names.index(stage.name) for stage in stages for need in stage.needs
    )


def test_everything_is_stale_in_a_new_project(root):
    assert len(stale(root)) == 7


def test_needs_are_the_edges_of_the_graph(root):
    needs = {stage.label: set(stage.needs) for stage in read_graph(root).stages}
    assert needs["prepare"] == set()
    assert needs["student-p50"] == {"model@student"}
    assert needs["evaluate"] == {
        "prepare",
        "teacher",
        "model@student",
        "model@student-p50",
        "model@other",
    }


def test_label_of_a_model_is_its_name(root):
    assert {stage.label for stage in read_graph(root).stages if stage.kind == "model"} == {
        "student",
        "student-p50",
        "other",
    }


def test_names_do_not_depend_on_the_current_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = read_graph(root)
    monkeypatch.chdir(root / "data")
    assert read_graph(root) == outside


def test_only_a_changed_entry_and_its_descendants_are_stale(built_project):
    assert stale(built_project) == set()
    sample_projects.write_params(built_project, student={"keep_macs": 0.8})

    assert stale(built_project) == {"student", "student-p50", "evaluate", "register"}


def test_a_lost_output_makes_its_stage_and_descendants_stale(built_project):
    (built_project / "models" / "student-p50" / "content").unlink()
    assert stale(built_project) == {"student-p50", "evaluate", "register"}


def test_forced_stage_is_stale_by_label_or_name(built_project):
    assert (
        stale(built_project, ["other"])
        == stale(built_project, ["model@other"])
        == {"other", "evaluate", "register"}
    )
    assert [
        stage.label for stage in read_graph(built_project, ["other"]).stages if stage.forced
    ] == ["other"]


def test_forcing_an_unknown_stage_lists_the_known_ones(root):
    with pytest.raises(BadInput, match=r"one of prepare, teacher, .*found 'nothing'"):
        read_graph(root, ["nothing"])


def test_changed_dependencies_do_not_make_a_frozen_stage_stale(built_project):
    sample_projects.call(built_project, "dvc", "freeze", "teacher")
    (built_project / "data" / "content").write_text("other data\n")
    assert stale(built_project) == {"prepare", "evaluate", "register"}


def test_missing_and_changed_data_are_named(root):
    assert read_graph(root).missing_data == ()
    (root / "data" / "content").unlink()
    assert read_graph(root).missing_data == ("data.dvc",)


def test_broken_pipeline_is_bad_input_in_one_sentence(root):
    (root / "dvc.yaml").write_text("stages: {prepare: {deps: [data]}}\n")
    with pytest.raises(
        BadInput, match=r"^Expected a project in .* that DVC can read; found: [^\n]*dvc.yaml[^\n]*$"
    ):
        read_graph(root)


def test_an_entry_without_a_parent_is_named(tmp_path):
    sample_projects.call(tmp_path, "espalier", "init", "new", "--recipe", "digits")
    params = tmp_path / "new" / "params.yaml"
    text = params.read_text().replace("\nmodels:\n", "\nmodels:\n  alone: {by: train}\n")
    params.write_text(text)
    with pytest.raises(BadInput, match=r"params.yaml:\d+ to have the key `models.alone.from`"):
        read_graph(params.parent)


def test_a_project_without_data_says_how_to_get_them(root):
    shutil.rmtree(root / "data")
    (root / "data.dvc").unlink(missing_ok=True)
    with pytest.raises(
        BadInput, match=r"prepare: Expected .*data to exist; .*`espalier data SOURCE`"
    ):
        read_graph(root)


def test_data_that_dvc_can_pull_are_not_missing(root):
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", "data"], cwd=root, check=True)
    shutil.rmtree(root / "data")
    assert read_graph(root).missing_data == ("data.dvc",)
