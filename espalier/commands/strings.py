"""`espalier strings NAME`: a model on texts as a file that takes raw strings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console

from espalier import files
from espalier.errors import BadInput
from espalier.inputs.text.strings import with_strings
from espalier.inputs.text.tokens import Tokenizer, is_ascii_words, padded
from espalier.onnx_files import load_onnx
from espalier.paths import DEPLOYED, TOKENIZER, made_model
from espalier.reading import reading
from espalier.runtimes import DEFAULT

_WORDS = 12  # of a text that is compared
_COMPARED = 256  # texts of the vocabulary that are compared
_HARD = ("", " ", "\t", "AN Unknown-wörd, ÄÖ é!", "\u00a0\u2028x\x00y", "[PAD] [?]", "long " * 999)


def run(root: Path, name: str, out: Path | None) -> None:
    """Write the file, after a comparison with the tokenizer and the deployed file.

    Args:
        root: root of the project.
        name: name of the model.
        out: file to write; by default NAME-strings.onnx.

    Raises:
        BadInput: if the model is not made, is not on texts, or has a tokenizer that ONNX has no
            operators for.
    """
    folder = made_model(root, name)
    files.verify(folder)
    if not (folder / TOKENIZER).is_file():
        raise BadInput(f"Expected {name} to be a model on texts; found no {TOKENIZER} in {folder}.")
    tokenizer = _tokenizer(folder / TOKENIZER)
    deployed = load_onnx(folder / DEPLOYED)
    strings = with_strings(deployed, tokenizer).SerializeToString()
    count = _compare(deployed, strings, tokenizer)
    target = out or Path(f"{name}-strings.onnx")
    files.write(target, strings)
    Console(soft_wrap=True, markup=False, highlight=False).print(
        f"{target}: takes strings (N), and gives the outputs of {name} for all of {count} texts."
    )


def _tokenizer(path: Path) -> dict[str, Any]:
    """The content of `tokenizer.json`, after a check that it is a tokenizer of words."""
    content = files.read_json_object(path)
    with reading(path, "a tokenizer as the library `tokenizers` writes it"):
        if not Tokenizer(content).size or not isinstance(content["model"]["vocab"], dict):
            raise ValueError("no words")
        is_ascii_words(content)
    return content


def _compare(deployed: onnx.ModelProto, strings: bytes, tokenizer: Mapping[str, Any]) -> int:
    """Compare the outputs of both files for texts of the vocabulary, and for hard ones.

    Returns:
        The number of texts.

    Raises:
        BadInput: if the outputs differ.
    """
    words = list(tokenizer["model"]["vocab"])
    starts = range(0, len(words), _WORDS)
    texts = [*_HARD, *(" ".join(words[start : start + _WORDS]) for start in starts)][:_COMPARED]
    length = deployed.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    tokens = padded(Tokenizer(dict(tokenizer)).numbers(texts), length)
    expected = DEFAULT.open(deployed.SerializeToString()).outputs(tokens)
    found = DEFAULT.open(strings).outputs(np.array(texts, object))
    if not np.array_equal(expected, found):
        raise BadInput(
            "Expected the file that takes strings to give the outputs of the deployed file; found "
            f"others, by up to {np.abs(expected - found).max():.2g}: another version of "
            "onnxruntime may help."
        )
    return len(texts)
