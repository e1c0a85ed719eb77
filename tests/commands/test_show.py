"""`espalier show`: the table of the last evaluation, without libraries that compute."""

import subprocess
import sys

import pytest
from properties import assert_explains

from espalier import files
from espalier.commands import show
from espalier.errors import BadInput

COLUMNS = (
    "model,parent,by,accuracy,accuracy_low,accuracy_high,examples,parameters,macs,bytes,latency_1_ms,latency_64_ms,"
    "speedup_1,speedup_1_low,speedup_1_high,speedup_64,drop,drop_low,drop_high,not_finite,memory_1,"
    "worst_class_drop_high,front,classes"
)
TEACHER = "teacher,,train,0.9,0.8,0.95,359,1234567,1e7,4800000,0.3,30,1,1,1,1,0,0,0,0,,,True,"
CHILD = "nan,teacher,prune,0.85,0.8,0.9,359,1000,1e6,5000,0.1,10,3,3,3,3,0.05,0.01,0.09,0,,,False,a and b"


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text('teacher: {model: "espalier:resnet"}\n')
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "models.csv").write_text("\n".join([COLUMNS, TEACHER, CHILD, ""]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_is_printed_from_its_text(root, capsys):
    show.run(root)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    figures = "90.0 (80.0..95.0) 1.23 M 10 M 4.8 MB 0.300 ms 1.0x 30.00 ms 1.0x"
    assert lines[1] == f"teacher * train {figures}"
    assert lines[2].startswith("└─ nan prune 85.0 (80.0..90.0) 5.0 (1.0..9.0) 1 k 1 M 5 kB")
    assert lines[-1] == "nan: judged on the 359 test examples of a and b"


def test_an_unknown_task_is_named_with_the_known_ones(root):
    conditions = {
        "data": "d", "models": {}, "device": "d", "threads": 1, "processors": 1, "load": 0.0, "torch": "2",
        "started": 0.0, "task": "divination",
    }  # fmt: skip
    files.write_json(root / "reports" / "conditions.json", conditions)
    with pytest.raises(BadInput) as caught:
        show.run(root)
    assert_explains(caught.value, "classification, multilabel, regression", "divination")


@pytest.mark.parametrize("column", ["memory_1", "worst_class_drop_high", "speedup_1_low"])
def test_a_word_in_the_place_of_a_number_is_named(root, column):
    child = CHILD.split(",")
    child[COLUMNS.split(",").index(column)] = "0.2x"
    path = root / "reports" / "models.csv"
    path.write_text("\n".join([COLUMNS, TEACHER, ",".join(child), ""]))
    with pytest.raises(BadInput) as caught:
        show.run(root)
    assert_explains(caught.value, str(path), f"`{column}`", "line 3", "0.2x")


def test_nothing_that_computes_is_imported(root):
    code = (
        "import sys; from espalier.flows.cli import run_command; sys.argv = ['espalier', 'show']\n"
        "try:\n    run_command()\n"
        "except SystemExit as ended:\n"
        "    heavy = {'torch', 'pandas', 'numpy', 'mlflow', 'prefect', 'dvc', 'scipy', 'onnx'}\n"
        "    print(ended.code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
