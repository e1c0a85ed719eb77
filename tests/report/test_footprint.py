"""The line that says what a cut did."""

from espalier.measures.comparison import Comparison
from espalier.report.footprint import Footprint, describe_change


def test_every_figure_stands_before_and_after_with_its_ratio():
    before, after = Footprint(10.4e6, 1.2e6, 4.8e6), Footprint(5.2e6, 835e3, 900)
    assert describe_change(before, after, Comparison(parent=0.278, child=0.139)) == (
        "10.4 M -> 5.2 M multiply-accumulates (0.50), 1.2 M -> 835 k parameters (0.70), "
        "4.8 M -> 900 bytes (0.00), 0.278 -> 0.139 ms at batch 1 (2.00 times as fast)"
    )


def test_a_latency_that_was_not_measured_is_left_out():
    one = Footprint(1e6, 1e3, 4e3)
    assert describe_change(one, one, None).endswith("4 k -> 4 k bytes (1.00)")
