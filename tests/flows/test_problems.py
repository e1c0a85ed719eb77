"""`espalier run --dry` says all that a run would refuse, and a run begins with it."""

import shutil

import pytest
import yaml

from espalier.making.problems import find_problems

TEACHER = {"model": "espalier:resnet", "epochs": 1}
TAUGHT = {
    "from": "teacher",
    "by": "distill",
    "model": "espalier:mlp",
    "losses": [{"loss": "labels", "head": "color"}],
}
CUT = {"from": "teacher", "by": "prune", "keep_macs": 0.5}


@pytest.fixture
def project(tmp_path, project_root):
    (tmp_path / "mlflow").mkdir()
    shutil.copy(project_root / "mlflow" / "gates.yaml", tmp_path / "mlflow" / "gates.yaml")
    return tmp_path


def declare(root, **content):
    (root / "params.yaml").write_text(yaml.safe_dump({"teacher": TEACHER} | content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"teacher": TEACHER | {"model": "espalier:resnett"}},
            ["teacher", "resnett", "wide_resnet"],
        ),
        ({"teacher": TEACHER | {"model": "torchvision:resnet19"}}, ["torchvision", "resnet19"]),
        ({"teacher": TEACHER | {"model": "own:net"}}, ["own", "trusted"]),
        ({"teacher": TEACHER | {"epoch": 3}}, ["teacher.epoch", "epochs"]),
        ({"models": {"a": CUT | {"finetune": {"epoch": 3}}}}, ["epoch"]),
        (
            {"models": {"a": CUT | {"score": "own:score"}}, "trusted": ["own"]},
            ["own:score", "importable"],
        ),
        ({"teacher": {"by": "import", "model": "espalier:mlp", "weights": "no.pth"}}, ["no.pth"]),
        (
            {"data": {"heads": {"colour": {}, "cost": {}}}, "models": {"a": TAUGHT}},
            ["a: ", "colour, cost", "'color'"],
        ),
        ({"models": {"a": TAUGHT}}, ["a: ", "data.heads", "'color'"]),
        ({"teacher": {"model": "espalier:mlp", "epochs": 0}}, ["epochs", "by: import"]),
    ],
)
def test_a_problem_is_found_before_anything_runs(project, content, words):
    declare(project, **content)
    (problem,) = find_problems(project)
    assert all(word in problem for word in words), problem


def test_all_problems_are_said_at_once(project):
    gates = project / "mlflow" / "gates.yaml"
    gates.write_text(gates.read_text().replace("drop:", "dropp:", 1))
    declare(
        project,
        teacher=TEACHER | {"model": "espalier:resnett"},
        models={"a": CUT | {"score": "own:score"}},
        trusted=["own"],
        registry={"promote": True},
    )
    assert len(find_problems(project)) == 3


@pytest.mark.parametrize(
    ("policy", "found"),
    [({"champion": {"candidates": ["student"]}}, "'student'"), ({"a": {}}, "'a'")],
    ids=["a candidate that is no entry", "an alias that is one"],
)
def test_gates_with_the_names_of_other_entries_are_found_before_anything_is_trained(
    project, policy, found
):
    (project / "mlflow" / "gates.yaml").write_text(yaml.safe_dump(policy))
    declare(project, models={"a": CUT}, registry={"promote": True})
    (problem,) = find_problems(project)
    assert found in problem


def test_the_project_itself_has_none(project_root):
    assert find_problems(project_root) == []


def test_sections_that_dvc_needs_are_named_with_the_lines_to_add(project, project_root):
    shutil.copy(project_root / "dvc.yaml", project / "dvc.yaml")
    declare(project, models={})
    (problem,) = find_problems(project)
    assert all(word in problem for word in ("seed: 0", "data: {}", "trusted: []", "registry: {}"))
    sections = {
        "seed": 0,
        "trusted": [],
        "data": {},
        "training": {},
        "evaluation": {},
        "registry": {},
    }
    declare(project, models={}, **sections)
    assert find_problems(project) == []
