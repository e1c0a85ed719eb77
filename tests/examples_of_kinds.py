"""Small data sets of every kind of example, made of what is at hand: the digits, the project's own pages, tones."""

import json
import re
import wave
from pathlib import Path

import numpy as np
import pandas as pd

from espalier.data.prepared import read_split

ROOT = Path(__file__).resolve().parents[1]
RATE = 4000


def pixels_as_table(digits: Path, path: Path, label: str = "digit") -> Path:
    """The digits as rows: a column for each of 16 blocks of pixels, the number of dark rows as a word, and a label.

    The label is the digit, or `ink`, the mean of all pixels.
    """
    split = read_split(digits, "train")
    images = split.inputs[:, 0].numpy()
    blocks = images.reshape(len(images), 4, 2, 4, 2).mean((2, 4)).reshape(len(images), 16)
    table = pd.DataFrame(blocks, columns=[f"block{number}" for number in range(16)])
    table["dark"] = pd.Series((images.max(2) > 128).sum(1)).map(lambda count: f"{count} rows")
    table["label"] = (
        split.targets.numpy() if label == "digit" else images.mean((1, 2)).astype(float)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def pixels_of_heads(digits: Path, path: Path) -> Path:
    """The digits as rows with two labels: `digit`, and `ink` in thousandths, far above any logit."""
    table = pd.read_csv(pixels_as_table(digits, path)).rename(columns={"label": "digit"})
    inked = pd.read_csv(pixels_as_table(digits, path, "ink"))
    table["ink"] = 1000 * inked["label"]
    table.to_csv(path, index=False)
    return path


def sentences(_folder: Path | None = None) -> list[tuple[str, str]]:
    """Sentences of the project's pages, each with the page that it is from."""
    found = []
    for page in ("methods", "promotion", "data"):
        text = (ROOT / "docs" / f"{page}.md").read_text()
        parts = re.split(r"[.:;|\n]+\s", text)
        found += [(part.strip(), page) for part in parts if len(part.split()) > 4]
    return found


def texts_as_lines(path: Path, *, sets: bool = False) -> Path:
    """The sentences as JSON lines; with `sets`, a label for each of three frequent words in them."""
    words = ("the", "of", "model")
    lines = []
    for text, page in sentences():
        named = [word for word in words if word in text.lower().split()]
        lines.append(json.dumps({"text": text, "label": named if sets else page}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def tone(
    path: Path, hertz: float, *, seconds: float = 0.25, rate: int = RATE, seed: int = 0
) -> None:
    """A tone with some noise, as a wav file of 16 bits."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    values = np.sin(2 * np.pi * hertz * time) + 0.1 * random.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((values * 9000).astype("<i2").tobytes())


def tones(folder: Path, each: int = 40) -> Path:
    """Low, middle and high tones in class folders, of lengths and pitches that vary."""
    random = np.random.default_rng(0)
    for name, hertz in (("low", 250), ("middle", 600), ("high", 1300)):
        for number in range(each):
            tone(
                folder / name / f"{number:02}.wav",
                hertz * random.uniform(0.9, 1.1),
                seconds=random.uniform(0.2, 0.25),
                seed=number,
            )
    return folder


def arrays(folder):
    """A function as users write one: arrays (2, 5), and the sign of their sum as the label."""
    del folder
    inputs = np.random.default_rng(0).standard_normal((200, 2, 5))
    return inputs, (inputs.sum((1, 2)) > 0).astype(int)


def arrays_by_split(folder):
    """The same with splits and numbers to predict."""
    inputs, _ = arrays(folder)
    sums = inputs.sum((1, 2))
    return {"train": (inputs[:160], sums[:160]), "test": (inputs[160:], sums[160:])}
