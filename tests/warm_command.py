"""A command for the tests of the warm process: it prints what it is, and ends as its first argument says."""

# ruff: noqa: T201 - what it prints is what it says

import atexit
import json
import os
import random
import sys
import threading
import time
from pathlib import Path


def describe() -> None:
    mask = os.umask(0)
    os.umask(mask)
    content = {
        "argv": sys.argv,
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "mask": mask,
        "input": sys.stdin.read(),
        "random": random.random(),
        "parent": os.getppid(),
        "open": len(list(Path("/proc/self/fd").iterdir())),
    }
    print(json.dumps(content))


def main() -> None:
    word = sys.argv[1]
    if word == "describe":
        describe()
    elif word == "exit":
        sys.exit(int(sys.argv[2]))
    elif word == "raise":
        raise RuntimeError("a defect")
    elif word == "kill":
        os.kill(os.getpid(), int(sys.argv[2]))
    elif word == "late":
        atexit.register(lambda: print("an exit handler"))
        threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
    elif word == "sleep":
        print(os.getpid(), flush=True)
        time.sleep(60)


if __name__ == "__main__":
    main()
