"""YAML from elsewhere ends in one sentence with the line, before it is expanded."""

import time

import pytest
from properties import assert_explains

from espalier.errors import BadInput
from espalier.gates import read_policies
from espalier.params import check, read_params
from espalier.settings.names import name_problem
from espalier.training.recipe import Recipe
from espalier.yaml_files import parse_yaml, read_yaml

GOOD = 'teacher: {model: "espalier:mlp", epochs: 1}\n'


def laughs(levels: int = 9) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"l{level}: &l{level} [" + ", ".join([f"*l{level - 1}"] * 10) + "]"
        for level in range(1, levels)
    ]
    return "\n".join(lines)


BAD = {
    "laughs": (laughs(), "aliases expanded"),
    "circle": ("a: &a [*a]", "alias"),
    "deep lists": ("a: " + "[" * 5000, "nested"),
    "deep mappings": ("a: " + "{b: " * 5000, "nested"),
    "equal keys": ("seed: 1\nteacher: 2\nseed: 3\n", "line 1 and in line 3"),
    "equal inner keys": ("a:\n  b: 1\n  b: 1\n", "line 2 and in line 3"),
    "infinity": ("a:\n  b: .inf\n", "line 2"),
    "not a number": ("a: .NaN\n", "finite"),
    "date": ("a: 2026-99-99", "YAML"),
    "long number": ("a: " + "9" * 5000, "YAML"),
    "object": ("a: !!python/object/apply:os.system [ls]", "YAML"),
    "list as key": ("? [1, 2]\n: 3\n", "YAML"),
    "control character": ("a: \x01", "YAML"),
    "open quote": ('a: "b', "YAML"),
    "conflict": ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n", "conflict in line 2"),
}


@pytest.mark.parametrize(("text", "word"), BAD.values(), ids=BAD)
def test_hostile_yaml_is_refused_in_one_sentence_within_two_seconds(tmp_path, text, word):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_explains(caught.value, str(path), word)
    assert time.process_time() - began < 2
    with pytest.raises(BadInput):
        read_policies(path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "params.yaml"
    path.write_bytes((GOOD + "# café\n").encode(encoding))
    with pytest.raises(BadInput) as caught:
        read_params(tmp_path)
    assert_explains(caught.value, str(path), "UTF-8")


def test_a_large_file_is_refused_by_its_size(tmp_path):
    with (tmp_path / "params.yaml").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(BadInput) as caught:
        read_yaml(tmp_path / "params.yaml")
    assert_explains(caught.value, "bytes", str(tmp_path / "params.yaml"))


def test_anchors_and_merged_keys_that_people_write_are_kept():
    text = "base: &base {epochs: 3, seed: 1}\nown: {<<: *base, epochs: 5}\nlist: [*base, *base]\n"
    base = {"epochs": 3, "seed": 1}
    assert parse_yaml(text, "params.yaml") == {
        "base": base,
        "own": {"epochs": 5, "seed": 1},
        "list": [base, base],
    }
    assert parse_yaml("", "params.yaml") == {}


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "nan", "1e999"])
def test_a_rate_that_is_not_finite_is_refused(value):
    content = {"teacher": {"model": "espalier:mlp", "learning_rate": value}}
    with pytest.raises(BadInput, match="learning_rate"):
        check(content)


def test_a_recipe_of_the_library_is_finite():
    with pytest.raises(BadInput, match="weight_decay"):
        Recipe(weight_decay=float("inf"))


@pytest.mark.parametrize("alias", ["previous", "latest", "v3"])
def test_reserved_aliases_have_no_gates(tmp_path, alias):
    (tmp_path / "gates.yaml").write_text(f"{alias}: {{}}\n")
    with pytest.raises(BadInput) as caught:
        read_policies(tmp_path / "gates.yaml")
    assert_explains(caught.value, alias)


@pytest.mark.parametrize("name", ["..", ".", "a..b", "../a", "digits.audit", "a\nb", "\x1b[2J"])
def test_a_name_of_the_registry_is_checked_where_params_are_read(name):
    assert name_problem(name)
    content = {"teacher": {"model": "espalier:mlp"}, "registry": {"name": name}}
    with pytest.raises(BadInput, match="registry"):
        check(content)
