"""Coupled indices, and the axis of a dimension that is seen as several."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from espalier.pruning.coupling import AxisOf, Coupling


def groups(coupling: Coupling) -> list[set[int]]:
    """The groups of removable indices."""
    coupling.resolve_all()
    component, pinned = coupling.components()
    return [set(np.flatnonzero(component == one)) for one in range(len(pinned)) if not pinned[one]]


def split(coupling: Coupling, *shape: int) -> list[AxisOf]:
    return coupling.split(coupling.new(int(np.prod(shape))).reshape(shape), "split")


def test_positions_go_unless_something_rules_them_out():
    coupling = Coupling()
    split(coupling, 2, 3)
    assert groups(coupling) == [{0, 3}, {1, 4}, {2, 5}]


def test_a_sum_inside_a_head_leaves_only_whole_heads_free():
    coupling = Coupling()
    _, inside = split(coupling, 2, 3)
    coupling.pin(inside, "summed")
    assert groups(coupling) == [{0, 1, 2}, {3, 4, 5}]


def test_heads_go_where_both_can():
    coupling = Coupling()
    heads, _ = split(coupling, 2, 3)
    coupling.mark_heads(heads)
    assert groups(coupling) == [{0, 1, 2}, {3, 4, 5}]


def test_all_stay_once_every_axis_is_ruled_out():
    coupling = Coupling()
    for part in split(coupling, 2, 3):
        coupling.pin(part, "fixed")
    assert groups(coupling) == []
    assert coupling.reasons() == {"fixed": 6}


def test_an_axis_that_is_ruled_out_after_it_was_chosen_pins_all():
    coupling = Coupling()
    heads, inside = split(coupling, 2, 3)
    assert coupling.resolve(heads) is not None
    assert coupling.resolve(inside) is None
    coupling.pin(heads, "fixed")
    assert groups(coupling) == []


@pytest.mark.parametrize("first", [0, 1])
def test_linked_dimensions_lose_the_same_axis_in_any_order_of_decisions(first):
    coupling = Coupling()
    queries, keys = split(coupling, 2, 3), split(coupling, 2, 2)
    coupling.join(queries[0], keys[0], "heads")
    coupling.mark_heads((queries, keys)[first][0])
    assert groups(coupling) == [{0, 1, 2, 6, 7}, {3, 4, 5, 8, 9}]


@pytest.mark.parametrize("late", [False, True])
def test_a_link_to_what_cannot_go_rules_the_axis_out(late):
    coupling = Coupling()
    queries, keys = split(coupling, 2, 3), split(coupling, 2, 2)
    if late:
        coupling.join(queries[0], keys[0], "heads")
    coupling.pin(keys[0], "fixed")
    if not late:
        coupling.join(queries[0], keys[0], "heads")
    assert groups(coupling) == [{0, 3}, {1, 4}, {2, 5}, {6, 8}, {7, 9}]


@pytest.mark.parametrize("late", [False, True])
def test_plain_indices_go_with_the_axis_they_meet_or_stay(late):
    for chosen, wanted in ((0, [{0, 1, 2, 6}, {3, 4, 5, 7}]), (1, [{0, 3}, {1, 4}, {2, 5}])):
        coupling = Coupling()
        parts = split(coupling, 2, 3)
        table = coupling.new(2)
        if late:
            coupling.resolve(parts[chosen])
        coupling.join(parts[0], table, "bias")
        coupling.resolve(parts[chosen])
        assert groups(coupling) == wanted


def test_two_axes_of_one_dimension_that_meet_cannot_go_either():
    coupling = Coupling()
    one, other = split(coupling, 3, 3)
    coupling.join(one, other, "met")
    assert groups(coupling) == []


def test_an_axis_along_which_an_index_comes_twice_is_not_one():
    """Channels before places: only the channels can go."""
    coupling = Coupling()
    channels = coupling.new(2)
    coupling.split(np.stack([channels] * 3, 1), "places")
    assert groups(coupling) == [{0}, {1}]


@st.composite
def written(
    draw: st.DrawFn,
) -> tuple[list[tuple[int, ...]], list[tuple[str, tuple[int, int], tuple[int, int]]]]:
    """The shapes of some splits, and what is said of their axes, in some order."""
    shapes = draw(
        st.lists(
            st.tuples(st.sampled_from([2, 3]), st.sampled_from([2, 3])), min_size=1, max_size=4
        )
    )
    axis = st.tuples(st.integers(0, len(shapes) - 1), st.integers(0, 1))
    return shapes, draw(
        st.lists(
            st.tuples(st.sampled_from(["join", "pin", "resolve", "mark_heads"]), axis, axis),
            max_size=8,
        )
    )


@settings(max_examples=80, deadline=None)
@given(written())
def test_any_removal_leaves_a_rectangle_and_equal_sides_of_a_link(case):
    """Each split loses whole slices along one axis; joined dimensions lose the same indices; what is pinned, none."""
    shapes, said = case
    coupling = Coupling()
    splits = [split(coupling, *shape) for shape in shapes]
    joined, fixed = [], []
    for word, (a, i), (b, j) in said:
        one, other = splits[a][i], splits[b][j]
        if word == "join" and shapes[a][i] == shapes[b][j]:
            coupling.join(one, other, "met")
            joined.append((one, other))
        elif word == "pin":
            coupling.pin(one, "fixed")
            fixed.append(one)
        elif word in ("resolve", "mark_heads"):
            getattr(coupling, word)(one)
    going = groups(coupling)
    for gone in [set(), *going, *(one | other for one, other in combinations(going, 2))]:
        left = {
            id(parts[0].split): ~np.isin(parts[0].split.indices, list(gone)) for parts in splits
        }
        if not all(one.any() for one in left.values()):  # of nothing, the sides are unknown
            continue
        for one, other in joined:
            assert np.array_equal(kept(left, one), kept(left, other))
        for one in fixed:
            assert kept(left, one).all()
        for parts in splits:
            rows, columns = (kept(left, part) for part in parts)
            assert np.array_equal(left[id(parts[0].split)], np.outer(rows, columns))


def kept(left: dict[int, np.ndarray], part: AxisOf) -> np.ndarray:
    """The indices of an axis that keep at least one element."""
    return left[id(part.split)].any(1 - part.axis)


@given(
    arrays.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 9)),
    st.lists(st.integers(0, 9), max_size=3),
)
def test_joined_atoms_are_the_classes_of_an_equivalence(partners, pinned):
    coupling = Coupling()
    atoms = coupling.new(10)
    for index, partner in enumerate(partners):
        coupling.join(atoms[[index % 10]], atoms[[partner]], "same")
    coupling.pin(atoms[pinned], "fixed")
    classes = {index: {index} for index in range(10)}
    for index, partner in enumerate(partners):
        union = classes[index % 10] | classes[partner]
        for member in union:
            classes[member] = union
    wanted = {frozenset(one) for one in classes.values() if one.isdisjoint(pinned)}
    assert {frozenset(one) for one in groups(coupling)} == wanted
