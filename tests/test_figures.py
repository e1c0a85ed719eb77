"""Figures in the docs are those of the committed results."""

import json
from importlib import import_module

import pytest

from espalier.records import read_models_table
from espalier.report.terminal import print_tree
from espalier.settings.tasks import headline_of


@pytest.fixture
def results(project_root):
    return project_root / "benchmarks" / "results"


def test_the_table_of_targets_is_that_of_the_results(project_root):
    """It says `met` where a bound is kept, and `missed` where it is not."""
    targets = import_module("targets")
    assert targets.table() in (project_root / "docs" / "benchmarks.md").read_text()
    for target in targets.TARGETS:
        assert (target.least is None) != (target.most is None)


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("bench_calibration", "benchmarks"),
        ("bench_growth", "benchmarks"),
        ("bench_openvino", "benchmarks"),
        ("bench_steps", "benchmarks"),
        ("bench_bytes", "lenet"),
        ("bench_lenet", "lenet"),
        ("bench_one_shot", "importing"),
        ("bench_ranges", "methods"),
        ("bench_claims", "methods"),
        ("bench_recovery", "methods"),
        ("bench_peer_recovery", "methods"),
        ("bench_peers", "methods"),
    ],
)
def test_a_table_of_the_page_is_that_of_its_result(project_root, name, page):
    benchmark = import_module(name)
    assert benchmark.table() in (project_root / "docs" / f"{page}.md").read_text()


def test_the_table_of_the_readme_is_that_of_its_run(project_root, results, capsys):
    rows = read_models_table(results / "digits.csv", "accuracy")
    print_tree(rows, headline_of("classification"))
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    readme = (project_root / "README.md").read_text()
    for line in shown[: len(rows) + 1]:
        assert line in readme, line
    record = json.loads((results / "digits.json").read_text())
    first, second = (f"{seconds:.0f}" for seconds in record["seconds"].values())
    text = " ".join(readme.split())
    assert f"{record['device']}" in text
    assert f"{first} seconds, and {second} seconds the second time" in text


def test_the_page_of_kinds_has_the_committed_figures(project_root):
    module = import_module("bench_kinds")
    assert module.table() in (project_root / "docs" / "kinds.md").read_text()


def test_the_front_of_clips_is_as_small_and_fast_as_the_page_says(project_root):
    results = project_root / "benchmarks" / "results"
    forms = json.loads((results / "audio_front.json").read_text())["forms"]
    page = (project_root / "docs" / "data.md").read_text()
    assert f"64 clips take {forms['formula']['ms_64']:.1f} ms" in page
    assert f"stored values ({forms['stored']['ms_64']:.1f} ms)" in page
    assert f"the {forms['STFT']['ms_64']:.0f} ms of ONNX's `STFT`" in page
    assert f"{(forms['stored']['bytes'] - forms['formula']['bytes']) / 1000:.0f} kB" in page


def test_the_simulation_of_graded_scores_holds_its_promise(project_root):
    results = project_root / "benchmarks" / "results"
    record = json.loads((results / "simulate_bounded.json").read_text())
    page = (project_root / "docs" / "judging.md").read_text()
    for row in record["rows"]:
        assert row["passed"] <= 0.025 + 3 * record["standard_error"]
        assert f"{100 * row['passed']:.1f} %" in page


def test_decoding_on_the_fly_costs_as_much_as_the_page_says(project_root):
    record = json.loads((project_root / "benchmarks" / "results" / "decoding.json").read_text())
    memory, whole, crops, processes = (
        record["ways"][way]
        for way in ("in memory", "on the fly, whole", "on the fly", "worker processes")
    )
    page = " ".join((project_root / "docs" / "data.md").read_text().split())
    for text in (
        f"{memory['reading']:,} images a second are read from memory",
        f"{crops['reading']} decoded as crops and {whole['reading']} whole",
        f"trains on {crops['training']} images a second beside {memory['training']}",
        f"Decoding takes {crops['own_mb']} MB of memory of its own",
        f"would decode {processes['reading']} and take {processes['own_mb']} MB",
        f"{record['train_mb']['on_the_fly']:.0f} MB instead of {record['train_mb']['ahead']:.0f} MB",
        f"load of {record['load_before']}",
    ):
        assert text in page, text


