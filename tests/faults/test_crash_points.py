"""Stages that are killed at a call that changes files, and repeated, end with the same bits.

`make faults` plays thousands of such scenarios.
"""

import json

import pytest
from faults.crash import record
from faults.crash.forks import KILLED, Forks, build_shim
from faults.crash.scenarios import chains, play
from faults.crash.tree import STAGES, Tree
from faults.crash.whole_runs import REPRO

FIRST = STAGES[:4]  # to the pruned student; what follows takes longer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forks")
    shim = build_shim(folder)
    if shim is None:
        pytest.skip("there is no C compiler, or no preloading")
    with Forks(shim, folder / "log") as forks:
        yield forks


@pytest.fixture(scope="module")
def tree(forks, tmp_path_factory, project_root):
    folder = tmp_path_factory.mktemp("tree")
    return Tree.grow(folder, project_root / ".dvc" / "embedded", [forks], FIRST)


@pytest.mark.parametrize("stage", FIRST)
def test_a_stage_that_is_killed_at_any_call_ends_with_the_same_bits(stage, tree, forks, tmp_path):
    results = [
        play(scenario, tree, forks, tmp_path / "at")
        for scenario in chains(stage, tree.calls[stage], count=6, length=4, seed=1)
    ]
    assert [problem for result in results for problem in result.problems] == []
    assert sum(result.trained_again for result in results) == 0
    assert sum(result.kills for result in results) >= 6


def test_the_shim_counts_the_same_calls_twice_and_kills_at_each(tree, forks, tmp_path):
    calls = tree.calls["make@student"]
    root = tree.start("make@student", tmp_path / "at")
    assert forks.run(root, "make@student").calls == calls
    root = tree.start("make@student", tmp_path / "at")
    assert forks.run(root, "make@student", calls).status == KILLED
    root = tree.start("make@student", tmp_path / "at")
    assert forks.run(root, "make@student", calls + 1).status == 0


def test_the_documents_have_the_figures_of_the_record(project_root):
    found = json.loads((project_root / record.RECORD).read_text())
    page = (project_root / record.PAGE).read_text()
    assert record.table(found) in page
    for path in (record.PAGE, record.README):
        assert record.stated((project_root / path).read_text()) == [record.sentence(found)], path


def test_the_record_has_no_scenario_that_ended_differently(project_root):
    stages = json.loads((project_root / record.RECORD).read_text())["stages"]
    assert tuple(stages) == (*STAGES, REPRO)
    for stage, tally in stages.items():
        assert (tally["differing"], tally["trained_again"]) == (0, 0), stage
        assert tally["kills"] > 0, stage
