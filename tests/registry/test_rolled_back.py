"""Contents from which an alias was rolled back, by its moves."""

import pytest

from espalier.registry.connection import find_store
from espalier.registry.promotion.audit import ROLLED_BACK, Move, State
from espalier.registry.promotion.rolled_back import rolled_back, way_on
from espalier.registry.versions import Registry


def moves(*steps):
    """Finished moves of one alias through contents; a step back begins with `<`, one that failed with `!`."""
    found, at = [], None
    for number, step in enumerate(steps, start=1):
        content = step[-1]
        found.append(
            Move(
                number=number,
                alias="champion",
                former=at,
                to=content,
                content=content,
                former_content=at,
                reason=ROLLED_BACK if step.startswith("<") else "promoted",
                who="ann@host",
                run="",
                when=0,
                state=State.LOST if step.startswith("!") else State.DONE,
            )
        )
        at = at if step.startswith("!") else content
    return found


@pytest.mark.parametrize(
    ("steps", "barred"),
    [
        ("", ""),
        ("a b", ""),
        ("a b <a", "b"),
        ("a b <a c", "b"),
        ("a b <a !b", "b"),
        ("a b <a b", ""),
        ("a b <a <b", "a"),
        ("a b c <b <a", "bc"),
        ("a b c <b <a c", "b"),
    ],
)
def test_a_content_is_barred_until_the_alias_has_it_again(steps, barred):
    assert sorted(rolled_back(moves(*steps.split()))) == list(barred)


@pytest.mark.parametrize(
    ("name", "at", "options"),
    [
        ("digits", None, ""),
        ("prod.digits", None, "--into prod.digits "),
        ("digits", "http://there:5000", "--into digits --at http://there:5000 "),
    ],
)
def test_the_command_names_the_model_and_the_store_where_they_are_not_the_projects(
    tmp_path, name, at, options
):
    registry = Registry(None, find_store(tmp_path, at), name)
    command = f"`espalier promote {options}--alias champion --again REASON`"
    assert way_on(registry, "champion", "digits").startswith(command)
