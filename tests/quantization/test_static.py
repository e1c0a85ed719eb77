"""The quantized file: its types, its scales, what stays in floating point, and what it costs in accuracy and bytes."""

import logging

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch.nn import functional as F

from espalier.data.prepared import Split, read_dataset, read_split
from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization import CALIBRATIONS, quantize, quantize_dynamically
from espalier.quantization.observe import Activations
from espalier.quantization.ranges import minmax
from espalier.runtimes import DEFAULT
from espalier.runtimes.onnx_runtime import Session


@pytest.fixture(scope="module")
def calibration(digits) -> np.ndarray:
    return read_split(digits, "train").inputs[::8].numpy()


@pytest.fixture(scope="module")
def validation(digits) -> Split:
    return read_split(digits, "validation")


@pytest.fixture(scope="module")
def source(digits, tmp_path_factory):
    """The deployed file of a network that knows the digits."""
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8, "width": 16}
    )
    dataset, train = read_dataset(digits), read_split(digits, "train")
    front = dataset.front(torch.device("cpu"))
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for _ in range(5):
        for index in torch.randperm(len(train.targets)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(front(train.inputs[index])), train.targets[index]).backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("parent") / "model.onnx"
    export(network, path, train.inputs[:64], dataset.front())
    return path


@pytest.fixture(scope="module")
def quantized(source, calibration, tmp_path_factory):
    path = tmp_path_factory.mktemp("quantized") / "model.onnx"
    before = source.read_bytes()
    quantize(source, path, calibration)
    assert source.read_bytes() == before
    return path


def weights(path) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer
    }


def accuracy(path, split: Split) -> float:
    return float(
        (DEFAULT.open(path).outputs(split.inputs.numpy()).argmax(1) == split.targets.numpy()).mean()
    )


