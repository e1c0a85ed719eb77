"""Every parser of a project's files ends in one sentence with the file's name, whatever lies there.

A parser is a row of `PARSERS`: a file of a project, and a call that reads it. Each file is cut, has bits
flipped, other values, contents of other kinds, and is replaced by a folder, a pipe, or a link.
"""

import json
import shutil
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from damage import any_contents, damages, no_files, other_values
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from espalier import files
from espalier.coding import pack, unpack
from espalier.commands import evaluate, make, show
from espalier.commands.report import write_page
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import EspalierError
from espalier.gates import read_policies
from espalier.making.project import Project
from espalier.making.stage_dependencies import (
    recorded_outputs,
    refuse_missing_sections,
    refuse_unknown_to_dvc,
)
from espalier.models import build
from espalier.models.folder import load
from espalier.models.onnx_import import read_onnx
from espalier.models.trained import read_weights
from espalier.params import read_params
from espalier.pruning.groups.kept_outputs import KeptOutputs
from espalier.records import verify_reports
from espalier.registry.promotion.evaluator import Evaluator, answer
from espalier.registry.versions.metrics import read_history, read_metrics, read_report
from espalier.registry.versions.model import read_model
from espalier.runtimes import DEFAULT

PARAMS = """\
training: {batch_size: 64, threads: 1}
teacher: {model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 1}
models:
  pruned: {from: teacher, by: prune, keep_macs: 0.6, align: 1}
evaluation: {rounds: 3}
"""
GATES = "champion: {candidates: [pruned], gates: {examples: 300, bytes_ratio: 0.9}}\n"
STAGES = """\
stages:
  teacher: {cmd: espalier make teacher, deps: [prepared], params: [training, teacher]}
  model: {foreach: "${models}", do: {cmd: "espalier make ${key}", deps: ["${item.from}", weights.pt]}}
"""
LOCK = """\
schema: '2.0'
stages: {model@pruned: {cmd: espalier make pruned, outs: [{path: models/pruned, md5: "0.dir"}]}}
"""
EXAMPLES = 400  # of contents that hypothesis draws; about 15 s
SLOW = 40  # damages of a file whose parser draws the whole page


def _project(root: Path) -> Project:
    return Project(root, read_params(root), torch.device("cpu"))


def _dvc(root: Path) -> None:
    refuse_missing_sections(root)
    refuse_unknown_to_dvc(root, "pruned", ("weights.pt",))


def _split(root: Path) -> None:
    read_split(root / "prepared", "test").inputs.sum()


def _lineage(root: Path) -> None:
    _project(root).base_macs("pruned")
    _project(root).base_parameters("pruned")
    model = read_model(root, read_params(root), "pruned")
    model.tags()
    model.parameters()
    model.time_span()


def _metrics(root: Path) -> None:
    _project(root).metrics("pruned")
    read_metrics(root / "models/pruned/metrics.json")


def _answer(root: Path) -> None:
    dataset, test = read_dataset(root / "prepared"), read_split(root / "prepared", "test")
    answer(root / "models/pruned", test, read_params(root).evaluation, dataset)


def _figures(root: Path) -> None:
    Evaluator.open(root, read_params(root)).figures("pruned", None, "")


def _page(root: Path) -> None:
    write_page(root, root / "reports")


def _run(root: Path) -> None:
    DEFAULT.open(root / "models/pruned/model.onnx").run(np.zeros((2, 1, 8, 8), np.uint8))


@dataclass(frozen=True)
class Parser:
    """A parser: the file, and a call that reads it in a project.

    Attributes:
        file: path in the project.
        read: call of the parser.
        most: largest number of damages, evenly spread over all.
    """

    file: str
    read: Callable[[Path], object]
    most: int = 10_000


