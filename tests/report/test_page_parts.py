"""Parts of the page: markup and axes."""

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
from cases import OPERATIONS
from hypothesis import given
from hypothesis import strategies as st

from espalier.report.page.axes import Axis
from espalier.report.page.forgotten import DESCRIBE
from espalier.report.page.formats import short
from espalier.report.page.markup import Markup, join, tag
from espalier.report.page.style import STYLE

VALUES = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=20)


def test_text_and_attributes_are_escaped_and_markup_is_not():
    assert (
        tag("td", "a<b", Markup("<i>"), title='"x"') == '<td title="&quot;x&quot;">a&lt;b<i></td>'
    )
    assert tag("img", src="x", alt=None) == '<img src="x">'
    assert (
        tag("text", 3, class_="dim", text_anchor="end")
        == '<text class="dim" text-anchor="end">3</text>'
    )
    assert join(["&", None, Markup("&amp;")]) == "&amp;&amp;"


@given(VALUES, st.booleans())
def test_every_value_lies_within_the_picture_and_in_its_order(values, log):
    axis = Axis.around(values, 40.0, 370.0, log=log)
    places = [axis.at(value) for value in sorted(values)]
    assert all(40 < place < 370 for place in places)
    assert places == sorted(places)


@given(VALUES, st.booleans())
def test_ticks_are_round_few_and_within_the_range(values, log):
    axis = Axis.around(values, 0.0, 1.0, log=log)
    ticks = axis.ticks()
    assert len(ticks) <= 16
    rounding = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - rounding <= tick <= axis.high + rounding for tick in ticks)
    if log and axis.high / axis.low > 10:
        assert ticks


def test_an_axis_upside_down_and_one_of_no_numbers():
    axis = Axis.around([0.0, 1.0], 100.0, 0.0)
    assert axis.at(1.0) < axis.at(0.0)
    assert math.isfinite(Axis.around([math.nan], 0.0, 1.0, log=True).at(1.0))


def test_a_logarithmic_axis_gives_equal_ratios_equal_lengths():
    axis = Axis(1.0, 100.0, 0.0, 10.0, log=True)
    assert [axis.at(value) for value in (1.0, 10.0, 100.0)] == pytest.approx([0.0, 5.0, 10.0])
    assert axis.ticks(3) == [1.0, 10.0, 100.0]


@given(st.text(min_size=1, max_size=40), st.integers(5, 20))
def test_a_shortened_name_keeps_its_ends_and_a_short_one_is_whole(name, letters):
    found = short(name, letters)
    assert len(found) == min(len(name), letters)
    assert found == name or (found[:2] == name[:2] and found[-2:] == name[-2:])


def test_values_are_spelled_with_all_digits_before_the_point():
    found = pd.DataFrame({"example": [3], "label": [249999.6], "predicted": [1234567.0]})
    (example,) = DESCRIBE["regression"](found, ())
    assert (example.label, example.answer) == ("250,000", "1,234,567")


def linear(colour):
    """Red, green and blue of `#rrggbb` or `#rgb` in proportion to their light (sRGB, IEC 61966-2-1)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.frombuffer(bytes.fromhex(digits), np.uint8) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colour):
    """Lightness and the two opponent colours of CIE 1976, whose distances are about as large as people see them."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(matrix @ linear(colour) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    """The ratio of WCAG 2.2, 1.4.11; shapes need 3."""
    dark, light = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_operation_has_a_colour_of_its_own_that_is_seen_on_the_paper(scheme):
    names = {operation.keys["by"] for operation in OPERATIONS}
    values = dict(re.findall(r"--(\w+):(#\w+)", STYLE.split(":root")[1 + scheme].split("}")[0]))
    own = dict(re.findall(r"\.by-(\w+)\{--own:var\(--(\w+)\)\}", STYLE))
    assert own == {name: name for name in names}
    assert all(contrast(values[name], values["paper"]) >= 3 for name in names)
    for one, other in itertools.combinations(names, 2):
        assert np.linalg.norm(lab(values[one]) - lab(values[other])) > 20, (one, other)
