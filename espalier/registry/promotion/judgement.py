"""The judgement of an alias: its champion, the judged candidates, and the chosen one, before anything is moved."""

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.gates import Policy, choose
from espalier.registry.promotion.champion import Champion
from espalier.registry.promotion.errors import RefusedError
from espalier.registry.promotion.gate_report import Candidate, refusal


@dataclass(frozen=True)
class Judgement:
    """The judgement of one alias.

    Attributes:
        address: The alias with the name of the registered model, such as `digits@champion`.
        champion: The version that the alias points to; None if it does not exist.
        candidates: All judged models.
        chosen: The one that the alias may point to; None if no model passes.
        problem: Difference between the inputs that the champion takes and the test split; empty if it was
            compared.
    """

    address: str
    champion: Champion | None
    candidates: Sequence[Candidate]
    chosen: Candidate | None
    problem: str = ""

    @property
    def stays(self) -> str:
        """The sentence for an alias that is at the chosen content, with intact files; empty for another one."""
        champion, chosen = self.champion, self.chosen
        if not champion or not chosen or champion.damaged or chosen.content != champion.content:
            return ""
        return f"{self.address} stays at version {champion.version}: {chosen.entry}, as it is now"

    @property
    def contents(self) -> dict[str, str]:
        """Content hash of each version that was compared, by its number."""
        compared = {one.version: one.content for one in self.candidates}
        own = {self.champion.version: self.champion.content} if self.champion else {}
        return {**compared, **own}

    def refusal(self, version: str | None = None) -> RefusedError:
        """The error for an alias that no candidate may get.

        Args:
            version: Version of the alias, which does not change; by default that of the champion.
        """
        if version is None and self.champion:
            version = self.champion.version
        error = refusal(self.address, version, self.candidates)
        gates = {verdict.gate for one in self.candidates for verdict in one.refusals}
        if not self.problem or "champion_drop" not in gates:
            return error
        alias = self.address.rpartition("@")[2]
        return RefusedError(
            f"{error} Expected {self.address} (version {version}) to take {self.problem}: `espalier promote "
            f"--alias {alias} --without-champion REASON` judges without it, and writes the reason into the audit."
        )


def choose_candidate(candidates: Sequence[Candidate], policy: Policy) -> Candidate | None:
    """The passing candidate that the policy prefers; None if none passes."""
    passed = {candidate.entry: candidate for candidate in candidates if candidate.passed}
    if not passed:
        return None
    figures = {entry: candidate.figures for entry, candidate in passed.items()}
    return passed[choose(policy.choose, figures)]
