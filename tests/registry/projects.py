"""A project with tiny real models: ONNX files that run, in sealed folders."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from espalier import files
from espalier.params import Params, read_params
from espalier.params.lineage import declared_inputs

PARAMS = """
teacher: {model: "espalier:resnet", epochs: 1}
models:
  student: {from: teacher, by: distill, model: "espalier:resnet"}
  student-p50: {from: student, by: prune, keep_macs: 0.5, finetune: {epochs: 3}}
registry: {name: digits}
"""
TIMES = (1_700_000_000.25, 1_700_000_010.5)
COLUMNS = ("step", "epoch", "loss", "accuracy", "learning_rate", "seconds", "time")
HISTORY = ((21, 1, 2.5, 0.25, 0.1, 5.0, TIMES[0]), (42, 2, 1.5, 0.5, 0.05, 5.0, TIMES[1]))


class Project:
    """The folder of a project, with a teacher and two compressed models."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "params.yaml").write_text(PARAMS)
        (root / "prepared").mkdir()
        images = np.random.default_rng(0).integers(0, 17, (12, 1, 8, 8), dtype=np.uint8)
        save_file(
            {"images": images, "labels": np.zeros(12, np.int64)},
            root / "prepared" / "validation.safetensors",
        )
        for number, name in enumerate(self.params.names):
            self.write_model(name, seed=number)
        self.write_report(latency=2.0)

    @property
    def params(self) -> Params:
        return read_params(self.root)

    def write_model(
        self, name: str, seed: int, history: tuple[tuple[float, ...], ...] = HISTORY
    ) -> Path:
        folder = self.root / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        weights = np.random.default_rng(seed).standard_normal((64, 10)).astype(np.float32)
        save_file({"weights": weights}, folder / "weights.safetensors")
        (folder / "architecture.json").write_text('{"factory": "espalier:resnet"}')
        onnx.save(tiny(weights), folder / "model.onnx")
        if history:
            with (folder / "history.csv").open("w", newline="") as file:
                csv.writer(file).writerows([COLUMNS, *history])
        (folder / "metrics.json").write_text('{"accuracy": 0.5}')
        lineage = {
            "entry": declared_inputs(self.params, name)["entry"],
            "data": "d" * 64,
            "versions": {"torch": "2.15"},
            "seconds": 1.5,
            "finished": 1_800_000_000.0,
        }
        (folder / "lineage.json").write_text(json.dumps(lineage))
        files.seal(folder)
        return folder

    def write_report(self, latency: float) -> None:
        (self.root / "reports").mkdir(exist_ok=True)
        rows = [f"{name},0.875,{latency},{name}-card" for name in self.params.names]
        table = "\n".join(["model,accuracy,latency_1_ms,note", *rows])
        (self.root / "reports" / "models.csv").write_text(table + "\n")
        files.seal(self.root / "reports", nested=True)

    def images(self) -> np.ndarray:
        return np.random.default_rng(5).integers(0, 17, (3, 1, 8, 8), dtype=np.uint8)

    def answers(self, name: str, images: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(self.root / "models" / name / "model.onnx")
        return session.run(["logits"], {"image": images})[0]


def tiny(
    weights: np.ndarray,
    kind: int = TensorProto.UINT8,
    batch: int | str = "batch",
    sides: tuple[int, int] = (8, 8),
) -> onnx.ModelProto:
    """A linear network on small images.

    It takes the producer's name with it, which MLflow's own writing would keep.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, [batch, 1, *sides])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