def test_activations_are_unsigned_and_weights_signed_and_per_channel(quantized):
    """Every Conv and Gemm reads (u8 with one scale) x (s8 with a scale per filter and zero point 0)."""
    graph, values = onnx.load(quantized).graph, weights(quantized)
    producers = {output: node for node in graph.node for output in node.output}
    compute_nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(compute_nodes) == 10
    for node in compute_nodes:
        activation, weight = (producers[name] for name in node.input[:2])
        assert (activation.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert values[activation.input[1]].shape == ()
        assert values[activation.input[2]].dtype == np.uint8
        integers, scales, zeros = (values[name] for name in weight.input)
        assert integers.dtype == zeros.dtype == np.int8
        filters = integers.shape[0]
        assert scales.shape == zeros.shape == (filters,)
        assert len(np.unique(scales)) > filters / 2
        assert not zeros.any()


@pytest.mark.parametrize(("reduce_range", "most"), [(True, 64), (False, 127)])
def test_weights_have_seven_bits_unless_eight_are_asked_for(
    source, calibration, tmp_path, reduce_range, most
):
    """Seven bits, so that two products fit into the 16 bits in which processors without VNNI add them."""
    quantize(source, tmp_path / "model.onnx", calibration, reduce_range=reduce_range)
    found = [
        value
        for value in weights(tmp_path / "model.onnx").values()
        if value.dtype == np.int8 and value.ndim > 1
    ]
    assert len(found) == 10
    assert max(np.abs(value.astype(int)).max() for value in found) == most
    assert most * 255 * 2 < 2**15 or not reduce_range


def test_the_front_stays_in_floating_point(source, quantized):
    def way(path) -> list[str]:
        """The nodes that pixels pass through, in order."""
        nodes, name, kinds = (
            [node for node in onnx.load(path).graph.node if node.op_type != "Identity"],
            "image",
            [],
        )
        while len(kinds) < 3:
            node = next(node for node in nodes if name in node.input)
            name = node.output[0]
            kinds.append(node.op_type)
        return kinds

    assert way(quantized) == way(source) == ["Cast", "Mul", "Add"]
    model = onnx.load(quantized)
    (pixels,), (logits,) = model.graph.input, model.graph.output
    assert (pixels.name, pixels.type.tensor_type.elem_type) == ("image", TensorProto.UINT8)
    assert (logits.name, logits.type.tensor_type.elem_type) == ("logits", TensorProto.FLOAT)


@pytest.mark.parametrize("calibration_name", CALIBRATIONS)
def test_it_costs_less_than_a_point_of_accuracy(
    source, calibration, validation, tmp_path, calibration_name
):
    quantize(source, tmp_path / "model.onnx", calibration, calibration=calibration_name)
    parent = accuracy(source, validation)
    assert parent > 0.9
    assert accuracy(tmp_path / "model.onnx", validation) > parent - 0.01


def test_it_takes_less_than_half_the_bytes(source, quantized):
    assert quantized.stat().st_size < 0.5 * source.stat().st_size


def test_calibrations_differ_in_the_scales_of_activations_alone(source, calibration, tmp_path):
    scales = {}
    for name in CALIBRATIONS:
        quantize(source, tmp_path / f"{name}.onnx", calibration, calibration=name)
        found = weights(tmp_path / f"{name}.onnx")
        scales[name] = {
            key: value
            for key, value in found.items()
            if value.dtype == np.float32 and value.ndim == 0
        }
        integers = {key: value for key, value in found.items() if value.dtype == np.int8}
        assert all(
            np.array_equal(value, weights(tmp_path / "minmax.onnx")[key])
            for key, value in integers.items()
        )
    assert scales["entropy"].keys() == scales["minmax"].keys() == scales["percentile"].keys()
    for name in ("entropy", "percentile"):
        ratios = np.array([scales[name][key] / scales["minmax"][key] for key in scales["minmax"]])
        assert ratios.max() <= 1 + 1e-6
        assert np.mean(ratios < 0.999) > 0.25


def test_every_scale_is_the_range_that_was_chosen_over_its_levels(source, calibration, tmp_path):
    """Measured here by another way: the extremes of a float tensor over all images."""
    quantize(source, tmp_path / "model.onnx", calibration, calibration="minmax")
    graph, values = onnx.load(tmp_path / "model.onnx").graph, weights(tmp_path / "model.onnx")
    name = next(node.input[0] for node in graph.node if node.op_type == "QuantizeLinear")
    scale = next(values[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear")
    model = onnx.load(source)
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    seen = DEFAULT.open(model.SerializeToString()).tensors(calibration, [name])[name]
    assert scale == pytest.approx((max(seen.max(), 0) - min(seen.min(), 0)) / 255, rel=1e-5)


def test_every_value_of_every_image_is_observed(source, calibration):
    images = calibration[:100]
    model = onnx.shape_inference.infer_shapes(onnx.load(source))
    path = source.with_name("shapes.onnx")
    onnx.save(model, path)
    found = Activations(path, images, ["Conv"]).histograms(counted=True)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert set(found) == {name for node in convolutions for name in (node.input[0], node.output[0])}
    name = convolutions[0].output[0]
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    values = DEFAULT.open(model.SerializeToString()).tensors(images, [name])[name]
    assert found[name].counts.sum() == values.size
    assert minmax(found[name]) == pytest.approx((values.min(), values.max()))


def test_images_are_run_again_only_for_counts(source, calibration, monkeypatch):
    path = source.with_name("shapes.onnx")
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), path)
    runs: list[int] = []
    run = Session.tensors

    def counted(self, inputs, names):
        runs.append(len(inputs))
        return run(self, inputs, names)

    monkeypatch.setattr(Session, "tensors", counted)
    activations = Activations(path, calibration[:100], ["Conv"])
    activations.histograms(counted=False)
    assert sum(runs) == 100
    first = activations.histograms(counted=True)
    assert sum(runs) == 200
    again = activations.histograms(counted=True)
    assert sum(runs) == 200
    assert all(np.array_equal(first[name].counts, again[name].counts) for name in first)


def test_a_layer_without_finite_values_is_named(source, calibration, tmp_path):
    model = onnx.load(source)
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    huge = np.full(weight.dims, 3e38, np.float32)
    weight.CopyFrom(numpy_helper.from_array(huge, weight.name))
    onnx.save(model, tmp_path / "float.onnx")
    with pytest.raises(BadInput, match=r"finite values for the calibration images; found .* in '"):
        quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx", calibration)
    assert not (tmp_path / "int8.onnx").exists()


def test_the_same_images_give_the_same_file(source, quantized, calibration, tmp_path):
    quantize(source, tmp_path / "model.onnx", calibration)
    assert (tmp_path / "model.onnx").read_bytes() == quantized.read_bytes()


@pytest.mark.parametrize("factory", ["mlp", "mobilenet", "vgg"])
def test_other_networks_keep_their_answers(factory, calibration, tmp_path):
    """Without training: the logits stay within a few levels of the parent's."""
    torch.manual_seed(0)
    arguments = {
        "mlp": {"hidden": [64]},
        "mobilenet": {"multiplier": 0.25},
        "vgg": {"depth": 11, "width": 8},
    }[factory]
    network = build(f"espalier:{factory}", classes=10, shape=(1, 8, 8), arguments=arguments)
    export(
        network,
        tmp_path / "parent.onnx",
        torch.from_numpy(calibration[:8]),
        Normalize((0.3,), (0.4,)),
    )
    quantize(tmp_path / "parent.onnx", tmp_path / "model.onnx", calibration, calibration="minmax")
    parent, child = (
        DEFAULT.open(tmp_path / f"{name}.onnx").outputs(calibration) for name in ("parent", "model")
    )
    assert not np.array_equal(parent, child)
    assert np.abs(parent - child).mean() < 0.1 * parent.std()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"calibration": "kl"},
            r"`calibration` to be one of minmax, percentile, entropy; found 'kl'.",
        ),
        (
            {"images": np.empty((0, 1, 8, 8), np.uint8)},
            r"calibration to be given images; found none.",
        ),
    ],
)
def test_invalid_arguments_are_refused_and_nothing_is_written(
    source, calibration, tmp_path, arguments, message
):
    with pytest.raises(BadInput, match=message):
        quantize(source, tmp_path / "model.onnx", **({"images": calibration} | arguments))
    assert not list(tmp_path.iterdir())


