"""Clips: the spectrogram that networks see, in training and in the deployed file."""

import io

import numpy as np
import onnx
import pytest
import torch
from examples_of_kinds import tone
from torch import nn

from espalier.decoders.clips import decode, resample
from espalier.export.onnx import Names, export
from espalier.inputs.audio import AudioInput, Clip, LogMel, Spectrogram
from espalier.inputs.audio.augmentations import AudioAugmentations
from espalier.quantization import quantize, quantize_dynamically
from espalier.runtimes import DEFAULT

AUDIO = AudioInput()
SETTINGS = Spectrogram(rate=8000, mels=40, window=200, hop=80)


@pytest.fixture
def clips():
    random = np.random.default_rng(0)
    return torch.from_numpy((random.normal(size=(32, 4000)) * 3000).astype(np.int16))


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 10)).eval()


def test_the_convolution_is_the_fourier_transform(clips):
    front = LogMel(SETTINGS, 0.0, 1.0)
    window = torch.hann_window(200, periodic=True)
    waves = torch.stft(
        clips.float() / 32768, 200, 80, 200, window, center=False, return_complex=True
    )
    expected = torch.log(front._filters() @ waves.abs().square() + 1e-6)
    assert torch.allclose(front(clips)[:, 0], expected, atol=1e-3)


def test_every_band_hears_something_and_neighbours_share_what_lies_between():
    filters = LogMel(SETTINGS, 0.0, 1.0)._filters()
    assert filters.shape == (40, 101)
    assert (filters.sum(1) > 0.5).all()
    inside = filters[:, 2:95].sum(0)
    assert torch.allclose(inside, torch.ones_like(inside), atol=1e-4)


def test_a_tone_is_loudest_in_its_own_band(tmp_path):
    tone(tmp_path / "tone.wav", 1000, seconds=0.5, rate=8000)
    clip = AUDIO.decode((tmp_path / "tone.wav").read_bytes())
    assert (clip.rate, len(clip.samples)) == (8000, 4000)
    bands = LogMel(SETTINGS, 0.0, 1.0)(torch.from_numpy(clip.samples)[None])[0, 0].mean(1)
    filters = LogMel(SETTINGS, 0.0, 1.0)._filters()
    assert bands.argmax() == filters[:, 25].argmax()  # bin 25 of 40 Hz each


def test_the_deployed_file_has_the_formula_and_not_its_values(clips, network, tmp_path):
    """The cosines of 101 frequencies alone would be 160 kB."""
    front, names = LogMel(SETTINGS, -5.0, 3.0), Names("audio", "logits")
    assert export(network, tmp_path / "a.onnx", clips, front, names=names) < 1e-4
    assert (tmp_path / "a.onnx").stat().st_size < 12_000
    assert onnx.load(tmp_path / "a.onnx").graph.input[0].name == "audio"


@pytest.mark.parametrize("scheme", ["static", "dynamic"])
def test_a_file_of_integers_keeps_the_formula_and_the_float_of_its_front(
    clips, network, tmp_path, scheme
):
    front, names = LogMel(SETTINGS, -5.0, 3.0), Names("audio", "logits")
    export(network, tmp_path / "a.onnx", clips, front, names=names)
    if scheme == "static":
        quantize(tmp_path / "a.onnx", tmp_path / "q.onnx", clips.numpy())
    else:
        quantize_dynamically(tmp_path / "a.onnx", tmp_path / "q.onnx")
    assert (tmp_path / "q.onnx").stat().st_size < 20_000
    before = DEFAULT.open(tmp_path / "a.onnx").outputs(clips.numpy())
    after = DEFAULT.open(tmp_path / "q.onnx").outputs(clips.numpy())
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()


def test_a_resampled_tone_keeps_its_pitch():
    time = np.arange(16000) / 16000
    clip = Clip((np.sin(2 * np.pi * 500 * time) * 9000).astype(np.int16), 16000)
    found = resample(clip, 8000)
    assert len(found) == 8000
    spectrum = np.abs(np.fft.rfft(found.astype(float)))
    assert spectrum.argmax() == 500


def test_views_are_shifted_and_louder_or_softer_and_the_same_in_every_batch(clips):
    views = AudioAugmentations(len(clips), shift=80, gain=6.0, seed=0, count=4)
    index = torch.arange(len(clips))
    whole = views.apply(clips, index, 1)
    part = views.apply(clips[5:9], index[5:9], 1)
    assert torch.equal(whole[5:9], part)
    assert torch.equal(whole, views.apply(clips, index, 5))
    assert not torch.equal(whole, views.apply(clips, index, 2))
    assert whole.dtype == torch.int16


def test_a_shift_alone_moves_the_samples_and_fills_with_silence(clips):
    views = AudioAugmentations(len(clips), shift=50, gain=0.0, seed=3, count=1)
    moved = views.apply(clips, torch.arange(len(clips)), 0)
    for before, after in zip(clips, moved, strict=True):
        shifts = [
            shift
            for shift in range(-50, 51)
            if torch.equal(after[50:-50], before.roll(shift)[50:-50])
        ]
        assert shifts
        gap = after[: shifts[0]] if shifts[0] > 0 else after[len(after) + shifts[0] :]
        assert not gap.any() or shifts[0] == 0


def test_damaged_clips_are_a_sentence():
    for content in (b"", b"RIFF and nothing"):
        with pytest.raises(ValueError, match=r"\S"):
            AUDIO.decode(content)


@pytest.mark.parametrize(
    ("subtype", "error"),
    [("FLOAT", 1), ("DOUBLE", 1), ("PCM_16", 2), ("PCM_24", 2), ("PCM_U8", 258)],
)
def test_a_clip_is_as_loud_in_every_kind_of_samples(subtype, error):
    """Read as integers, samples in floating point would be silence."""
    soundfile = pytest.importorskip("soundfile")
    wave = 0.5 * np.sin(np.arange(8000) * 0.1)
    content = io.BytesIO()
    soundfile.write(content, wave, 8000, format="WAV", subtype=subtype)
    found = decode(content.getvalue()).samples
    assert np.abs(found - 32767 * wave).max() <= error


def test_samples_that_are_not_finite_are_refused():
    soundfile = pytest.importorskip("soundfile")
    content = io.BytesIO()
    soundfile.write(content, np.array([0.1, np.nan] * 100), 8000, format="WAV", subtype="FLOAT")
    with pytest.raises(ValueError, match="not finite"):
        decode(content.getvalue())
