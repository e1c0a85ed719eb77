"""Uses of a test split by the records of a store: the judged models, and the promotions it has decided.

The run of every judgement has the hash of its test split as a tag, so that one search of the store
finds all of them. Promotions from before this tag count as unknown.
"""

import json
import sys
import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from espalier.errors import Notice
from espalier.gates import SplitUse
from espalier.paths import GATES
from espalier.registry.promotion.audit import Audit, State
from espalier.registry.versions import Registry

if TYPE_CHECKING:  # it imports all that judges, and the records of a lost store are read without
    from espalier.registry.promotion.gate_report import Candidate

_SPLIT = "espalier.test_split"  # tags of the run of a judgement
_JUDGED = "espalier.judged"
_SHORT = 12  # digits of each content hash in the tag, whose length is limited


def tags_of(use: SplitUse, candidates: Sequence["Candidate"]) -> dict[str, str]:
    """Tags for the run of a judgement: the hash of its test split, and the judged models."""
    judged = ",".join(candidate.content[:_SHORT] for candidate in candidates)
    return {_SPLIT: use.sha256, _JUDGED: judged}


def tags_of_report(text: str) -> dict[str, str]:
    """The same tags by a stored gate report; none for a report that records no test split."""
    try:
        report = json.loads(text)
        split = str(report["test_split"]["sha256"])
        judged = [str(one["content"])[:_SHORT] for one in report["candidates"].values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {_SPLIT: split, _JUDGED: ",".join(judged)}


def find_use(registry: Registry, sha256: str, contents: Collection[str]) -> SplitUse:
    """Find the use of a test split in the runs and the audit of a registered model.

    A rollback decides nothing: its line has the run of the promotion that it returns to.

    Args:
        registry: the registered model and its experiment.
        sha256: SHA-256 of the file of the test split.
        contents: content hashes of the models that are judged now.
    """
    judgements = _judgements(registry)
    moves = Audit(registry.client, registry.name).moves()
    decisive = {move.run for move in moves if move.state is State.DONE}
    splits = [judgements[run][0] if run in judgements else None for run in decisive]
    models = {content[:_SHORT] for content in contents}
    for split, judged in judgements.values():
        if split == sha256:
            models |= set(judged)
    return SplitUse(
        registered_model=registry.name,
        sha256=sha256,
        candidates=len(contents),
        models=len(models),
        promotions=splits.count(sha256),
        unknown=splits.count(None),
    )


def report_use(use: SplitUse, limit: int) -> None:
    """Print the use, and warn of a split that has decided too often.

    Args:
        use: use of the test split.
        limit: number of promotions without a warning.
    """
    sys.stdout.write(f"{use}\n")
    if use.promotions > limit:
        warnings.warn(
            f"Expected a test split to decide at most {limit} promotions (`reuse_warning` in "
            f"{GATES}); found that {use.sha256[:_SHORT]} has decided {use.promotions}. Each adds to "
            "the chance that a worse model was promoted: prepare a test split of new examples.",
            Notice,
            stacklevel=2,
        )


def _judgements(registry: Registry) -> dict[str, tuple[str, list[str]]]:
    """Hash of the test split and judged models of each run that records them, by MLflow's id."""
    found: dict[str, tuple[str, list[str]]] = {}
    token = None
    while True:
        page = registry.client.search_runs(
            [registry.experiment], f"tags.`{_SPLIT}` LIKE '%'", page_token=token
        )
        for run in page:
            tags = run.data.tags
            judged = tags.get(_JUDGED, "")
            found[run.info.run_id] = tags[_SPLIT], [one for one in judged.split(",") if one]
        token = page.token
        if not token:
            return found
