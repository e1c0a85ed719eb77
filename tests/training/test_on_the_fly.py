"""Training from images that are decoded on the fly: the same bits whatever the threads and interruptions."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from photos import write_photos
from properties import assert_equal_weights
from torch import nn
from torch.nn import functional as F
from training.conftest import RECIPE, Setting
from training.test_resuming import Killed, asking, killed_at, timeless

from espalier.data.encoded import EncodedSplit
from espalier.data.prepare import prepare
from espalier.data.prepared import open_encoded, read_dataset, read_split
from espalier.data.writing import write_encoded
from espalier.errors import BadInput, Stopped
from espalier.seeds import seed_all
from espalier.settings.data import DataSettings
from espalier.settings.images import ImagePolicy
from espalier.training.batches import OnTheFly, Resident, in_order, open_examples
from espalier.training.checkpoint import Checkpoints
from espalier.training.engine import fit
from espalier.training.scoring import Inference

CPU, SIZE, SEED = torch.device("cpu"), 16, 0
pytestmark = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")


def prepared(source, target, decode):
    settings = DataSettings(images=ImagePolicy(size=SIZE, decode=decode), flip=True, seed=0)
    prepare(source, target / decode, settings, workshop=target / "work")
    return target / decode


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    target = tmp_path_factory.mktemp("photos")
    source = write_photos(target / "data", 100)
    return {decode: prepared(source, target, decode) for decode in ("ahead", "on_the_fly")}


@pytest.fixture(scope="module")
def folder(folders):
    return folders["on_the_fly"]


def opened(folder, *, threads=None, seed=SEED):
    return OnTheFly(
        open_encoded(folder, "train", seed), read_dataset(folder).zeros(1), CPU, threads
    )


class Photos(Setting):
    """A training from the photographs."""

    def network(self):
        seed_all(0, "weights")
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2)
        )

    def fit(self, network, examples, *, objective=None, checkpoints=None, **changes):
        recipe = replace(self.recipe, **changes)
        return fit(
            network,
            examples,
            self.validation,
            objective or (lambda seen: F.cross_entropy(seen.outputs, seen.batch.targets)),
            recipe,
            augmentations=self.views(recipe.augment),
            front=self.front,
            processes=self.processes,
            checkpoints=Checkpoints(checkpoints) if checkpoints else None,
        )

    def views(self, active):
        dataset = read_dataset(self.folder)
        return dataset.input.augmentations(
            dataset.facts, examples=dataset.counts["train"], seed=SEED, count=3, active=active
        )


def photos_of(folder):
    front = read_dataset(folder).front(CPU)
    validation = Inference(Resident(read_split(folder, "validation"), CPU), front)
    setting = Photos(None, validation, front, replace(RECIPE, batch_size=16))
    object.__setattr__(setting, "folder", folder)
    return setting


@pytest.fixture(scope="module")
def photos(folder):
    return photos_of(folder)


def test_batches_do_not_depend_on_the_threads_and_the_grouping(folder):
    expected = opened(folder, threads=1)
    order = torch.randperm(len(expected), generator=torch.Generator().manual_seed(1))
    whole = next(iter(expected.batches([order], 5)))
    for threads, size in ((1, 7), (2, 16), (5, 3)):
        batches = list(opened(folder, threads=threads).batches(list(order.split(size)), 5))
        assert torch.equal(torch.cat([batch.index for batch in batches]), order)
        assert torch.equal(torch.cat([batch.inputs for batch in batches]), whole.inputs)
        assert torch.equal(torch.cat([batch.targets for batch in batches]), whole.targets)


def test_views_differ_and_no_view_is_the_image_decoded_ahead(folders):
    examples, group = opened(folders["on_the_fly"]), [torch.arange(20)]
    seen = [next(iter(examples.batches(group, view))).inputs for view in (None, 0, 1, 0)]
    assert torch.equal(seen[0], read_split(folders["ahead"], "train").inputs[:20])
    assert torch.equal(seen[1], seen[3])
    for one, other in ((0, 1), (1, 2)):
        changed = (seen[one] != seen[other]).flatten(1).any(1)
        assert changed.float().mean() > 0.9


def test_without_augmentation_training_ends_with_the_bits_of_images_decoded_ahead(folders):
    networks = []
    for folder in folders.values():
        dataset, photos = read_dataset(folder), photos_of(folder)
        examples = open_examples(folder, dataset, "train", CPU, 2**30, None)
        networks.append(photos.network())
        photos.fit(networks[-1], examples, epochs=2, augment=False)
    assert_equal_weights(*networks)


@pytest.fixture(scope="module")
def undisturbed(photos, folder):
    network = photos.network()
    history = photos.fit(network, opened(folder, threads=1))
    return network, history


def test_a_training_does_not_depend_on_the_threads(photos, folder, undisturbed):
    network = photos.network()
    assert timeless(photos.fit(network, opened(folder, threads=3))) == timeless(undisturbed[1])
    assert_equal_weights(network, undisturbed[0])


@pytest.mark.parametrize("disturbing", [asking, killed_at])
@pytest.mark.parametrize("step", [2, 9, 12])
def test_interrupted_in_the_middle_of_an_epoch_it_ends_with_the_same_bits(
    photos, folder, undisturbed, tmp_path, disturbing, step
):
    expected, history = undisturbed
    examples = opened(folder)
    assert (len(examples) // 16) * 3 > step
    with pytest.raises((Stopped, Killed)):
        photos.fit(photos.network(), examples, objective=disturbing(step), checkpoints=tmp_path)
    network = photos.network()
    again = photos.fit(network, opened(folder), checkpoints=tmp_path)
    assert timeless(again) == timeless(history)
    assert_equal_weights(network, expected)


def test_an_image_that_cannot_be_decoded_ends_the_training_with_its_sentence(folder, tmp_path):
    dataset = read_dataset(folder)
    sound = open_encoded(folder, "train")
    start, end = sound._offsets[:2].tolist()
    content = sound._content[start:end].tobytes()
    path = tmp_path / "split.safetensors"
    write_encoded(path, [content] * 40 + [content[:90]] + [content] * 9, np.zeros(50, np.int64))
    split = EncodedSplit(path, dataset.decoder(SEED))
    examples = OnTheFly(split, dataset.zeros(1), CPU)
    batches = examples.batches(in_order(50, 16), 0)
    assert [len(next(batches).targets) for _ in range(2)] == [16, 16]
    with pytest.raises(BadInput, match=r"Expected example 40 of .* to be readable"):
        next(batches)
    assert len(list(examples.batches(in_order(32, 16), 0))) == 2  # its threads still work


PEAK = """
import sys
from pathlib import Path

