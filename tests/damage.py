"""Damage to files: cuts, flipped bits, other kinds of files, and other values in JSON and YAML."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

FLIPS = 64
OTHERS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"x"',
    b"[[1], [2]]",
    b"a,b\n1,2\n",
    b"\xff\xfe" + "a: 1\n".encode("utf-16-le"),
    b"caf\xe9: 1\n",
    b"\x89PNG\r\n\x1a\n" + bytes(64),
    b"PK\x03\x04" + bytes(64),
    b"PAR1" + bytes(64) + b"PAR1",
    (40).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9],"x":1}}',
    b"[" * 100_000,
    b"\x80\x05cposix\nsystem\n(S'touch pwned'\ntR.",
)
VALUES = (None, True, -1, 0, 1e300, 10**30, "x", "", "\x1b[2J", [], [None], {}, {"x": 1}, [[1]])


def damages(content: bytes, flips: int = FLIPS) -> Iterator[bytes]:
    """A content cut at 0, 1, half and the last byte, with flipped bits, and contents of other kinds."""
    for end in (0, 1, len(content) // 2, len(content) - 1):
        yield content[:end]
    for seed in range(flips):
        yield flipped(content, seed)
    yield from OTHERS


def flipped(content: bytes, seed: int) -> bytes:
    """A content with one bit flipped; of every second seed, among the first 256 bytes."""
    length = len(content) if seed % 2 else min(len(content), 256)
    position = random.Random(seed).randrange(length * 8)
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def other_values(content: Any) -> Iterator[Any]:
    """A JSON value with each key removed, and with each value of the first levels replaced."""
    for place in places(content, depth=3):
        yield changed(content, place, None, remove=True)
        for value in VALUES:
            yield changed(content, place, value)


def places(content: Any, depth: int) -> Iterator[tuple[Any, ...]]:
    """The places of values in JSON; of a list the first one."""
    if not depth:
        return
    keys = list(content) if isinstance(content, dict) else []
    keys = [0] if isinstance(content, list) and content else keys[:12]
    for key in keys:
        yield (key,)
        yield from ((key, *inner) for inner in places(content[key], depth - 1))


def changed(content: Any, place: tuple[Any, ...], value: Any, *, remove: bool = False) -> Any:
    """A copy of a JSON value with another value at a place."""
    copy = json.loads(json.dumps(content))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if remove:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copy


def no_files(path: Path, outside: Path) -> Iterator[str]:
    """Something else than a file at a path, one after the other: its kind in words."""
    kinds: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "a link to outside": lambda: path.symlink_to(outside),
        "a broken link": lambda: path.symlink_to(path.with_name("missing")),
        "a circle of links": lambda: path.symlink_to(path.name),
        "a link to a device": lambda: path.symlink_to("/dev/zero"),
    }
    for kind, make in kinds.items():
        remove(path)
        make()
        yield kind
    remove(path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_WORDS = st.text("ab:,.-_~?!&*|>%@`'\"#[]{}<= \n\t0179eE+\x1b\u00e9", max_size=60)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(allow_subnormal=False),  # torch may have set the processor so that it has none
    st.sampled_from([2**63, 10**400, 1e308, "..", "../x", "a\0b", "\ud800", ""]),
    st.text(max_size=8),
)


def trees(keys: list[str]) -> st.SearchStrategy[Any]:
    """Trees of lists and mappings of any values, some with keys of a valid file."""
    names = st.one_of(st.sampled_from([*keys, "x"]), st.text(max_size=6))
    return st.recursive(
        _LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)
        ),
        max_leaves=12,
    )


def any_contents(file: str, content: bytes) -> st.SearchStrategy[bytes]:
    """Contents of a file: any bytes, texts and trees, and a valid content with changes of its own kind."""
    kinds = [st.binary(max_size=400), _WORDS.map(_encoded), spliced(content)]
    if file.endswith((".json", ".yaml", ".lock")):
        valid = yaml.safe_load(content) if not file.endswith(".json") else json.loads(content)
        keys = sorted({str(key) for place in places(valid, 4) for key in place})
        tree = trees(keys)
        nested = st.tuples(st.integers(1, 10_000), st.sampled_from(["[", '{"a":', "- ", "a:\n "]))
        kinds += [
            tree.map(lambda value: _encoded(json.dumps(value))),
            nested.map(lambda pair: (pair[0] * pair[1]).encode()),
            st.builds(
                lambda place, value: _encoded(json.dumps(changed(valid, place, value))),
                st.sampled_from(list(places(valid, 4))),
                tree,
            ),
        ]
    return st.one_of(kinds)


def spliced(content: bytes) -> st.SearchStrategy[bytes]:
    """A content in which some places are replaced by other bytes, or by a part of itself."""

    def splice(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = content
        for place, removed, put in edits:
            start = place * len(changed) // 1000
            changed = changed[:start] + put + changed[start + removed :]
        return changed

    put = st.one_of(st.binary(max_size=8), st.just(content[:64]), st.just(content[-64:]))
    edit = st.tuples(st.integers(0, 1000), st.sampled_from([0, 1, 4, 8, 1000]), put)
    return st.lists(edit, min_size=1, max_size=3).map(splice)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
