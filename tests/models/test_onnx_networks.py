"""A network that exists only as an ONNX file is pruned, trained, saved and deployed as any other."""

import itertools

import numpy as np
import pytest
import torch
from models.onnx_files import EXPORTERS, Source, write_onnx
from selection import mostly_slow
from torch import nn
from torch.nn import functional as F

from espalier.export.agreement import check_agreement
from espalier.export.onnx import export
from espalier.folding import fold_batch_norms
from espalier.measures.macs import count_macs
from espalier.models import load, save
from espalier.models.onnx_import import read_onnx
from espalier.models.structure import removed_layers
from espalier.pruning import prune
from espalier.quantization import quantize
from espalier.runtimes import DEFAULT

RESNET = Source("espalier:resnet", (1, 8, 8), (("depth", 8), ("width", 8)))
TRANSFORMER = Source("models.onnx_files:transformer")
SOURCES = (
    Source("espalier:mlp", (1, 8, 8)),
    RESNET,
    Source("torchvision:mobilenet_v2"),
    Source("torchvision:mobilenet_v3_small"),
    Source("torchvision:shufflenet_v2_x0_5", (3, 64, 64)),
    TRANSFORMER,
    Source("models.onnx_files:torch_transformer"),
)
FILES = list(itertools.product(SOURCES, EXPORTERS))
QUICK = [
    one for one in FILES if one[1] == "legacy" or one[0] in SOURCES[:2]
]  # torch's newer exporter takes long


@pytest.fixture(
    scope="module",
    params=mostly_slow(FILES, *QUICK),
    ids=lambda one: f"{one[0]}-{one[1]}",
)
def file(request, tmp_path_factory):
    """A network, its file, and the content of the file."""
    source, exporter = request.param
    network = source.build()
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    write_onnx(network, path, source.shape, exporter)
    return network, path, read_onnx(path)


def inputs_of(program, count=6):
    return torch.randn(count, *program.shape, generator=torch.Generator().manual_seed(3))


def test_it_agrees_with_its_file_and_has_the_work_and_layers_of_its_source(file):
    source, path, program = file
    network, inputs = program.build(), inputs_of(program)
    assert check_agreement(network, program, path, inputs) < 1e-5
    assert count_macs(network, inputs) == count_macs(source, inputs)
    own = {name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    assert own == {name for name, layer in source.named_modules() if isinstance(layer, nn.Conv2d)}


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_half_of_it_trains_is_saved_and_deployed(file, tmp_path):
    _, _, program = file
    network, inputs = program.build(), inputs_of(program, 16)
    smaller = prune(network, inputs, keep_macs=0.5, align=1)
    assert count_macs(smaller, inputs) <= 0.5 * count_macs(network, inputs)
    labels = torch.arange(16) % 10
    before = F.cross_entropy(smaller(inputs), labels)
    optimizer = torch.optim.SGD(smaller.train().parameters(), 1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(smaller(inputs), labels).backward()
        optimizer.step()
    smaller.eval()
    assert F.cross_entropy(smaller(inputs), labels) < before
    export(smaller, tmp_path / "model.onnx", inputs, nn.Identity())  # which compares
    save(smaller, tmp_path / "small")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "small")(inputs), smaller(inputs))


def test_its_deployed_file_is_quantized(tmp_path):
    path = write_onnx(RESNET.build(), tmp_path / "net.onnx", RESNET.shape)
    program = read_onnx(path)
    inputs = inputs_of(program, 64)
    export(program.build(), tmp_path / "float.onnx", inputs, nn.Identity())
    quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", inputs.numpy())
    ours, theirs = (
        DEFAULT.open(tmp_path / name).outputs(inputs.numpy()) for name in ("int8.onnx", "net.onnx")
    )
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.9


