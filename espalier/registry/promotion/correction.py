"""Correction of the bounds of drops for the number of candidates, by the policy of an alias."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from espalier.gates import Figures, Policy, judge
from espalier.judging import holm
from espalier.registry.promotion.gate_report import Candidate


def correct(
    candidates: Sequence[Candidate],
    policy: Policy,
    figures_at: Callable[[Candidate], Callable[[float], Figures]],
) -> list[Candidate]:
    """The candidates with the verdicts that the policy's correction leaves them.

    Args:
        candidates: all judged models, by bounds at 95 %.
        policy: policy of the alias; without a correction the candidates are unchanged.
        figures_at: figures of a candidate with the bounds of its drops at any level.
    """
    if policy.correction == "none":
        return list(candidates)
    known = {candidate.entry: candidate for candidate in candidates}
    bounds = {name: figures_at(candidate) for name, candidate in known.items()}

    @cache
    def at(name: str, level: float) -> Candidate:
        figures = bounds[name](level)
        verdicts = judge(policy.gates, figures)
        return replace(known[name], figures=figures, verdicts=verdicts, level=level)

    decided = holm(list(known), lambda name, level: at(name, level).passed)
    return [at(name, decided[name]) for name in known]
