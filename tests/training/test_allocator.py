"""Freed memory stays with the process during a training, and goes back to the system at its end."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

# In a process of its own, and without Python's objects between the blocks: each leaves a hole that is kept anyway.
SCRIPT = """
    import contextlib, ctypes, json, os, resource
    from pathlib import Path

    from espalier.training.allocator import kept_memory

    {prelude}
    BLOCKS, BLOCK = 8, 20 * 2**20  # as of activations, together more than the C library keeps by itself
    PAGE = resource.getpagesize()
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]

    def step():
        blocks = [library.malloc(BLOCK) for _ in range(BLOCKS)]
        for block in blocks:
            library.memset(block, 1, BLOCK)
        for block in reversed(blocks):
            library.free(block)

    def cleared():
        '''The part of a step's memory that the system has cleared.'''
        step()  # in which the C library learns the size of blocks
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * PAGE / BLOCKS / BLOCK

    def held():
        '''The memory of this process, in steps.'''
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / BLOCKS / BLOCK

    found = {{"cleared before": cleared(), "held before": held()}}
    with contextlib.suppress(ArithmeticError), kept_memory():
        found |= {{"cleared within": cleared(), "held within": held()}}
        raise ArithmeticError
    found |= {{"held after": held(), "cleared after": cleared()}}
    print(json.dumps(found))
"""


def memory_of_steps(prelude: str = "") -> dict[str, float]:
    """The memory cleared and held before a training, within it, and after its end by an error, in steps."""
    script = textwrap.dedent(SCRIPT).format(prelude=prelude)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="another C library"
)
def test_a_step_uses_the_memory_of_the_step_before_until_the_training_ends():
    found = memory_of_steps()
    assert found["cleared before"] > 0.8
    assert found["cleared within"] < 0.1
    assert found["held within"] > found["held before"] + 0.8
    assert found["held after"] < found["held before"] + 0.2
    assert found["cleared after"] > 0.8


def test_with_another_library_nothing_changes():
    assert memory_of_steps("os.confstr = lambda _: None")["cleared within"] > 0.8