PARSERS = {
    "params": Parser("params.yaml", read_params),
    "gates": Parser("mlflow/gates.yaml", lambda root: read_policies(root / "mlflow/gates.yaml")),
    "stages": Parser("dvc.yaml", _dvc),
    "lock": Parser("dvc.lock", recorded_outputs),
    "dataset": Parser("prepared/dataset.json", lambda root: read_dataset(root / "prepared")),
    "split": Parser("prepared/test.safetensors", _split),
    "manifest": Parser(
        "models/pruned/manifest.json", lambda root: files.verify(root / "models/pruned")
    ),
    "architecture": Parser(
        "models/pruned/architecture.json", lambda root: load(root / "models/pruned")
    ),
    "weights": Parser(
        "models/pruned/weights.safetensors", lambda root: load(root / "models/pruned")
    ),
    "deployed, run": Parser("models/pruned/model.onnx", _run),
    "deployed, judged": Parser("models/pruned/model.onnx", _answer),
    "metrics": Parser("models/pruned/metrics.json", _metrics),
    "lineage": Parser("models/pruned/lineage.json", _lineage),
    "lineage, judged": Parser("models/pruned/lineage.json", _figures, SLOW),
    "cut": Parser(
        "models/pruned/cut.json", lambda root: KeptOutputs.read(root / "models/pruned/cut.json")
    ),
    "history": Parser(
        "models/teacher/history.csv",
        lambda root: read_history(root / "models/teacher/history.csv", 0.0),
    ),
    "history, drawn": Parser("models/teacher/history.csv", _page, SLOW),
    "report, registered": Parser("reports/models.csv", read_report),
    "report, shown": Parser("reports/models.csv", show.run),
    "report, judged": Parser("reports/models.csv", _figures, SLOW),
    "report, drawn": Parser("reports/models.csv", _page, SLOW),
    "classes": Parser("reports/classes.csv", _page, SLOW),
    "sensitivity": Parser("reports/sensitivity.csv", _page, SLOW),
    "activity": Parser("reports/activity.csv", _page, SLOW),
    "saliency": Parser("reports/saliency.json", _page, SLOW),
    "conditions": Parser("reports/conditions.json", show.run),
    "conditions, judged": Parser("reports/conditions.json", _figures, SLOW),
    "conditions, drawn": Parser("reports/conditions.json", _page, SLOW),
    "manifest of reports": Parser("reports/manifest.json", verify_reports),
    "predictions, judged": Parser("reports/predictions/pruned.parquet", _figures, SLOW),
    "predictions, drawn": Parser("reports/predictions/pruned.parquet", _page, SLOW),
}


@pytest.fixture(scope="module")
def judged(digits, tmp_path_factory) -> Path:
    """A small project with a teacher and a pruned model that are made and evaluated."""
    root = tmp_path_factory.mktemp("judged")
    shutil.copytree(digits, root / "prepared")
    (root / "params.yaml").write_text(PARAMS)
    (root / "mlflow").mkdir()
    (root / "mlflow/gates.yaml").write_text(GATES)
    (root / "dvc.yaml").write_text(STAGES)
    (root / "dvc.lock").write_text(LOCK)
    for name in ("teacher", "pruned"):
        make.run(root, name)
    evaluate.run(root)
    return root


@contextmanager
def seconds(most: int, what: str) -> Iterator[None]:
    """Fail if the block hangs, as one that opens a pipe does."""

    def stop(*_: object) -> None:
        pytest.fail(f"hangs at {what}")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(most)
    try:
        yield
    finally:
        signal.alarm(0)


def contents_of(file: str, content: bytes) -> Iterator[bytes]:
    """Damaged contents of a file, by its kind."""
    yield from damages(content)
    if file.endswith(".json"):
        yield from (json.dumps(one).encode() for one in other_values(json.loads(content)))
    elif file.endswith((".yaml", ".lock")):
        yield from (json.dumps(one).encode() for one in other_values(yaml.safe_load(content)))
    elif file.endswith(".csv"):
        yield from tables_like(content.decode())


def tables_like(text: str) -> Iterator[bytes]:
    """A CSV file without a column, and with other cells in its last row."""
    rows = [line.split(",") for line in text.splitlines()]
    for column in range(len(rows[0])):
        yield table([row[:column] + row[column + 1 :] for row in rows])
        for cell in ("", "x", "nan", "inf", "-1", "1e400", '"', "\x1b[2J", "1,2"):
            last = [*rows[-1][:column], cell, *rows[-1][column + 1 :]]
            yield table([*rows[:-1], last])


def table(rows: list[list[str]]) -> bytes:
    return "".join(",".join(row) + "\n" for row in rows).encode()


def hide_damage(root: Path, file: str) -> None:
    """Record the hash of a damaged file where one is recorded, as a stranger would."""
    path = root / file
    if not path.is_file() or path.is_block_device():
        return
    if file.startswith("models") and path.name != "manifest.json":
        files.seal(path.parent)
    elif file.startswith("reports") and path.name != "manifest.json":
        files.seal(root / "reports", nested=True)
    elif file == "prepared/test.safetensors":
        described = json.loads((root / "prepared/dataset.json").read_text())
        described["files"][path.name] = files.sha256(path)
        files.write_json(root / "prepared/dataset.json", described)
    elif path.suffix == ".espalier":
        body = path.read_bytes()[:-4]
        path.write_bytes(body + zlib.crc32(body).to_bytes(4, "little"))


