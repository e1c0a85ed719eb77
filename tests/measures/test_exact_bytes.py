"""Processors whose sums of 8-bit products are exact."""

import pytest

from espalier.measures import device


@pytest.mark.parametrize(
    ("facts", "exact"),
    [
        ({"flags": "fpu avx2 avx512_vnni"}, True),
        ({"flags": "fpu avx2 avx_vnni"}, True),
        ({"flags": "fpu avx2 avx512f"}, False),
        ({"Features": "fp asimd asimddp"}, True),
        ({"Features": "fp asimd"}, False),
        ({}, True),  # a system that does not say it
    ],
)
def test_the_flags_of_the_processor_decide(monkeypatch, facts, exact):
    monkeypatch.setattr(device, "_processor_facts", lambda: facts)
    assert device.multiplies_bytes_exactly() is exact