def test_norms_that_a_file_keeps_are_folded_as_any(tmp_path):
    path = tmp_path / "net.onnx"
    write_onnx(
        RESNET.build(), path, RESNET.shape, training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )  # fmt: skip
    network = read_onnx(path).build()
    norms = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    folded = fold_batch_norms(network, inputs_of(read_onnx(path)))
    assert set(removed_layers(folded)) == set(norms)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_whole_heads_of_attention_are_removed(exporter, tmp_path):
    path = write_onnx(TRANSFORMER.build(), tmp_path / "net.onnx", TRANSFORMER.shape, exporter)
    program = read_onnx(path)
    network, inputs = program.build(), inputs_of(program)
    smaller = prune(network, inputs, keep_macs=0.9, pattern="heads", align=1)
    shapes = [
        tuple(layer.weight.shape) for layer in smaller.modules() if isinstance(layer, nn.Linear)
    ]
    heads = {shape[1] // 8 for shape in shapes if shape[0] == 32 and shape[1] < 32}
    assert heads  # a projection of fewer heads of 8 than the 4 that the network had
    assert heads <= {1, 2, 3}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_file_for_one_example_becomes_a_network_for_any_number(exporter, tmp_path):
    for source in (RESNET, TRANSFORMER):
        path = write_onnx(source.build(), tmp_path / "one.onnx", source.shape, exporter, batch=1)
        program = read_onnx(path)
        assert program.batch == 1
        assert any("1 at a time" in note for note in program.notes)
        network, inputs = program.build(), inputs_of(program)
        check_agreement(network, program, path, inputs)
        with torch.no_grad():
            alone = torch.cat([network(one[None]) for one in inputs])
            torch.testing.assert_close(network(inputs), alone, rtol=1e-4, atol=1e-5)


class Keras(nn.Module):
    """Images with channels last, padding of one side, and probabilities, as files of Keras have them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.dense = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.conv(F.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1))))
        return self.dense(x.mean((2, 3))).softmax(1)


def test_channels_last_and_probabilities_are_taken_off(tmp_path):
    torch.manual_seed(0)
    owner = Keras().eval()
    path = write_onnx(owner, tmp_path / "keras.onnx", (12, 8, 3))
    program = read_onnx(path, (3, 12, 8))
    inputs = inputs_of(program)
    network = program.build()
    check_agreement(network, program, path, inputs)
    with torch.no_grad():
        expected = owner(inputs.movedim(1, -1))
        torch.testing.assert_close(network(inputs).softmax(1), expected)
    assert (program.left_out, program.channels_last) == ("Softmax", True)
    assert read_onnx(path, (3, 12, 8), activation=None).left_out == ""


def test_a_file_that_leaves_the_size_open_takes_the_one_that_is_given(tmp_path):
    network = Source("torchvision:mobilenet_v3_small").build()
    path = tmp_path / "open.onnx"
    axes = {"input": {0: "batch", 2: "height", 3: "width"}}
    write_onnx(network, path, (3, 64, 64), dynamic_axes=axes)
    for shape in ((3, 64, 64), (3, 96, 80)):
        program = read_onnx(path, shape)
        assert program.shape == shape
        check_agreement(program.build(), program, path, inputs_of(program))


def test_a_constant_that_is_repeated_for_each_example_is_stored_once(tmp_path):
    path = write_onnx(TRANSFORMER.build(), tmp_path / "net.onnx", TRANSFORMER.shape)
    program = read_onnx(path)
    assert "RepeatBatch" in {step["operator"] for step in program.arguments["steps"]}
    sizes = [content["shape"][0] for content in program.arguments["constants"].values()]
    assert set(sizes) == {1}


def test_training_changes_layers_and_no_constant(tmp_path):
    path = write_onnx(TRANSFORMER.build(), tmp_path / "net.onnx", TRANSFORMER.shape)
    network = read_onnx(path).build()
    trained = {name for name, _ in network.named_parameters()}
    assert not any(name.startswith("constants.") for name in trained)
    values = np.concatenate([value.detach().flatten() for value in network.parameters()])
    assert np.isfinite(values).all()