def assert_ends_in_a_sentence(root: Path, parser: Parser, damage: object, most: int = 60) -> bool:
    """A parser returns in some seconds, or refuses in one line with the file's name: whether it refused."""
    with seconds(most, f"{parser.file}: {damage!r:.200}"):
        try:
            parser.read(root)
        except EspalierError as error:
            text = str(error)
            named = (Path(parser.file).name, "Expected reports/ to be of")
            assert any(name in text for name in named), text
            assert len(text.splitlines()) == 1
            assert text.startswith("Expected ") or "Expected " in text
            assert len(text) < 1500
            return True
        except Exception as error:
            pytest.fail(f"{parser.file}: {damage!r:.300}: {type(error).__name__}: {error}")
    return False


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_damage_ends_in_one_sentence_that_names_the_file(judged, tmp_path, parser, capsys):
    root = shutil.copytree(judged, tmp_path / "project")
    parser.read(root)
    path = root / parser.file
    content = path.read_bytes()
    every = list(contents_of(parser.file, content))
    step = -(-len(every) // parser.most)
    refused = 0
    for damaged in every[::step]:
        path.write_bytes(damaged)
        hide_damage(root, parser.file)
        refused += assert_ends_in_a_sentence(root, parser, damaged)
    outside = tmp_path / "outside"
    outside.write_bytes(b"outside")
    for kind in no_files(path, outside):
        if kind != "a link to a device":
            hide_damage(root, parser.file)
        refused += assert_ends_in_a_sentence(root, parser, kind)
    assert refused > 5
    assert not list(tmp_path.rglob("pwned"))


def write_foreign(folder: Path) -> None:
    """The files of other programs: a checkpoint, safetensors, an ONNX file of one layer; and a packed one."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.save(network.state_dict(), folder / "weights.pt")
    save_file(network.state_dict(), folder / "weights.safetensors")
    pack(
        build("espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": [2]}),
        folder / "packed.espalier",
    )
    example = torch.zeros(1, 1, 8, 8)
    torch.onnx.export(network, example, str(folder / "network.onnx"), dynamo=False)


FOREIGN = {
    "weights.pt": read_weights,
    "weights.safetensors": read_weights,
    "network.onnx": lambda path: read_onnx(path).build(),
    "packed.espalier": unpack,
}


def foreign_parser(name: str) -> Parser:
    return Parser(name, lambda root: FOREIGN[name](root / name))


FAST = [one for one in PARSERS.values() if one.most != SLOW] + [
    foreign_parser(one) for one in FOREIGN
]


@pytest.fixture(scope="module")
def own(judged, tmp_path_factory) -> Path:
    """A copy of the project, with files of other programs beside it."""
    root = shutil.copytree(judged, tmp_path_factory.mktemp("own") / "project")
    write_foreign(root)
    return root


@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_any_content_ends_in_one_sentence(own, data):
    """Bytes, texts and trees of any kind, and changed contents, for the parsers that take no second."""
    parser = data.draw(st.sampled_from(FAST))
    path = own / parser.file
    original = path.read_bytes()
    content = data.draw(any_contents(parser.file, original))
    try:
        path.write_bytes(content)
        hide_damage(own, parser.file)
        assert_ends_in_a_sentence(own, parser, content, most=20)
    finally:
        path.write_bytes(original)
        hide_damage(own, parser.file)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FOREIGN)
def test_damage_to_files_of_other_programs_ends_in_one_sentence(tmp_path, name):
    write_foreign(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    parser = foreign_parser(name)
    parser.read(tmp_path)
    refused = 0
    for damaged in damages(content):
        path.write_bytes(damaged)
        hide_damage(tmp_path, name)
        refused += assert_ends_in_a_sentence(tmp_path, parser, damaged)
    outside = tmp_path / "outside"
    outside.write_bytes(content)
    for kind in no_files(path, outside):
        refused += assert_ends_in_a_sentence(tmp_path, parser, kind)
    assert refused > 20
    assert not list(tmp_path.rglob("pwned"))
