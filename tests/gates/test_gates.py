"""A policy is read as it is meant or refused, and a gate that cannot be evaluated does not open."""

from dataclasses import replace
from pathlib import Path

import pytest
from properties import assert_explains

from espalier import judging
from espalier.errors import BadInput
from espalier.gates import Figures, Gates, choose, judge, read_policies

GOOD = Figures(
    examples=359,
    score=0.98,
    drop=0.02,
    champion_drop=0.01,
    worst_class_drop=0.2,
    bytes=50_000,
    bytes_ratio=0.1,
    milliseconds=0.05,
    latency_ratio=0.3,
    memory=1e6,
    torch_agreement=0.99,
    finite=True,
    data="d" * 64,
    current_data="d" * 64,
)
BOUNDS = {
    "examples": 300,
    "drop": 0.03,
    "champion_drop": 0.03,
    "worst_class_drop": 0.3,
    "bytes": 60_000,
    "bytes_ratio": 0.125,
    "latency_ratio": 0.5,
    "memory": 2_000_000,
    "torch_agreement": 0.97,
}
ALL = Gates(**BOUNDS)


def failed(figures, gates=ALL):
    return [verdict.gate for verdict in judge(gates, figures) if not verdict.passed]


def test_a_good_model_passes_every_gate_and_each_has_a_row():
    verdicts = judge(ALL, GOOD)
    assert [verdict.gate for verdict in verdicts] == ["files", "finite", "data", *BOUNDS]
    assert failed(GOOD) == []


@pytest.mark.parametrize("gate", BOUNDS)
def test_a_bound_is_part_of_what_passes_and_just_beyond_it_is_not(gate):
    whole = gate in ("examples", "bytes", "memory")
    step = 1 if whole else 1e-6
    beyond = BOUNDS[gate] + (-step if gate in ("examples", "torch_agreement") else step)
    assert failed(replace(GOOD, **{gate: BOUNDS[gate]})) == []
    assert failed(replace(GOOD, **{gate: beyond})) == [gate]


@pytest.mark.parametrize("gate", BOUNDS)
def test_a_figure_that_is_no_number_passes_nothing(gate):
    assert failed(replace(GOOD, **{gate: float("nan")})) == [gate]
    (row,) = [
        verdict
        for verdict in judge(ALL, replace(GOOD, **{gate: float("nan")}))
        if verdict.gate == gate
    ]
    assert row.found == "could not be evaluated"


@pytest.mark.parametrize("gate", BOUNDS)
def test_a_bound_that_is_not_given_is_not_checked(gate):
    bounds = {name: bound for name, bound in BOUNDS.items() if name != gate}
    assert gate not in [verdict.gate for verdict in judge(Gates(**bounds), GOOD)]


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"finite": False}, "finite"),
        ({"data": "e" * 64}, "data"),
        ({"data": ""}, "data"),
        ({"intact": "gone"}, "files"),
    ],
)
def test_gates_that_no_policy_can_switch_off(change, gate):
    assert failed(replace(GOOD, **change), Gates()) == [gate]


def test_without_a_champion_the_comparison_with_it_passes():
    assert failed(replace(GOOD, champion_drop=None)) == []


def test_the_rule_chooses_among_those_that_pass():
    passed = {
        "small": replace(GOOD, bytes=10, milliseconds=3.0, score=0.90),
        "fast": replace(GOOD, bytes=30, milliseconds=1.0, score=0.91),
        "right": replace(GOOD, bytes=20, milliseconds=2.0, score=0.99),
    }
    assert [choose(rule, passed) for rule in ("smallest", "fastest", "most_accurate")] == [
        "small",
        "fast",
        "right",
    ]
    assert choose("smallest", {"b": GOOD, "a": GOOD}) == "a"


def test_the_shipped_policy_is_read(project_root):
    policies = read_policies(project_root / "mlflow" / "gates.yaml")
    assert list(policies) == ["champion"]
    given = policies["champion"].gates.model_dump(exclude_none=True)
    assert {
        "drop",
        "champion_drop",
        "worst_class_drop",
        "examples",
        "bytes_ratio",
        "latency_ratio",
    } <= set(given)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("champion: {gates: {dorp: 0.1}}", ("champion.gates.dorp", "drop", "unknown")),
        ("champion: {chose: smallest}", ("champion.chose", "choose", "unknown")),
        ("champion: {choose: biggest}", ("champion.choose", "biggest")),
        ("champion: {gates: {drop: two}}", ("champion.gates.drop", "two")),
        ("champion: {gates: {drop: 3}}", ("champion.gates.drop", "3")),
        ("champion: {candidates: bonferroni}", ("champion.candidates", "bonferroni")),
        ("champion: {correction: bonferroni}", ("champion.correction", "bonferroni")),
        ("champion: {reuse_warning: 0}", ("champion.reuse_warning", "0")),
        ("v3: {}", ("v3",)),
        ("Champion: {}", ("Champion",)),
        ("champion: [", ("YAML",)),
        (None, ("nothing there",)),
    ],
)
def test_an_invalid_policy_is_refused_by_key(tmp_path, text, words):
    path = tmp_path / "gates.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput) as refused:
        read_policies(path)
    assert_explains(refused.value, *words)


def test_holm_in_place_of_candidates_is_all_of_them_corrected(tmp_path):
    path = tmp_path / "gates.yaml"
    path.write_text("champion: {candidates: holm}\nsmall: {candidates: [a], correction: holm}")
    policies = read_policies(path)
    assert (policies["champion"].candidates, policies["champion"].correction) == ((), "holm")
    assert (policies["small"].candidates, policies["small"].correction) == (("a",), "holm")


