"""Every operation after every operation: it is made, loads, is deployed, and what was done before it holds."""

import contextlib
import shutil
from itertools import product

import numpy as np
import pytest
import torch
import yaml
from cases import OPERATIONS
from properties import assert_equal_outputs, assert_explains, example_of
from selection import mostly_slow

from espalier import files
from espalier.commands import make
from espalier.data.prepared import read_split
from espalier.errors import BadInput, Stopped
from espalier.making.job import Job
from espalier.making.operations import OPERATIONS as MADE
from espalier.measures.macs import count_macs
from espalier.models import architecture_of, load, save
from espalier.models.structure import masked_weights, removed_layers, shared_weights
from espalier.params import read_params
from espalier.pruning import prune
from espalier.runtimes import DEFAULT
from espalier.training.engine import _Run

pytestmark = pytest.mark.filterwarnings(
    "ignore::espalier.errors.Notice"
)  # that so tiny networks miss their targets

COMMON = {
    "trusted": ["user_package"],
    "training": {"batch_size": 64, "threads": 1, "views": 2, "learning_rate": 0.02},
    "teacher": {"model": "user_package:everything", "epochs": 2},
}
NAMES = [operation.name for operation in OPERATIONS]
QUICK = ("prune-weights", "fold-blocks", "share")  # tried where all of them would take too long
BY_NAME = {operation.name: operation for operation in OPERATIONS}


class EntryProject:
    """A project whose teacher is made, and what is made from it, each once."""

    def __init__(self, root):
        self.root = root

    def declare(self, name, operation, parent, **more):
        """Add an entry to params.yaml."""
        path = self.root / "params.yaml"
        content = yaml.safe_load(path.read_text())
        keys = {**BY_NAME[operation].keys, **more, "from": parent}
        figures = files.read_json(self.root / "models" / parent / "metrics.json")
        if "keep_macs" in keys:
            keys["keep_macs"] *= figures["macs"] / figures["base_macs"]
        if "sparsity" in keys:
            keys["sparsity"] = 1 - (1 - keys["sparsity"]) * (1 - figures["zeros"])
        content["models"][name] = keys
        path.write_text(yaml.safe_dump(content))

    def make(self, name):
        make.run(self.root, name)
        return self.root / "models" / name

    def first(self, operation):
        """The folder of what one operation makes of the teacher."""
        if not (self.root / "models" / operation).exists():
            self.declare(operation, operation, "teacher")
        return self.make(operation)

    def pair(self, one, other):
        self.first(one)
        self.declare(f"{other}-after-{one}", other, one)
        return f"{other}-after-{one}"

    def images(self):
        return read_split(self.root / "prepared", "validation").inputs[:64]

    def network(self, name):
        return load(self.root / "models" / name, trusted=["user_package"])

    def copy(self, folder):
        shutil.copytree(self.root, folder, ignore=shutil.ignore_patterns("locks", "work"))
        return EntryProject(folder)


