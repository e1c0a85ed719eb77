"""Raw strings as the input of a deployed file: the tokenizer as operators of ONNX Runtime.

Only `tokens: ascii_words` can be expressed. `StringNormalizer` lowers letters by the locale of the
machine, and knows no Unicode normal form; in the locale C, which every machine has, it lowers A to Z
alone. `Tokenizer` of ONNX Runtime finds words by a regular expression, and `LabelEncoder` numbers
them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from espalier.errors import BadInput
from espalier.inputs.text.tokens import ASCII_WORD, PADDING, UNKNOWN, is_ascii_words

INPUT = "strings"
_PREFIX = "tokenizer/"
_DOMAINS = {"ai.onnx.ml": 2, "com.microsoft": 1}  # the oldest versions that have the operators


def with_strings(model: onnx.ModelProto, tokenizer: Mapping[str, Any]) -> onnx.ModelProto:
    """A deployed file that takes strings (N,) instead of tokens (N, length).

    Args:
        model: deployed file of a model on texts; it is not changed.
        tokenizer: content of `tokenizer.json`.

    Returns:
        The file, with the same outputs.

    Raises:
        BadInput: if ONNX has no operators for the tokenizer.
    """
    if not is_ascii_words(tokenizer):
        raise BadInput(
            "Expected a model whose data have `text: {tokens: ascii_words}`; found another tokenizer, "
            "for which ONNX has no operators: prepare the data with `tokens: ascii_words`, or "
            "tokenize before the file with tokenizer.json."
        )
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    tokens = graph.input[0]
    length = tokens.type.tensor_type.shape.dim[1].dim_value
    constants = _constants(length)
    nodes = _nodes(tokens.name, tokenizer)
    others = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *others])
    graph.initializer.extend(constants)
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.STRING, ["batch"]))
    _import_domains(result)
    return result


def _constants(length: int) -> list[TensorProto]:
    """The numbers that the operators need: bounds of a text, and the tokens of an empty one."""
    empty = np.full((1, length), PADDING, np.int64)
    empty[0, 0] = UNKNOWN
    numbers = {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "length": np.array([length], np.int64),
        "padding": np.array(PADDING, np.int64),
        "empty": empty,
    }
    return [numpy_helper.from_array(value, _PREFIX + name) for name, value in numbers.items()]


def _nodes(tokens: str, tokenizer: Mapping[str, Any]) -> list[NodeProto]:
    """The operators from strings to tokens, in order."""
    words = tokenizer["model"]["vocab"]
    lowers = tokenizer["normalizer"] is not None
    return [
        _node(
            "StringNormalizer",
            INPUT,
            to="lowered",
            case_change_action="LOWER" if lowers else "NONE",
            is_case_sensitive=1,
            locale="C",
        ),
        _node(
            "Tokenizer",
            "lowered",
            to="words",
            domain="com.microsoft",
            mark=0,
            mincharnum=1,
            pad_value="",
            tokenexp=ASCII_WORD,
        ),
        _node(
            "LabelEncoder",
            "words",
            to="numbers",
            domain="ai.onnx.ml",
            keys_strings=["", *words],
            values_int64s=[PADDING, *words.values()],
            default_int64=UNKNOWN,
        ),
        *_of_length(tokens),
    ]


def _of_length(tokens: str) -> list[NodeProto]:
    """The operators that fill or cut texts to the length; a text without words is one unknown word."""
    return [
        _node("Shape", INPUT, to="count"),
        _node("Concat", "count", "length", to="shape", axis=0),
        _node("Expand", "padding", "shape", to="filling"),
        _node("Concat", "numbers", "filling", to="filled", axis=1),
        _node("Slice", "filled", "zero", "length", "one", to="kept"),
        _node("ReduceMax", "kept", to="largest", axes=[1], keepdims=1),
        _node("Equal", "largest", "padding", to="wordless"),
        _node("Where", "wordless", "empty", "kept", to="known"),
        helper.make_node(
            "Cast", [_PREFIX + "known"], [tokens], _PREFIX + "Cast", to=TensorProto.INT32
        ),
    ]


def _node(operator: str, *inputs: str, to: str, **attributes: Any) -> NodeProto:
    names = [name if name == INPUT else _PREFIX + name for name in inputs]
    return helper.make_node(operator, names, [_PREFIX + to], name=_PREFIX + to, **attributes)


def _import_domains(model: onnx.ModelProto) -> None:
    """Import the domains of the operators, in at least the versions that have them."""
    imported = {one.domain: one for one in model.opset_import}
    for domain, version in _DOMAINS.items():
        if domain in imported:
            imported[domain].version = max(imported[domain].version, version)
        else:
            model.opset_import.append(helper.make_opsetid(domain, version))
