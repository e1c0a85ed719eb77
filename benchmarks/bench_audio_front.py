"""The log-mel front of clips in three forms: bytes of the deployed file, and time of a call.

    python benchmarks/bench_audio_front.py [--write]

`formula` is the front of Espalier: cosines that the runtime computes when it opens the file.
`stored` has their values in the file. `STFT` is ONNX's operator.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from committed import conditions, show
from torch import Tensor, nn

from espalier.export.onnx import Names, export
from espalier.inputs.audio import LogMel, Spectrogram
from espalier.runtimes import DEFAULT

SETTINGS = Spectrogram(rate=8000, mels=40, window=200, hop=80)
SAMPLES, CALLS = 5280, 60
BATCHES = (1, 64)


class Stored(LogMel):
    """The front with its cosines and triangles in buffers."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, -5.0, 3.0)
        self.register_buffer("waves", LogMel._waves(self))
        self.register_buffer("filters", LogMel._filters(self))

    waves: Tensor
    filters: Tensor

    def _waves(self) -> Tensor:
        return self.waves

    def _filters(self) -> Tensor:
        return self.filters


class Stft(Stored):
    """The front by ONNX's operator STFT."""

    def forward(self, clips: Tensor) -> Tensor:
        """The spectrograms."""
        window, hop = SETTINGS.window, SETTINGS.hop
        samples = clips.float() / 32768
        hann = torch.hann_window(window, periodic=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter knows no complex numbers
            parts = torch.stft(
                samples, window, hop, window, hann, center=False, return_complex=False
            )
        bands = torch.matmul(self.filters, parts.square().sum(-1))
        return ((torch.log(bands + 1e-6) - self._mean) / self._std)[:, None]


def main() -> None:
    """Print a row for each form; with `--write`, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    measured = conditions("python benchmarks/bench_audio_front.py --write")
    forms = {"formula": LogMel(SETTINGS, -5.0, 3.0), "stored": Stored(), "STFT": Stft()}
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8, 10)).eval()
    random = np.random.default_rng(0)
    clips = (random.normal(size=(max(BATCHES), SAMPLES)) * 3000).astype(np.int16)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        opened = {}
        for name, front in forms.items():
            path = Path(folder) / f"{name}.onnx"
            names = Names("audio", "logits")
            export(network, path, torch.from_numpy(clips), front.eval(), names=names)
            opened[name] = DEFAULT.open(path)
            rows[name] = {"bytes": path.stat().st_size}
        for size in BATCHES:
            times: dict[str, list[float]] = {name: [] for name in forms}
            for _ in range(CALLS):
                for name, model in opened.items():
                    started = time.perf_counter()
                    model.run(clips[:size])
                    times[name].append(time.perf_counter() - started)
            for name, taken in times.items():
                rows[name][f"ms_{size}"] = round(1e3 * statistics.median(taken), 4)
    record = measured | {
        "clip": f"{SAMPLES} samples at {SETTINGS.rate} Hz, {SETTINGS.mels} bands, small network",
        "forms": rows,
    }
    show("audio_front", record, write=given.write)


if __name__ == "__main__":
    main()