def test_two_workers_take_as_long_as_the_page_says(project_root):
    record = json.loads((project_root / "benchmarks" / "results" / "fleet.json").read_text())
    assert record["equal_weights"]
    assert record["night_bytes_moved"] == 0
    page = " ".join((project_root / "docs" / "fleet.md").read_text().split())
    one, two = record["seconds"]["1"], record["seconds"]["2"]
    for text in (
        f"took {one:.0f} s on one worker and {two:.0f} s on two, {record['ratio']:.2f} of it",
        f"A night with nothing new takes {record['night_with_nothing_new_seconds']:.0f} s and moves no byte",
        f"{record['command']}`, {record['device']}, {record['processors']} processors",
    ):
        assert text in page, text


def test_the_disturbed_runs_of_two_workers_are_those_that_the_page_says(project_root):
    record = json.loads((project_root / "docs" / "reliability_fleet.json").read_text())
    page = " ".join((project_root / "docs" / "fleet.md").read_text().split())
    unharmed = record["runs"] - len(record["faults"])
    assert sum(record["disturbed"].values()) == record["runs"]
    assert f"{unharmed} of {record['runs']} runs trained the teacher once" in page
    assert f"in {record['minutes']} minutes" in page


def test_the_imported_network_at_half_its_work_is_as_good_as_the_page_says(project_root, results):
    record = json.loads((results / "imported" / "half.json").read_text())
    page = (project_root / "docs" / "importing.md").read_text()
    for name, found in record["models"].items():
        assert f"| {name} | {100 * found['accuracy']:.1f} % |" in page
        assert f"| {found['speedup_1']:.1f}x | {found['speedup_64']:.1f}x |" in page


def test_the_imported_network_in_few_kilobytes_is_as_good_as_the_page_says(project_root, results):
    record = json.loads((results / "imported" / "bytes.json").read_text())
    page = (project_root / "docs" / "importing.md").read_text()
    for name in ("narrow", "cheap", "cheaper", "cheapest"):
        found = record["models"][name]
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {found['packed_bytes']:,} bytes | {100 * found['accuracy']:.1f} % |" in row
    seconds = sum(found["seconds"] for found in record["models"].values())
    assert f"{seconds / 60:.0f} minutes of training" in page


def test_the_small_network_is_as_good_as_the_page_says(project_root, results):
    models = json.loads((results / "imported" / "small.json").read_text())["models"]
    page = (project_root / "docs" / "importing.md").read_text()
    for name in ("small", "longer", "small-int8"):
        found = models[name]
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {found['bytes']:,.0f} bytes | {100 * found['accuracy']:.1f} % |" in row
        assert f"| {found['speedup_1']:.1f}x |" in row


def test_the_network_in_twelve_kilobytes_is_as_good_as_the_page_says(project_root, results):
    models = json.loads((results / "imported" / "packed.json").read_text())["models"]
    page = (project_root / "docs" / "importing.md").read_text()
    for name in ("medium", "packed", "packed-more", "packed-last"):
        found = models[name]
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {found['packed_bytes']:,} bytes | {100 * found['accuracy']:.1f} % |" in row
        assert f"| {found['epochs']} |" in row
    smallest = models["packed-last"]
    kilobytes, percent = smallest["packed_bytes"] / 1000, 100 * smallest["accuracy"]
    readme = " ".join((project_root / "README.md").read_text().split())
    assert f"CIFAR-10 in a file of {kilobytes:.1f} KB, right on {percent:.1f} %" in readme


def test_a_cut_without_training_is_as_good_as_the_readme_says(project_root, results):
    rows = json.loads((results / "one_shot.json").read_text())["rows"]
    whole, *cuts = (row for row in rows if row["network"] == "ResNet-56")
    half = min(cuts, key=lambda row: row["macs"])
    readme = " ".join((project_root / "README.md").read_text().split())
    assert f"right on {half['fitted']} instead of {whole['whole']} % of CIFAR-10" in readme


@pytest.mark.parametrize("size", [1_000, 2_500, 6_000])
def test_the_smallest_files_of_the_readme_are_those_of_the_results(project_root, size):
    _, row = import_module("bench_bytes").best_within(size)
    length = f"{row['bytes']} bytes" if row["bytes"] < 1000 else f"{row['bytes'] / 1000:.1f} KB"
    readme = " ".join((project_root / "README.md").read_text().split())
    assert f"{length} at {row['test']:.2f} %" in readme
