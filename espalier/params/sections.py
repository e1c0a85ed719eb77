"""The sections `evaluation`, `registry` and `sweep` of `params.yaml`."""

import re
from typing import Literal

from pydantic import Field, field_validator

from espalier.params.strict import Strict
from espalier.settings.limits import RUN_BYTES, RUN_SECONDS
from espalier.settings.names import name_problem


class Evaluation(Strict):
    """Evaluation of all models.

    Attributes:
        rounds: number of timed calls of each model at batch 64; ten times as many at batch 1.
        runtime: program that executes the deployed files, one of `espalier.runtimes.RUNTIMES`.
        threads: number of threads of the runtime.
        batch_size: examples per call when outputs are computed; by default as many as suit their size.
        surrogate_depth: largest depth of the decision trees that are fitted to the answers of each
            network for the report; 0 for none.
        run_memory: bytes of memory that a deployed file of any size may take for a batch, in a process
            of its own; large files and inputs may take more.
        run_seconds: largest time in which a deployed file computes a batch there.
    """

    rounds: int = Field(60, ge=3)
    runtime: Literal["onnxruntime"] = "onnxruntime"
    threads: int = Field(1, ge=1)
    batch_size: int | None = Field(None, ge=1)
    surrogate_depth: int = Field(0, ge=0, le=12)
    run_memory: int = Field(RUN_BYTES, ge=1)
    run_seconds: float = Field(RUN_SECONDS, gt=0)


class Sweep(Strict):
    """Bounds above which leftovers of former runs are removed at the start of a run.

    Attributes:
        drafts_hours: hours without a change after which drafts are removed, and checkpoints of entries
            that are not in `params.yaml` any more.
        unused_days: days without a change after which other checkpoints, outputs of teachers, and a
            worker's clones of failed stages are removed.
        bank_bytes: bytes of outputs of teachers that are kept; above, the oldest are removed.
    """

    drafts_hours: float = Field(24, ge=1)
    unused_days: float = Field(30, ge=1)
    bank_bytes: int = Field(20_000_000_000, ge=0)


_WEBHOOK = r"(https?://.+|env:[A-Za-z_][A-Za-z0-9_]*)?"


class Registry(Strict):
    """The registered model in MLflow.

    Attributes:
        name: name of the registered model; all versions belong to it.
        promote: whether a run ends with `espalier promote`, which moves the champion if the gates
            pass.
        webhook: URL that receives a JSON message after each move of an alias and each failed run;
            `env:NAME` takes it from an environment variable, so that no token is in the repository.
    """

    name: str = "digits"
    promote: bool = False
    webhook: str = ""

    @field_validator("webhook")
    @classmethod
    def _is_an_address(cls, webhook: str) -> str:
        if not re.fullmatch(_WEBHOOK, webhook):
            # the value may hold a token, so the message does not repeat it
            raise ValueError(
                "Expected `registry.webhook` to be an http or https address, or `env:NAME` for one in an "
                "environment variable; found another text."
            )
        return webhook

    @field_validator("name")
    @classmethod
    def _can_be_registered(cls, name: str) -> str:
        problem = name_problem(name)
        if problem:
            expected, found = problem
            raise ValueError(f"Expected `registry.name` {expected}; found {found}.")
        return name