def test_gates_call_the_documented_criterion(monkeypatch):
    """The documents name `espalier.judging.non_inferior`; the gates on drops use it and no other."""
    document = Path(__file__).resolve().parents[2] / "docs" / "judging.md"
    assert "`espalier.judging.non_inferior`" in document.read_text()
    asked = []

    def refuse(upper, margin):
        asked.append((upper, margin))
        return False

    monkeypatch.setattr(judging, "non_inferior", refuse)
    drops = ["drop", "champion_drop", "worst_class_drop"]
    assert failed(GOOD) == drops
    assert asked == [(getattr(GOOD, gate), BOUNDS[gate]) for gate in drops]


def test_a_class_without_test_examples_is_named_as_the_reason():
    (verdict,) = [
        one
        for one in judge(Gates(worst_class_drop=0.5), replace(GOOD, worst_class_drop=1.0))
        if one.gate == "worst_class_drop"
    ]
    assert not verdict.passed
    assert verdict.found == "100.00 points: a class is lost, or has no test examples"


def test_each_head_is_held_to_its_own_margin():
    figures = replace(GOOD, head_drops={"colour": 0.02, "price": 0.08})
    assert failed(figures, Gates(head_drops={"colour": 0.02, "price": 0.08})) == []
    strict = Gates(head_drops={"colour": 0.03, "price": 0.05})
    assert failed(figures, strict) == ["head_drops.price"]
    unknown = replace(GOOD, head_drops={"colour": float("nan")})
    assert failed(unknown, Gates(head_drops={"colour": 1.0})) == ["head_drops.colour"]
    verdict = judge(Gates(head_drops={"shape": 0.5}), figures)[-1]
    assert not verdict.passed
    assert verdict.found == "no such head; colour, price"


def test_the_drops_of_heads_are_read_from_their_columns():
    row = {
        "examples": 300, "mean_score": 0.9, "drop_high": 0.03, "worst_class_drop_high": 0.2,
        "bytes": 100, "latency_1_ms": 0.1, "speedup_1_low": 2.0, "memory_1": 5, "not_finite": 0,
        "colour.drop": 0.01, "colour.drop_high": 0.02, "price.drop_high": 0.04,
    }  # fmt: skip
    figures = Figures.of(row, row, headline="mean_score", data="d", current_data="d")
    assert figures.head_drops == {"colour": 0.02, "price": 0.04}
    assert figures.drop == 0.03


def test_the_device_is_read_from_its_column_and_an_empty_cell_is_an_unknown_one():
    row = {
        "examples": 300, "accuracy": 0.9, "drop_high": 0.03, "worst_class_drop_high": 0.2, "bytes": 100,
        "latency_1_ms": 0.1, "speedup_1_low": 2.0, "memory_1": 5, "not_finite": 0, "device": "one",
    }  # fmt: skip
    known = {"headline": "accuracy", "data": "d", "current_data": "d"}
    figures = Figures.of(row, row | {"device": float("nan")}, **known)
    assert (figures.device, figures.teacher_device) == ("one", "")


ONE, OTHER = "one processor, 1 thread", "another processor, 1 thread"
MEASURED = replace(GOOD, device=ONE, teacher_device=ONE, current_device=ONE)


def verdict_on_device(gates, **change):
    found = [one for one in judge(gates, replace(MEASURED, **change)) if one.gate == "device"]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("change", "whose"),
    [
        ({"current_device": OTHER}, "the current version's"),
        ({"teacher_device": OTHER}, "the teacher's"),
    ],
)
def test_latencies_of_two_devices_are_not_compared(change, whose):
    assert failed(replace(MEASURED, **change)) == ["device"]
    verdict = verdict_on_device(ALL, **change)
    assert verdict.found.startswith(f"{ONE}, but {whose} is {OTHER}: `espalier evaluate` on one")
    assert "`fleet: {bench: [evaluate]}`" in verdict.found


def test_latencies_of_one_device_are_compared_and_unknown_devices_of_earlier_versions_too():
    assert verdict_on_device(ALL).passed
    assert verdict_on_device(ALL, current_device="").passed
    assert verdict_on_device(ALL, device="", teacher_device="", current_device="") is None


def test_an_unknown_device_is_not_taken_for_a_known_one():
    verdict = verdict_on_device(ALL, device="")
    assert not verdict.passed
    assert verdict.found.startswith("unknown, but the current version's is")


def test_gates_without_a_latency_are_not_affected_by_devices():
    gates = ALL.model_copy(update={"latency_ratio": None})
    assert failed(replace(MEASURED, current_device=OTHER, teacher_device=OTHER), gates) == []


def test_a_named_device_takes_the_place_of_the_current_versions():
    gates = Gates(**BOUNDS, device=ONE)
    assert verdict_on_device(gates, current_device=OTHER).passed
    other = Gates(device=OTHER)
    assert failed(MEASURED, other) == ["device"]
    assert f"but the policy's device is {OTHER}" in verdict_on_device(other).found


def test_the_fastest_of_two_devices_is_not_chosen():
    passed = {"one": MEASURED, "two": replace(MEASURED, device=OTHER)}
    with pytest.raises(BadInput) as refused:
        choose("fastest", passed)
    assert_explains(refused.value, ONE, OTHER, "fleet")
    assert choose("smallest", passed) == "one"