import torch

from espalier.data.encoded import EncodedSplit
from espalier.data.prepared import read_dataset
from espalier.training.batches import OnTheFly, in_order

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000

dataset = read_dataset(Path(sys.argv[1]))
examples = OnTheFly(EncodedSplit(Path(sys.argv[2]), dataset.decoder(0)), dataset.zeros(1), torch.device("cpu"))
list(examples.batches(in_order(128, 64), 0))
start = peak = own()
for _ in examples.batches(in_order(len(examples), 64), 0):
    peak = max(peak, own())
print(peak - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_does_not_grow_with_the_split(tmp_path):
    """2,048 images of 197 kB decoded are 403 MB; a batch is 13 MB, and some wait in arenas of threads."""
    source = write_photos(tmp_path / "data", 12, shortest=40, longest=60)
    images = ImagePolicy(size=256, decode="on_the_fly")
    settings = DataSettings(images=images, seed=0)
    prepare(source, tmp_path / "prepared", settings, workshop=tmp_path / "work")
    contents = [path.read_bytes() for path in sorted(source.rglob("*.jpg"))]
    growth = []
    for count in (640, 2048):  # the queue of batches is full with both
        path = tmp_path / f"{count}.safetensors"
        repeated = (contents[index % len(contents)] for index in range(count))
        write_encoded(path, repeated, np.zeros(count, np.int64))
        command = [sys.executable, "-c", PEAK, str(tmp_path / "prepared"), str(path)]
        growth.append(float(subprocess.run(command, check=True, capture_output=True).stdout))
    decoded = 2048 * 3 * 256 * 256 / 1e6
    assert growth[1] < decoded / 3
    assert growth[1] < growth[0] + decoded / 5, growth  # some batches more or fewer are in flight
