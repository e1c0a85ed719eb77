"""A stage of the test projects.

It records its start and end, runs `behave/STAGE.py` if that exists, and copies its inputs. `end` ends it
as the command line ends a stage: with a status and a sentence.
"""

import json
import os
import sys
import time
from pathlib import Path

FIGURES = {
    "accuracy": 0.5,
    "accuracy_low": 0.4,
    "accuracy_high": 0.6,
    "drop": 0,
    "drop_low": 0,
    "drop_high": 0,
}
FIGURES |= {
    "parameters": 10,
    "macs": 10,
    "bytes": 10,
    "latency_1_ms": 1,
    "speedup_1": 1,
    "latency_64_ms": 1,
}
FIGURES |= {
    "speedup_64": 1,
    "speedup_1_low": 1,
    "speedup_1_high": 1,
    "examples": 10,
    "not_finite": 0,
}
FIGURES |= {"memory_1": 1, "worst_class_drop_high": 0, "front": True}
REPORT = (
    f"model,parent,by,{','.join(FIGURES)}\nteacher,,train,{','.join(map(str, FIGURES.values()))}\n"
)

name, out, *reads = sys.argv[1:]


def record(status, sentence):
    if "ESPALIER_OUTCOME" in os.environ:
        Path(os.environ["ESPALIER_OUTCOME"]).write_text(
            json.dumps({"status": status, "message": sentence})
        )


def end(status, sentence):
    record(status, sentence)
    sys.exit(status)


def note(event):
    with Path(os.environ.get("SAMPLE_EVENTS", "events.log")).open("a") as log:
        log.write(
            json.dumps({"stage": name, "event": event, "at": time.time(), "pid": os.getpid()})
            + "\n"
        )


def times():
    log = Path(os.environ.get("SAMPLE_EVENTS", "events.log"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sum(line["stage"] == name and line["event"] == "begin" for line in lines)


note("begin")
behaviour = Path("behave", f"{name}.py")
if behaviour.exists():
    exec(behaviour.read_text())
content = "".join(
    sorted(path.read_text() for read in reads for path in Path(read).rglob("content"))
)
target = Path(out)
file = target if target.suffix else target / "content"
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text(f"{content}{name}\n")
if out.startswith("models/"):
    (target / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "macs": len(content)}))
if out == "reports":
    from espalier import files

    (target / "models.csv").write_text(REPORT)
    files.seal(target, nested=True)
sys.stdout.write(json.dumps({"epoch": 1, "loss": 0.123456}) + "\n")
record(0, "")
note("end")
