"""YAML files of the user, which may come from elsewhere: bounded, in UTF-8, and without ambiguity.

PyYAML takes the last of two equal keys without a word, reads infinities, and fails on deep nesting
with a RecursionError. A file of 600 bytes can expand to gigabytes where aliases refer to lists of
aliases ("billion laughs"). All of this is refused with the line, before a value is built. So is a file in
which git has left both sides of a merge.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from espalier import files
from espalier.errors import BadInput, reason_of
from espalier.settings.limits import YAML_BYTES, YAML_DEPTH, YAML_NODES

# libyaml's is twenty times faster, and builds the same values
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_EVENTS = 2 * YAML_NODES  # a list or mapping has two: its start and its end
_INFINITIES = ("tag:yaml.org,2002:float", frozenset({".inf", "+.inf", "-.inf", ".nan"}))

# lines that git writes around two sides that it could not merge: at the begin of a line, where YAML has a key
_CONFLICT = re.compile(rb"^(?:[<|>]{7} |={7}\r?$)", re.MULTILINE)


def read_yaml(path: Path) -> tuple[Any, str]:
    """The content of a YAML file, empty if the file is, and its text.

    Raises:
        BadInput: if `read_merged` or `parse_yaml` refuses it, or it is not in UTF-8.
    """
    content = read_merged(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"Expected {path} to be YAML in UTF-8; found {reason_of(error)}: save it in UTF-8."
        ) from None
    return parse_yaml(text, str(path)), text


def read_merged(path: Path) -> bytes:
    """The bytes of a YAML file that holds no conflict of a merge.

    Raises:
        BadInput: if it is missing, too large, or git has left both sides of a merge in it.
    """
    content = files.read_bounded(path, YAML_BYTES)
    conflict = _CONFLICT.search(content)
    if conflict:
        line = content.count(b"\n", 0, conflict.start()) + 1
        raise BadInput(
            f"Expected {path} to be merged; found a conflict in line {line}: keep one side by `git checkout "
            f"--ours {path}` or `git checkout --theirs {path}`, or join both by hand; the next run makes "
            "what differs."
        )
    return content


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML text; an empty mapping for an empty text.

    Args:
        text: the text.
        name: name of the file, for messages.

    Raises:
        BadInput: if it is no YAML, nested too deeply, or expands to too many values by aliases, or
            has two equal keys in a mapping or a number that is not finite; the message has the line.
    """
    try:
        _check_depth(text, name)
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        _check_node(node, name, {}, set())
        return loader.construct_document(node) or {}
    except BadInput:
        raise
    except Exception as error:  # beside YAMLError, errors of any kind for dates and numbers
        raise BadInput(f"Expected {name} to be YAML; found {reason_of(error)}.") from None


def _check_depth(text: str, name: str) -> None:
    """Refuse deep nesting, and too many values, by the parser's events: composing them is recursive."""
    depth = 0
    for values, event in enumerate(yaml.parse(text, _LOADER)):
        if values > _EVENTS:
            raise _too_many(name, event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > YAML_DEPTH:
            raise BadInput(
                f"Expected {name} to be nested at most {YAML_DEPTH} deep; found more{_at(event)}."
            )


def _check_node(node: Any, name: str, sizes: dict[int, int], open_nodes: set[int]) -> int:
    """The number of values that a node expands to; each node is visited once.

    Args:
        node: node of the composed file.
        name: name of the file.
        sizes: number of values of the nodes that were visited, by `id`.
        open_nodes: `id` of the nodes around this one.

    Example:
        In `{a: &x [1, 2], b: *x}` the list has 3 values and the mapping 1 + 1 + 3 + 1 + 3 = 9.
    """
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in open_nodes:
        raise BadInput(f"Expected no alias in {name} to a value around it; found one{_at(node)}.")
    open_nodes.add(id(node))
    size = 1
    for child in _children(node, name):
        size += _check_node(child, name, sizes, open_nodes)
    if size > YAML_NODES:
        raise _too_many(name, node)
    open_nodes.remove(id(node))
    sizes[id(node)] = size
    return size


def _too_many(name: str, place: Any) -> BadInput:
    return BadInput(
        f"Expected {name} to have at most {YAML_NODES:,} values, aliases expanded; found more"
        f"{_at(place)}."
    )


def _children(node: Any, name: str) -> list[Any]:
    """The nodes inside a node, which is checked by itself."""
    if isinstance(node, yaml.MappingNode):
        _refuse_equal_keys(node, name)
        return [part for pair in node.value for part in pair]
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    tag, words = _INFINITIES
    if node is not None and node.tag == tag and node.value.lower() in words:
        raise BadInput(f"Expected finite numbers in {name}; found {node.value}{_at(node)}.")
    return []


def _refuse_equal_keys(node: yaml.MappingNode, name: str) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if (key.tag, key.value) in lines:
            former = lines[key.tag, key.value]
            raise BadInput(
                f"Expected each key of a mapping in {name} once; found {key.value!r} in line "
                f"{former} and in line {line}."
            )
        lines[key.tag, key.value] = line


def _at(place: Any) -> str:
    return f" in line {place.start_mark.line + 1}"
