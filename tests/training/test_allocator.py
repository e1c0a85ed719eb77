"""Freed memory stays with the process during a training, and goes back to the system at its end."""

import os
import resource
from pathlib import Path

import pytest
import torch

from espalier.training.allocator import kept_memory

BLOCK = 64 * 2**20  # bytes, more than the C library keeps by itself
PAGES = BLOCK // resource.getpagesize()


def with_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except ValueError:
        return False


pytestmark = pytest.mark.skipif(not with_glibc(), reason="another C library")


def faults_of_steps(steps: int = 4) -> int:
    """Pages that the system clears for this process while it fills and frees a block in each step."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(BLOCK, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def held() -> int:
    """Pages of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_a_step_uses_the_pages_of_the_step_before():
    assert faults_of_steps(4) > 3 * PAGES
    with kept_memory():
        faults_of_steps(4)  # the first ones may find different places
        assert faults_of_steps(4) < PAGES / 10
    assert faults_of_steps(4) > 3 * PAGES


def test_the_memory_goes_back_at_the_end():
    before = held()
    with kept_memory():
        faults_of_steps(1)
        assert held() > before + PAGES / 2
    assert held() < before + PAGES / 2


def test_an_error_ends_it_too():
    with pytest.raises(ArithmeticError), kept_memory():
        raise ArithmeticError
    assert faults_of_steps(4) > 3 * PAGES


@pytest.mark.parametrize("answer", [ValueError, None])
def test_with_another_library_nothing_changes(answer, monkeypatch):
    def confstr(_: str) -> None:
        if answer:
            raise answer

    monkeypatch.setattr(os, "confstr", confstr)
    with kept_memory():
        assert faults_of_steps(4) > 3 * PAGES
