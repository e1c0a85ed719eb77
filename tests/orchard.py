"""Small projects with real DVC graphs whose stages are short scripts: what orchestration is tested on."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ENVIRONMENT = os.environ | {
    "DVC_NO_ANALYTICS": "1",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip

# A stage of the test projects. It copies what it reads, notes when it ran, and then does what `behave.py` says, if
# there is one for it; `end` leaves the project the way the command line does: with a status and a sentence.
STAGE = """
import json, os, pathlib, shutil, signal, subprocess, sys, time

name, out, *reads = sys.argv[1:]

def end(status, sentence):
    pathlib.Path(os.environ["ESPALIER_OUTCOME"]).write_text(json.dumps({"status": status, "message": sentence}))
    sys.exit(status)

def note(event):
    with open("events.log", "a") as log:
        log.write(json.dumps({"stage": name, "event": event, "at": time.time(), "pid": os.getpid()}) + "\\\\n")

def times():
    return sum(json.loads(line)["stage"] == name for line in open("events.log") if '"begin"' in line)

note("begin")
behaviour = pathlib.Path("behave") / (name + ".py")
if behaviour.exists():
    exec(behaviour.read_text())
content = "".join(sorted(
    path.read_text() for read in reads for path in pathlib.Path(read).rglob("*") if path.name == "content"
))
target = pathlib.Path(out)
folder = target if target.suffix == "" else target.parent
folder.mkdir(parents=True, exist_ok=True)
file = target if target.suffix else target / "content"
file.write_text(content + name + "\\n")
if out.startswith("models/"):
    (target / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "macs": len(content)}))
if out == "reports":
    (target / "models.csv").write_text("model,accuracy\\nteacher,0.5\\n")
print(json.dumps({"epoch": 1, "loss": 0.123456}))
note("end")
""".replace("\\\\n", "\\n")

MODELS = {
    "student": {"from": "teacher", "by": "prune", "keep_macs": 0.9},
    "student-p50": {"from": "student", "by": "prune", "keep_macs": 0.5},
    "other": {"from": "teacher", "by": "prune", "keep_macs": 0.8},
}


def _command(name: str, out: str, *reads: str) -> str:
    return " ".join(["python stage.py", name, out, *reads])


PIPELINE = {
    "stages": {
        "prepare": {"cmd": _command("prepare", "prepared", "data"), "deps": ["data"], "outs": ["prepared"]},
        "teacher": {
            "cmd": _command("teacher", "models/teacher", "prepared"),
            "deps": ["prepared"],
            "outs": ["models/teacher"],
        },
        "model": {
            "foreach": "${models}",
            "do": {
                "cmd": _command("${key}", "models/${key}", "models/${item.from}"),
                "deps": ["models/${item.from}"],
                "params": ["models.${key}"],
                "outs": ["models/${key}"],
            },
        },
        "evaluate": {
            "cmd": _command("evaluate", "reports", "models"),
            "deps": ["prepared", "models"],
            "params": ["models"],
            "outs": ["reports"],
        },
        "register": {
            "cmd": _command("register", "registered.json", "reports"),
            "deps": ["models", "reports"],
            "outs": [{"registered.json": {"cache": False, "persist": True}}],
        },
    }
}


def plant(root: Path) -> Path:
    """Make a project with a graph like the product's own, nothing of it made yet."""
    root.mkdir(parents=True, exist_ok=True)
    call(root, "git", "init", "--quiet")
    call(root, "dvc", "init", "--quiet")
    write_params(root)
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    (root / "stage.py").write_text(STAGE)
    (root / "behave").mkdir()
    (root / "data").mkdir()
    (root / "data" / "content").write_text("data\n")
    call(root, "dvc", "add", "--quiet", "data")
    return root


def write_params(root: Path, **changes: dict[str, object]) -> None:
    """Write `params.yaml`; `changes` are entries under `models`, by name."""
    content = {
        "training": {"threads": 1},
        "teacher": {"model": "espalier:resnet"},
        "models": {name: entry | changes.get(name, {}) for name, entry in MODELS.items()},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def behave(root: Path, stage: str, code: str) -> None:
    """Let a stage do something before it writes its output."""
    (root / "behave" / f"{stage}.py").write_text(code)


def events(root: Path, event: str = "begin") -> list[str]:
    """The stages of which `event` was noted, in the order in which it was."""
    import json

    log = root / "events.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line["stage"] for line in lines if line["event"] == event]


def call(root: Path, *command: str) -> str:
    """Run a command in a project, and return what it printed."""
    ended = subprocess.run(command, cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
