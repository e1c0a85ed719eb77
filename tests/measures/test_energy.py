"""The estimate of energy ranks models by operations and bytes."""

import pytest

from espalier.measures.energy import energy


def test_a_network_costs_its_operations_and_its_bytes():
    assert energy(1_000_000, 400_000, integers=False) == pytest.approx(4.6 + 64)
    assert energy(1_000_000, 0, integers=True) == pytest.approx(0.23)


def test_integers_cost_a_twentieth_and_fewer_bytes_less():
    assert energy(10**6, 0, integers=False) == pytest.approx(20 * energy(10**6, 0, integers=True))
    assert energy(10**6, 10**5, integers=True) < energy(10**6, 4 * 10**5, integers=True)