def test_nothing_is_said_and_the_callers_logging_stays(
    source, calibration, tmp_path, capfd, caplog, recwarn
):
    caplog.set_level(logging.INFO)
    before = logging.root.manager.disable
    quantize(source, tmp_path / "model.onnx", calibration[:16])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records  # pytest's own handler would keep them from the terminal
    assert not list(recwarn)
    assert logging.root.manager.disable == before


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy"])
def test_a_tensor_that_is_zero_on_all_images_is_quantized(calibration, tmp_path):
    class Silent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 3)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, x):
            silent = torch.relu(self.a(x) - 100.0)
            return self.head((self.b(silent) + self.a(x)[:, :, 1:-1, 1:-1]).mean((2, 3)))

    torch.manual_seed(0)
    images = torch.randint(0, 255, (32, 1, 8, 8), dtype=torch.uint8)
    export(Silent().eval(), tmp_path / "float.onnx", images, Normalize([0.5], [0.5]))
    quantize(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", images.numpy(), calibration=calibration
    )
    ours, theirs = (
        DEFAULT.open(tmp_path / name).outputs(images.numpy())
        for name in ("int8.onnx", "float.onnx")
    )
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


@pytest.fixture
def old_file(tmp_path):
    """Makes the file of a network by torch's former exporter, of any opset."""
    torch.manual_seed(0)
    network = build("espalier:lenet5", classes=10, shape=(1, 28, 28)).eval()

    def make(opset):
        path = tmp_path / f"opset-{opset}.onnx"
        torch.onnx.export(
            network, (torch.rand(2, 1, 28, 28),), str(path), dynamo=False, opset_version=opset,
            input_names=["x"], dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
        return path

    return make


IMAGES = np.random.default_rng(0).random((40, 1, 28, 28), np.float32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [9, 11, 17])
def test_files_of_every_opset_become_files_that_the_runtime_opens(old_file, tmp_path, opset):
    """A scale for each channel needs opset 13."""
    quantize(old_file(opset), tmp_path / "int8.onnx", IMAGES)
    ours, theirs = (
        DEFAULT.open(path).outputs(IMAGES) for path in (tmp_path / "int8.onnx", old_file(opset))
    )
    assert np.abs(ours - theirs).max() < 0.05 * np.ptp(theirs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "how", [quantize, lambda source, target, _: quantize_dynamically(source, target)]
)
def test_nodes_without_names_are_quantized_and_what_is_before_them_is_not(old_file, tmp_path, how):
    """The front is kept in floating point by its names."""
    model = onnx.load(old_file(17))
    scale = numpy_helper.from_array(np.float32(0.5), "scale")
    model.graph.initializer.append(scale)
    model.graph.node[0].input[0] = "scaled"
    model.graph.node.insert(0, onnx.helper.make_node("Mul", ["x", "scale"], ["scaled"]))
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "unnamed.onnx")
    how(tmp_path / "unnamed.onnx", tmp_path / "int8.onnx", IMAGES)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.4 * (
        tmp_path / "unnamed.onnx"
    ).stat().st_size
    (first,) = (
        one
        for one in onnx.load(tmp_path / "int8.onnx").graph.node
        if one.op_type == "Mul" and "scale" in one.input
    )
    assert first.input[0] == "x"
    assert DEFAULT.open(tmp_path / "int8.onnx").outputs(IMAGES).shape == (40, 10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "how", [quantize, lambda source, target, _: quantize_dynamically(source, target)]
)
def test_a_file_of_integers_is_refused_and_the_target_stays(old_file, tmp_path, how):
    quantize(old_file(17), tmp_path / "int8.onnx", IMAGES)
    (tmp_path / "target.onnx").write_bytes(b"as it was")
    with pytest.raises(BadInput, match=r"to be in floating point; found \w+Linear in it"):
        how(tmp_path / "int8.onnx", tmp_path / "target.onnx", IMAGES)
    assert (tmp_path / "target.onnx").read_bytes() == b"as it was"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "images", [IMAGES[:, :, :9], IMAGES.astype(np.float64)], ids=["shape", "type"]
)
def test_images_that_the_file_does_not_take_are_refused(old_file, tmp_path, images):
    with pytest.raises(BadInput, match="that ONNX Runtime executes; found"):
        quantize(old_file(17), tmp_path / "int8.onnx", images)
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_an_opset_that_cannot_be_converted_is_refused_with_the_way_out(
    old_file, tmp_path
):
    model = onnx.load(old_file(9))
    for opsets in ([], [onnx.helper.make_opsetid("", 1)]):
        del model.opset_import[:]
        model.opset_import.extend(opsets)
        onnx.save(model, tmp_path / "old.onnx")
        with pytest.raises(BadInput, match=r"found opset 1: .*Export the network anew"):
            quantize(tmp_path / "old.onnx", tmp_path / "int8.onnx", IMAGES)
