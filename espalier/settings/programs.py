"""Files of `torch.export`, which are not read."""

PROGRAM = ".pt2"
"""Suffix of the files of `torch.export.save`."""


def program_refusal(path: str) -> str:
    """The sentence about a program of `torch.export`, with the line that converts it.

    `torch.export.load` of torch 2.15 falls back to `torch.load(weights_only=False)`, and evaluates the
    text of symbolic sizes: a hostile file runs code.
    """
    return (
        f"Expected weights, or an ONNX file; found {path}, a program of torch.export, whose reader can "
        "run code of the file: write it as ONNX where it was made, with "
        f"torch.onnx.export(torch.export.load({path!r}), f='net.onnx', external_data=False)."
    )
