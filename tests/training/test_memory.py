"""Memory that runs out: whether another try helps, and the keys that make a step smaller."""

import numpy as np
import pytest
import torch

from espalier.errors import BadInput, TryAgain
from espalier.training.memory import (
    Memory,
    explain,
    explain_out_of_memory,
    is_out_of_memory,
    memory_of_processor,
    requested_bytes,
)

GB = 10**9


def gpu(own, others):
    return Memory("a GPU", total=80 * GB, free=(80 - own - others) * GB, own=own * GB)


@pytest.mark.parametrize(
    ("memory", "requested", "kind"),
    [
        (gpu(own=20, others=50), 15 * GB, TryAgain),
        (gpu(own=20, others=50), 70 * GB, BadInput),  # too much for the whole GPU
        (gpu(own=70, others=0), 15 * GB, BadInput),
        (gpu(own=70, others=0.6), 10 * GB, BadInput),  # the context of this process alone
        (gpu(own=20, others=50), 0, TryAgain),
        (gpu(own=79, others=0.5), 0, BadInput),
    ],
    ids=str,
)
def test_another_try_helps_only_if_others_hold_what_is_missing(memory, requested, kind):
    assert type(explain(memory, requested)) is kind


def test_the_sentences():
    assert str(explain(gpu(own=20, others=50), 15 * GB)) == (
        "Expected a GPU to have room for 15.0 GB more; found that other processes hold 50.0 GB of "
        "80.0 GB: try again when they have ended."
    )
    assert str(explain(gpu(own=70, others=0), 15 * GB)) == (
        "Expected a GPU to have room for 15.0 GB more; found 70.0 GB of 80.0 GB in use by this "
        "process: lower `batch_size` of the entry, of `training` or of `evaluation`, or "
        "`resident_bytes` if the data fill the device."
    )


@pytest.mark.parametrize(
    ("allocate", "size"),
    [
        (lambda: torch.empty(2**53), 2**55),
        (lambda: np.empty(2**50), 2**53),
        (lambda: bytearray(2**62), 0),
    ],
    ids=["torch", "numpy", "python"],
)
def test_libraries_say_how_much_they_asked_for(allocate, size):
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert is_out_of_memory(raised.value)
    assert requested_bytes(raised.value) == size


def test_the_size_in_the_message_of_a_gpu():
    message = (
        "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.1 GiB"
    )
    assert requested_bytes(torch.OutOfMemoryError(message)) == 2.5 * 2**30


def test_a_gpu_that_does_not_answer_is_worth_another_try():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU that answers")
    assert isinstance(explain_out_of_memory(torch.OutOfMemoryError("out of memory")), TryAgain)


def test_the_main_memory_is_that_of_this_machine():
    memory = memory_of_processor()
    assert 0 < memory.own < memory.total
    assert 0 < memory.free <= memory.total


def test_other_errors_are_no_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
