import threading

import pytest

from espalier.tasks.project import Project, TimeLimits
from espalier.tasks.slots import Slot


@pytest.fixture
def project(root):
    slots = tuple(Slot(root / ".espalier" / "slots" / f"cpu-{number}") for number in range(2))
    return Project(root, slots, TimeLimits(delay=0.05, grace=5.0), threading.Event())
