"""Gates: what a model must be to be shipped, as a typed policy, and whether it is."""

from espalier.gates.candidates import candidates_of
from espalier.gates.names import check_names, refuse_entries, refuse_unknown_candidates
from espalier.gates.policy import Gates, Policy, read_policies
from espalier.gates.split_use import SplitUse, record_use, recorded_use
from espalier.gates.verdicts import Figures, Verdict, choose, judge

__all__ = [
    "Figures",
    "Gates",
    "Policy",
    "SplitUse",
    "Verdict",
    "candidates_of",
    "check_names",
    "choose",
    "judge",
    "read_policies",
    "record_use",
    "recorded_use",
    "refuse_entries",
    "refuse_unknown_candidates",
]
