"""Every operation on texts: tokens are integers, and a network takes only those of its vocabulary."""

import pytest
import yaml
from cases import OPERATIONS, Operation
from examples_of_kinds import texts_as_lines
from selection import mostly_slow

from espalier import files
from espalier.commands import data, make, prepare
from espalier.models import load

pytestmark = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")

COMMON = {
    "seed": 0,
    "trusted": ["user_package"],
    "data": {"text": {"vocabulary": 200, "length": 12}},
    "training": {"batch_size": 64, "threads": 1, "optimizer": "adamw", "learning_rate": 0.005},
    "teacher": {"model": "user_package:everything_of_texts", "epochs": 2},
}
_CUT = {"by": "prune", "align": 1, "finetune": {"epochs": 1}}
CASES = [
    # but the one that compares weights alone, which know no input
    *(one for one in OPERATIONS if one.keys.get("compare") != "weights"),
    Operation("factorize-parameters", {"by": "factorize", "keep_parameters": 0.8, "align": 1}),
    Operation("prune-bytes", {**_CUT, "bytes": 48_000}),
    # a cut by time is for the device that is timed; here it is that all is measured
    Operation("prune-milliseconds", {**_CUT, "milliseconds": 1000}),
    Operation("prune-latency", {**_CUT, "keep_macs": 0.7, "budget": "latency"}),
]
BY_NAME = {operation.name: operation for operation in CASES}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A project of texts whose teacher is made."""
    root = tmp_path_factory.mktemp("texts") / "project"
    root.mkdir()
    files.write(root / "params.yaml", yaml.safe_dump({**COMMON, "models": {}}))
    data.run(root, str(texts_as_lines(root.parent / "texts.jsonl")), None)
    prepare.run(root)
    make.run(root, "teacher")
    return root


@pytest.mark.parametrize("name", mostly_slow(BY_NAME, "fold-linears", "factorize", "prune-bytes"))
def test_an_operation_makes_a_model_of_texts(texts, name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # for measured latencies
    keys = {**BY_NAME[name].keys, "from": "teacher"}
    if "model" in keys:
        keys["model"] = COMMON["teacher"]["model"]
    files.write(texts / "params.yaml", yaml.safe_dump({**COMMON, "models": {name: keys}}))
    make.run(texts, name)
    figures = files.read_json(texts / "models" / name / "metrics.json")
    if keys["by"] != "quantize":
        assert figures["difference_from_torch"] < 1e-4
    if "bytes" in keys:
        assert 0.98 * keys["bytes"] <= figures["bytes"] <= keys["bytes"]
    if keys.get("budget") == "latency":
        assert figures["macs"] <= 0.7 * figures["base_macs"]
    assert load(texts / "models" / name, trusted=["user_package"]) is not None