@pytest.fixture(scope="session")
def user_package(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp("user_package") / "project"
    shutil.copytree(digits, root / "prepared")
    (root / "params.yaml").write_text(yaml.safe_dump({**COMMON, "models": {}}))
    make.run(root, "teacher")
    return EntryProject(root)


def holds(parent, child):
    """The edits of the parent's network hold in the child's, in layers that still exist."""
    gone = tuple(f"{name}." for name in removed_layers(child))
    for name in removed_layers(parent):
        assert name.startswith(gone) or isinstance(child.get_submodule(name), torch.nn.Identity)
    held, weights = parent.state_dict(), child.state_dict()
    for name in masked_weights(parent):
        if not name.startswith(gone):
            assert name in masked_weights(child)
            if weights[name].shape == held[name].shape:
                assert not weights[name][held[name] == 0].any()
            # of a weight that was cut as well, which numbers are left is not said; about as many of
            # them are zero
            assert (weights[name] == 0).float().mean() > 0.5 * (held[name] == 0).float().mean()
    for name in shared_weights(parent):
        if not name.startswith(gone):
            assert name in shared_weights(child)
            values = len(held[name].unique()) + 1  # and zero, where single ones were pruned
            assert len(weights[name].unique()) <= values


def is_quantized(network):
    return architecture_of(network).quantization is not None


def refusal(one, other):
    """A word of the reason why the second cannot come after the first; nothing if it can."""
    return BY_NAME[one].last or BY_NAME[other].refused.get(one, "")


def check(user_package, one, other):
    name = user_package.pair(one, other)
    if word := refusal(one, other):
        with pytest.raises(BadInput) as caught:
            user_package.make(name)
        assert_explains(caught.value, word)
        assert not (user_package.root / "models" / name).exists()
        return
    before = files.verify(user_package.root / "models" / one)
    folder = user_package.make(name)
    assert (
        files.verify(user_package.root / "models" / one) == before
    )  # the parent is left as it was
    lineage, entry = files.read_json(folder / "lineage.json"), BY_NAME[other].keys
    assert (lineage["parent"], lineage["entry"]["by"]) == (one, entry["by"])
    assert lineage["models"][one] == before["weights.safetensors"]
    network, images = user_package.network(name), user_package.images()
    inherited = files.read_json(user_package.root / "models" / one / "lineage.json")["base_macs"]
    own = count_macs(network, example_of((1, 8, 8)))
    assert lineage["base_macs"] == (own if "model" in entry else inherited)
    if "model" not in entry:
        holds(user_package.network(one), network)
    agrees(user_package, name, network, images)


def agrees(user_package, name, network, images):
    """The deployed file answers as the network does."""
    front = Job.of(user_package.root, name, read_params(user_package.root)).data.front
    with torch.no_grad():
        ours = network(front(images)).numpy()
    deployed = DEFAULT.open(user_package.root / "models" / name / "model.onnx", 1).outputs(
        images.numpy()
    )
    if is_quantized(network):
        # what was trained to be integers is another network in floats
        least = 0.8 if architecture_of(network).quantization["scheme"] == "aware" else 0.9
        assert np.corrcoef(ours.ravel(), deployed.ravel())[0, 1] > least
    else:
        assert np.abs(ours - deployed).max() <= 1e-4 * max(1, np.abs(ours).max())


def test_the_table_has_every_kind_of_entry():
    assert {operation.keys["by"] for operation in OPERATIONS} == set(MADE)


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_changes_its_parent(user_package, name):
    network, teacher = (
        user_package.network(user_package.first(name).name),
        user_package.network("teacher"),
    )
    images = user_package.images().float()
    with torch.no_grad():
        same = torch.equal(network(images), teacher(images))
    is_imported = BY_NAME[name].keys["by"] == "import"  # here with the weights of the parent
    assert same == is_imported or is_quantized(network)


@pytest.mark.parametrize(
    "name",
    mostly_slow(NAMES, *QUICK),
)
def test_an_operation_that_was_stopped_ends_with_the_same_bits(
    user_package, name, tmp_path, monkeypatch
):
    whole = user_package.first(name)
    again = user_package.copy(tmp_path / "project")
    shutil.rmtree(again.root / "models" / name)
    asked = []

    def stop(run, request):
        asked.append(request)
        return len(asked) == 12

    monkeypatch.setattr(_Run, "_stop_asked", stop)
    with contextlib.suppress(Stopped):  # what trains nothing is not stopped
        again.make(name)
    assert len(asked) in (0, 12)
    folder = again.make(name)
    for file in ("weights.safetensors", "architecture.json"):
        assert (folder / file).read_bytes() == (whole / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("former", ["prune-weights", "prune-n_of_m", "share", "fold-batch_norms"])
@pytest.mark.parametrize(
    "keys", [{"ema": 0.9}, {"optimizer": "adamw", "learning_rate": 0.001}], ids=["average", "adamw"]
)
def test_earlier_edits_hold_in_any_training(user_package, former, keys):
    user_package.first(former)
    name = f"{'-'.join(keys)}-after-{former}"
    user_package.declare(name, "train", former, **keys)
    user_package.make(name)
    parent, child = user_package.network(former), user_package.network(name)
    holds(parent, child)
    assert not torch.equal(parent.head.weight, child.head.weight)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_library_prunes_saves_and_loads_the_result_of_an_operation(
    user_package, name, tmp_path
):
    user_package.first(name)
    smaller = prune(user_package.network(name), torch.zeros(2, 1, 8, 8), keep_macs=0.8, align=1)
    save(smaller, tmp_path)
    assert_equal_outputs(load(tmp_path, trusted=["user_package"]), smaller, torch.randn(3, 1, 8, 8))


NEXT = [
    (one, NAMES[(place + 1) % len(NAMES)]) for place, one in enumerate(NAMES)
]  # a circle through all of them


@pytest.mark.parametrize(
    ("one", "other"),
    [pair if pair[1] in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in NEXT],
)
def test_an_operation_comes_after_another(user_package, one, other):
    check(user_package, one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"), [pair for pair in product(NAMES, NAMES) if pair not in NEXT]
)
def test_so_does_every_operation_after_every_other(user_package, one, other):
    check(user_package, one, other)
