"""`espalier quantize FILE.onnx --calibrate FOLDER`: for who has a file and wants only a file."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from properties import assert_explains

from espalier.commands import quantize_file
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.models import load
from espalier.quantization import compact
from espalier.runtimes import DEFAULT


def load_of(folder):
    return load(folder / "teacher").eval()


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A folder of scans, and a network in torch's own export, with floats in [0, 1] as its input."""
    folder = tmp_path_factory.mktemp("file")
    images = read_split(tiny / "prepared", "train").inputs[:300]
    for number, image in enumerate(images):
        path = folder / "images" / f"{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    shutil.copytree(tiny / "models" / "teacher", folder / "teacher")
    torch.onnx.export(
        load_of(folder),
        (torch.rand(2, 1, 8, 8),),
        str(folder / "net.onnx"),
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )
    return folder


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_integers_answers_like_the_original(folder, capsys):
    quantize_file.run(
        folder / "net.onnx", folder / "images", None, "{mean: [0.3], std: [0.4]}", "entropy"
    )
    said = capsys.readouterr().out
    target = folder / "net-int8.onnx"
    assert str(target) in said
    kinds = {node.op_type for node in onnx.load(target).graph.node}
    assert "QuantizeLinear" in kinds
    assert target.read_bytes() == compact(onnx.load(target)).SerializeToString()
    assert target.stat().st_size < 0.6 * (folder / "net.onnx").stat().st_size
    inputs = np.random.default_rng(0).random((64, 1, 8, 8), np.float32)
    ours, theirs = (DEFAULT.open(path).outputs(inputs) for path in (target, folder / "net.onnx"))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95
    agreement = float(said.split("% of")[0].rsplit(" ", 1)[1].rstrip("%"))
    assert agreement > 95


@pytest.mark.filterwarnings("ignore")
def test_the_file_itself_is_never_replaced(folder, tmp_path):
    file = shutil.copy(folder / "net.onnx", tmp_path / "net.onnx")
    before = file.read_bytes()
    for out in (file, tmp_path / "images" / ".." / "net.onnx"):
        with pytest.raises(BadInput, match="--out to name another file than"):
            quantize_file.run(file, folder / "images", out, None, "entropy")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{std: [0]}", "Expected `std` in `input` to be above 0; found [0.0]."),
        (
            "{crop: 4}",
            "Expected --input to keep images of 1x8x8, as the file takes them; found 1x4x4.",
        ),
        ("{mena: [0.3]}", "Expected --input to have the keys of a preprocessing"),
    ],
)
def test_wrong_preprocessing_is_refused_by_its_own_sentence(folder, settings, words):
    with pytest.raises(BadInput) as refusal:
        quantize_file.run(folder / "net.onnx", folder / "images", None, settings, "minmax")
    assert str(refusal.value).startswith(words)
    assert "Value error" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_is_not_there_yet_is_made(folder, tmp_path):
    out = tmp_path / "new" / "folder" / "small.onnx"
    quantize_file.run(folder / "net.onnx", folder / "images", out, None, "minmax")
    assert DEFAULT.open(out).outputs(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("file", "images", "words"),
    [
        ("net.onnx", "nothing", ["nothing", "no folder"]),
        ("text.onnx", "images", ["text.onnx", "ONNX file"]),
        ("flat.onnx", "images", ["flat.onnx", "(N, 1 or 3, height, width)", "(2, 3) of FLOAT"]),
        (
            "free.onnx",
            "images",
            ["free.onnx", "fixed height and width", "(2, 1, high, 8) of FLOAT"],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_files_and_images_that_do_not_fit_are_refused(folder, file, images, words):
    (folder / "text.onnx").write_text("no file of this kind")
    torch.onnx.export(
        torch.nn.Linear(3, 2), (torch.rand(2, 3),), str(folder / "flat.onnx"), dynamo=False
    )
    torch.onnx.export(
        torch.nn.Conv2d(1, 2, 3), (torch.rand(2, 1, 8, 8),), str(folder / "free.onnx"), dynamo=False,
        input_names=["x"], dynamic_axes={"x": {2: "high"}},
    )  # fmt: skip
    with pytest.raises(BadInput) as refusal:
        quantize_file.run(folder / file, folder / images, None, None, "entropy")
    assert_explains(refusal.value, *words)


@pytest.mark.parametrize("settings", ["{mean: [0.5", "0.5", "{means: [0.5]}", "{std: [0]}"])
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_preprocessing_is_refused_in_a_sentence(folder, settings):
    with pytest.raises(BadInput, match=r"^Expected .*(--input|std)"):
        quantize_file.run(folder / "net.onnx", folder / "images", None, settings, "entropy")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch", [1, 4])
def test_a_file_for_a_fixed_number_of_images_is_quantized_too(folder, batch, capsys):
    """As `torch.onnx.export` writes it by default."""
    file = folder / f"fixed{batch}.onnx"
    network = load_of(folder)
    torch.onnx.export(network, (torch.rand(batch, 1, 8, 8),), str(file), dynamo=False)
    quantize_file.run(file, folder / "images", None, None, "minmax")
    assert "The same answer" in capsys.readouterr().out
    with DEFAULT.open_guarded(folder / f"fixed{batch}-int8.onnx") as model:
        assert model.outputs(np.zeros((2 * batch, 1, 8, 8), np.float32), batch).shape == (
            2 * batch,
            10,
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("squeezed", [False, True])
def test_of_a_file_that_gives_numbers_their_difference_is_said(folder, squeezed, capsys):
    """The class with the largest of one output is always the first: it would agree to 100 %."""
    layers = [load_of(folder), torch.nn.Linear(10, 1)]
    network = (
        torch.nn.Sequential(*layers, torch.nn.Flatten(0))
        if squeezed
        else torch.nn.Sequential(*layers)
    )
    file = folder / f"number{squeezed}.onnx"
    torch.onnx.export(
        network.eval(),
        (torch.rand(2, 1, 8, 8),),
        str(file),
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )
    quantize_file.run(file, folder / "images", None, None, "minmax")
    said = capsys.readouterr().out
    assert "The numbers differ from those of" in said
    assert "The same answer" not in said
