"""Runtimes execute deployed files; a second one takes the place of the first by its name alone."""

import numpy as np
import pytest
import torch

from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.runtimes import DEFAULT, RUNTIMES, runtime_named
from espalier.runtimes.runtime import in_batches

IMAGES = torch.randint(
    0, 256, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


class Reference:
    """A runtime that computes with the reference evaluator of ONNX, in NumPy."""

    name = "reference"
    version = "0"
    integer_forms = frozenset({"dynamic"})

    def open(self, file, threads=1):
        return Evaluated(file)


class Evaluated:
    def __init__(self, file):
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(file if isinstance(file, bytes) else str(file))

    def run(self, inputs):
        return self._evaluator.run(None, {"image": inputs})[0]

    def outputs(self, inputs, batch_size=None):
        return self.run(inputs)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("espalier:lenet300", classes=10, shape=(1, 8, 8), arguments={})


@pytest.fixture
def deployed(network, tmp_path):
    export(network, tmp_path / "model.onnx", IMAGES, Normalize((0.3,), (0.2,)))
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("name", RUNTIMES)
def test_outputs_do_not_depend_on_batches_or_on_where_the_file_lies(name, deployed):
    runtime = runtime_named(name)
    whole = runtime.open(deployed).run(IMAGES.numpy())
    assert whole.shape == (7, 10)
    opened = runtime.open(deployed.read_bytes(), threads=2)
    np.testing.assert_allclose(opened.outputs(IMAGES.numpy(), 3), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_call_of_every_node_is_profiled(name, deployed):
    times = runtime_named(name).profile_layers(
        deployed.read_bytes(), {"image": IMAGES.numpy()}, calls=5
    )
    gemms = {node: calls for node, calls in times.items() if "Gemm" in node}
    assert len(gemms) == 3  # LeNet-300-100 has three linear layers
    assert all(len(calls) == 5 and min(calls) >= 0 for calls in gemms.values())


@pytest.mark.parametrize("name", RUNTIMES)
def test_outputs_are_found_by_their_names(name, deployed):
    opened = runtime_named(name).open(deployed)
    found = opened.tensors(IMAGES.numpy(), ["logits"])
    assert found.keys() == {"logits"}
    np.testing.assert_array_equal(found["logits"], opened.run(IMAGES.numpy()))


def test_the_export_is_checked_in_the_runtime_that_deploys(network, tmp_path):
    difference = export(
        network, tmp_path / "model.onnx", IMAGES, Normalize((0.3,), (0.2,)), Reference()
    )
    assert difference < 1e-4


def test_an_unknown_runtime_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match=r"onnxruntime; found 'tflite'"):
        runtime_named("tflite")


def test_the_default_is_a_row_of_the_table():
    assert RUNTIMES[DEFAULT.name] is DEFAULT


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 8, 8), 256), ((3, 32, 32), 64), ((3, 224, 224), 4), ((20,), 256), ((3, 1024, 1024), 4)],
)
def test_large_inputs_are_run_a_few_at_a_time(shape, size):
    seen = []

    def run(batch):
        seen.append(len(batch))
        return batch.reshape(len(batch), -1)[:, :1].astype(np.float32)

    inputs = np.broadcast_to(np.uint8(3), (2 * size + 1, *shape))
    assert in_batches(run, inputs, None).tolist() == [[3.0]] * len(inputs)
    assert seen == [size, size, 1]
    seen.clear()
    in_batches(run, inputs[:5], 2)
    assert seen == [2, 2, 1]
