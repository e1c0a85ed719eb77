"""Contents from which an alias was rolled back, by its moves."""

import pytest

from espalier.registry.promotion.audit import ROLLED_BACK, Move, State
from espalier.registry.promotion.rolled_back import rolled_back


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
