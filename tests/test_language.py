"""The vocabulary of the code and docs: the field's words, in plain English (see docs/glossary.md)."""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("espalier", "tasks", "flows", "benchmarks", "examples", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
)
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("params.yaml", "dvc.yaml", "prefect.yaml", "automations.yaml")),
    *sorted((ROOT / "mlflow").glob("*.yaml")),
]

# names that no module, class, function, parameter or variable has
RETIRED = """
    Units Atoms Part settle tie Ask Subject reach stuck nearest advice over_rows over_columns makers
    works race Singles survivors Mass everywhere chance relative Look normaliser Views Seen Wish Team
    team looks looking heat halves telling relay owners Curve hear bearer Shipment take stood swap
    approval chatter conclude signpost bring made Rung rung climb orchard saplings grove Grove
    planted grown reproduced look tell told wish
"""
NAMES = frozenset(RETIRED.split())

# words that no test has in its name
WORDS = """
    told tells nobody somebody anybody whoever whatever bears bearer dies died living wish wishes
"""
NAME_WORDS = frozenset(WORDS.split())

PHRASES = [
    r"whoever|whatever is|nobody|somebody|anybody",
    r"those that|those which|one that is|that which|\bof which\b|\bof whichever\b",
    r"bears? (the|an|its)|bearer|stands? at\b|stood at\b",
    r"(is|are|was|be) told (of|apart)|\btold that\b",
    r"what is known of|as often as one likes|never wrong, only",
    r"^let (the|a|an|it|x|what|params)\b|\bhold .{1,20} to the\b|^say (once|what)\b",
    r"the dead\b|\bmoods?\b|\bwishes\b|\ba wish\b|\bdeaths?\b|died\b|\bdies\b",
]


def definitions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The names that a module defines, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield getattr(node, "id", None) or node.attr, node.lineno


def comments(text: str) -> Iterator[tuple[str, int]]:
    """The comments of a module, each run of lines joined, with its first line."""
    lines: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, own = token.string.lstrip("#:! "), token.start[0]
        if lines and own == last + 1:
            lines.append(line)
        else:
            yield from [(" ".join(lines), first)] if lines else []
            lines, first = [line], own
        last = own
    yield from [(" ".join(lines), first)] if lines else []


def docstrings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The paragraphs and fields of all docstrings, each in one line, with the docstring's line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                for paragraph in paragraphs(text):
                    yield paragraph, node.lineno


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring; a field (`name: text`) is one by itself, without the name."""
    for block in re.split(r"\n\s*\n", text):
        fields = re.split(r"\n\s+(?=\w+: )", block)
        for field in fields:
            yield " ".join(re.sub(r"^\s*\w+: ", "", field).split())


@functools.cache
def prose() -> tuple[tuple[str, str], ...]:
    """All docstring paragraphs, comments and paragraphs of documents, with their places."""
    return tuple(_prose())


def _prose() -> Iterator[tuple[str, str]]:
    for path in SOURCES:
        text = path.read_text()
        for sentence, line in [*docstrings(ast.parse(text)), *comments(text)]:
            yield f"{path.relative_to(ROOT)}:{line}", sentence
    for path in DOCUMENTS:
        for block in re.split(r"\n\s*\n", path.read_text()):
            yield path.name, " ".join(block.split())


def test_no_definition_has_a_retired_name():
    found = []
    for path in SOURCES:
        names = [(path.stem, 0), *definitions(ast.parse(path.read_text()))]
        found += [
            f"{path.relative_to(ROOT)}:{line} {name}"
            for name, line in names
            if name.lstrip("_") in NAMES
        ]
    assert found == []


def test_tests_have_names_in_plain_english():
    found = []
    for path in SOURCES:
        for name, line in definitions(ast.parse(path.read_text())):
            words = name.split("_")
            if words[0] == "test" and (
                NAME_WORDS & set(words) or words[1:2] in (["what"], ["who"])
            ):
                found.append(f"{path.relative_to(ROOT)}:{line} {name}")
    assert found == []


def test_docstrings_start_with_a_noun_or_a_verb():
    found = []
    for path in SOURCES:
        for sentence, line in docstrings(ast.parse(path.read_text())):
            if re.match(r"(What|Who|Whoever|Whose|Which|Those|One that|Likewise|Of)\b", sentence):
                found.append(f"{path.relative_to(ROOT)}:{line} {sentence[:80]}")
    assert found == []


@pytest.mark.parametrize("phrase", PHRASES)
def test_prose_uses_no_retired_phrase(phrase):
    found = [
        f"{place} {sentence[max(0, match.start() - 40) : match.end() + 40]}"
        for place, sentence in prose()
        if (match := re.search(phrase, sentence, re.IGNORECASE))
    ]
    assert found == []
