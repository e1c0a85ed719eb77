"""ONNX files from elsewhere run in a process with limits: none takes the memory or the time of its user."""

import time
from pathlib import Path

import hostile_onnx
import numpy as np
import onnx
import pytest
from properties import assert_explains

from espalier.commands import quantize_file
from espalier.data.prepared import Split, read_dataset
from espalier.errors import BadInput
from espalier.inputs.image import encode
from espalier.models.onnx_import import read_onnx
from espalier.onnx_files import load_onnx
from espalier.params import check
from espalier.params.sections import Evaluation
from espalier.registry.promotion.evaluator import answer
from espalier.runtimes import DEFAULT, RunLimits

MEMORY = 300 * 2**20
IMAGES = np.random.default_rng(0).integers(0, 255, (4, 1, 8, 8)).astype(np.uint8)


def peak_of(opened) -> int:
    """Peak of the resident memory of the process that runs a file; 0 if it has ended."""
    try:
        status = Path(f"/proc/{opened.pid}/status").read_text()
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(peaks[0]) if peaks else 0


def run(path: Path, peaks: list[int]) -> None:
    with DEFAULT.open_guarded(path) as opened:
        try:
            opened.outputs(IMAGES)
        finally:
            peaks.append(peak_of(opened))


@pytest.mark.parametrize("name", hostile_onnx.FILES)
def test_a_hostile_file_is_refused_with_little_memory(tmp_path, name):
    path = hostile_onnx.write(hostile_onnx.FILES[name](), tmp_path / "model.onnx")
    peaks: list[int] = []
    with pytest.raises(BadInput) as caught:
        run(path, peaks)
    assert_explains(caught.value, str(path))
    assert all(peak < MEMORY for peak in peaks)  # of the whole process, the runtime included


def test_the_limit_of_memory_is_named(tmp_path):
    path = hostile_onnx.write(hostile_onnx.range_(), tmp_path / "model.onnx")
    limits = RunLimits(memory=2**26)
    with pytest.raises(BadInput) as caught, DEFAULT.open_guarded(path, 1, limits) as opened:
        opened.run(IMAGES)
    assert_explains(caught.value, str(path), "64 MB", "run_memory")


def test_a_file_that_computes_too_long_is_stopped(tmp_path):
    path = hostile_onnx.write(hostile_onnx.slow(), tmp_path / "model.onnx")
    began = time.monotonic()
    limits = RunLimits(seconds=3)
    with pytest.raises(BadInput) as caught, DEFAULT.open_guarded(path, 1, limits) as opened:
        opened.run(IMAGES)
    assert_explains(caught.value, str(path), "3 s", "run_seconds")
    assert time.monotonic() - began < 30


def test_outputs_are_those_of_this_process_bit_for_bit(tiny):
    path = tiny / "models" / "teacher" / "model.onnx"
    with DEFAULT.open_guarded(path) as opened:
        found = opened.outputs(IMAGES, batch_size=3)
    assert np.array_equal(found, DEFAULT.open(path).outputs(IMAGES, batch_size=3))


def test_the_limits_are_settings(tiny, tmp_path):
    content = {"teacher": {"model": "espalier:mlp"}, "evaluation": {"run_memory": 10**9}}
    assert check(content).evaluation.run_memory == 10**9
    dataset, folder = read_dataset(tiny / "prepared"), tiny / "models" / "teacher"
    test = Split(*(_tensor(array) for array in (IMAGES, np.arange(4))))
    assert len(answer(folder, test, Evaluation(), dataset).scores) == 4
    with pytest.raises(BadInput) as caught:
        answer(folder, test, Evaluation(run_seconds=0.0005), dataset)
    assert_explains(caught.value, "run_seconds", "model.onnx")


def _tensor(array: np.ndarray):
    import torch

    return torch.from_numpy(array)


@pytest.mark.parametrize("name", ["expand", "resize", "endless loop", "outside data"])
def test_files_of_anyone_are_refused_where_they_are_quantized_and_imported(tmp_path, name):
    path = hostile_onnx.write(hostile_onnx.FILES[name](), tmp_path / "model.onnx")
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encode(IMAGES[number % 4]))
    with pytest.raises(BadInput) as caught:
        quantize_file.run(path, tmp_path, None, None, "minmax")
    assert_explains(caught.value, str(path))
    with pytest.raises(BadInput) as caught:
        read_onnx(path, (1, 8, 8))
    assert_explains(caught.value, str(path))


def test_external_data_are_read_from_the_folder_of_the_file_alone(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    built = hostile_onnx.range_()
    built.graph.initializer.append(hostile_onnx.constant("weights", np.ones(1000), np.float32))
    onnx.save(built, inside / "model.onnx", save_as_external_data=True, location="weights.bin")
    loaded = load_onnx(inside / "model.onnx", external=True)
    assert any(len(one.raw_data) == 4000 for one in loaded.graph.initializer)
    with pytest.raises(BadInput, match=r"contain its weights"):
        load_onnx(inside / "model.onnx")
    (inside / "weights.bin").rename(tmp_path / "weights.bin")
    (inside / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(BadInput) as caught:
        load_onnx(inside / "model.onnx", external=True)
    assert_explains(caught.value, "in its folder", "weights.bin")


def test_a_loop_inside_other_graphs_and_functions_is_found(tmp_path):
    loop = hostile_onnx.endless_loop()
    node = next(one for one in loop.graph.node if one.op_type == "Loop")
    inner = onnx.helper.make_graph([node], "inner", [], [])
    outer = onnx.helper.make_node("If", ["true"], ["last"], then_branch=inner, else_branch=inner)
    nodes = [outer if one is node else one for one in loop.graph.node]
    del loop.graph.node[:]
    loop.graph.node.extend(nodes)
    path: Path = hostile_onnx.write(loop, tmp_path / "model.onnx")
    with pytest.raises(BadInput, match="Loop"):
        load_onnx(path)
