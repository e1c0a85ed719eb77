"""Model folders and packed files from elsewhere: damaged ones are refused, and nothing large is built."""

import json
import random
import subprocess
import sys
import zlib

import pytest
import torch
from properties import assert_equal_weights, assert_explains

from espalier import files
from espalier.coding.packed import decode, encode
from espalier.errors import BadInput, EspalierError
from espalier.models import build, load, save
from espalier.models.bounds import check_shapes
from espalier.models.build import find_factory
from espalier.own_functions import own_function
from espalier.params import check

MEMORY = 300 * 2**20


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("espalier:lenet5", classes=3, shape=(1, 16, 16)).eval()


@pytest.fixture
def folder(network, tmp_path):
    save(network, tmp_path / "model")
    return tmp_path / "model"


def damaged(content: bytes, seed: int) -> bytes:
    """A content with a flipped bit, or a cut at 0, 1, half or the last byte."""
    cuts = [0, 1, len(content) // 2, len(content) - 1]
    if seed < len(cuts):
        return content[: cuts[seed]]
    position = random.Random(seed).randrange(len(content) * 8)
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def outcome(call) -> str:
    """`ok` or `refused`; any error but Espalier's own fails the test."""
    try:
        call()
    except EspalierError as error:
        return "refused" if "\n" not in str(error) else "several lines"
    return "ok"


@pytest.mark.parametrize("name", ["weights.safetensors", "architecture.json", "manifest.json"])
def test_damage_that_its_hash_hides_ends_in_a_sentence(folder, name):
    content = (folder / name).read_bytes()
    header = content[: 8 + int.from_bytes(content[:8], "little")] if "weights" in name else content
    found = []
    for seed in range(68):
        (folder / name).write_bytes(damaged(header, seed) + content[len(header) :])
        if name != "manifest.json":
            files.seal(folder)
        found.append(outcome(lambda: load(folder)))
    assert found.count("refused") > 20
    assert set(found) <= {"ok", "refused"}


def resealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def test_damage_to_a_packed_file_that_its_checksum_hides_ends_in_a_sentence():
    small = build("espalier:mlp", classes=2, shape=(1, 2, 2), arguments={"hidden": [3]})
    content = encode(small)
    assert_equal_weights(decode(content, "packed"), small)
    found = []
    for seed in range(68):
        body = damaged(content[:-4], seed)
        found.append(outcome(lambda body=body: decode(resealed(body), "packed")))
        outcome(lambda seed=seed: decode(damaged(content, seed), "packed"))
    assert found.count("refused") > 10
    assert set(found) <= {"ok", "refused"}


def packed(header: bytes) -> bytes:
    deflate = zlib.compressobj(9, wbits=-15)
    content = deflate.compress(header) + deflate.flush()
    length = bytearray()
    size = len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return resealed(b"esp\x01" + bytes([*length, size]) + content + b"\0" + bytes(64))


ABSURD = [
    {"arguments": {"width": 2000}},
    {"arguments": {"width": 10**7}},
    {"arguments": {"depth": 6 * 10**7 + 2}},
    {"classes": 2**30},
    {"shape": [2**30, 8, 8]},
]


def test_absurd_networks_are_refused_with_little_memory_and_time(tmp_path):
    """In a process of its own, whose peak of memory is compared with that before the files are read."""
    tiny = build("espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8, "width": 2})
    places = []
    for number, change in enumerate(ABSURD):
        folder = tmp_path / str(number)
        save(tiny, folder)
        content = json.loads((folder / "architecture.json").read_text())
        content |= {"edits": [], **change}
        files.write_json(folder / "architecture.json", content)
        files.seal(folder)
        fields = ["espalier:resnet", content["classes"], content["shape"], content["arguments"]]
        path = tmp_path / f"{number}.espalier"
        path.write_bytes(packed(json.dumps(fields).encode()))
        places += [folder, path]
    bomb = tmp_path / "bomb.espalier"
    bomb.write_bytes(packed(b" " * 600_000_000))
    large = tmp_path / "large"
    save(tiny, large)
    with (large / "manifest.json").open("ab") as file:
        file.truncate(200_000_000)
    script = """
import resource, sys, time
from pathlib import Path
import torch
from espalier.coding import unpack
from espalier.errors import BadInput
from espalier.models import build, load
with torch.device("meta"):  # torch imports a part of itself at the first use
    build("espalier:resnet", classes=10, shape=(1, 8, 8))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
for place in map(Path, sys.argv[1:]):
    began = time.process_time()
    try:
        (load if place.is_dir() else unpack)(place)
    except BadInput as error:
        assert str(error).count(chr(10)) == 0
    else:
        raise SystemExit(f"{place} was loaded")
    print(place.name, peak() - before, time.process_time() - began)
"""
    command = [sys.executable, "-c", script, *map(str, [*places, bomb, large])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines():
        _, memory, seconds = line.split()
        assert int(memory) < MEMORY, line
        assert float(seconds) < 2, line


def test_weights_of_another_network_are_refused_before_it_is_built(folder, monkeypatch):
    content = json.loads((folder / "architecture.json").read_text()) | {"edits": [], "classes": 4}
    files.write_json(folder / "architecture.json", content)
    files.seal(folder)
    monkeypatch.setattr("espalier.models.folder.rebuild", lambda *given: pytest.fail("was built"))
    with pytest.raises(BadInput) as caught:
        load(folder)
    assert_explains(caught.value, "[4, ")


def test_the_described_network_needs_no_memory_and_draws_no_random_numbers(network):
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    check_shapes(network._espalier_architecture, shapes, (), 2**28)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "factory",
    ["torch.hub:load", "os:system", "builtins:eval", "numpy:load", "yaml:unsafe_load"],
)
def test_a_library_that_can_load_code_is_never_trusted(factory):
    root = factory.partition(":")[0].partition(".")[0]
    with pytest.raises(BadInput) as caught:
        find_factory(factory, [root])
    assert_explains(caught.value, root, "`trusted`")
    with pytest.raises(BadInput) as caught:
        check({"trusted": [root], "teacher": {"model": "espalier:mlp"}})
    assert_explains(caught.value, root, "`trusted`")


def test_a_trusted_package_gives_only_its_own_functions(tmp_path, monkeypatch):
    (tmp_path / "ours_here.py").write_text(
        "from functools import partial\n"
        "from os import system\n"
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def make(self): ...\n"
        "def factory(classes, shape): return Net(shape[0], classes)\n"
        "short = partial(factory, classes=2)\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("factory", "Net", "short"):
        assert callable(own_function(f"ours_here:{name}"))
    for name in ("system", "number", "torch"):
        with pytest.raises(BadInput, match="defines"):
            own_function(f"ours_here:{name}")
    for place in ("ours_here:Net.make", "ours_here:torch.hub.load", "ours_here:", ":x", "a b:c"):
        with pytest.raises(BadInput):
            find_factory(place, ["ours_here"])
