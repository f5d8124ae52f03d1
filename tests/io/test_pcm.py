"""Sound from a pipe: the samples that a file of it gives, whatever the pieces it comes in."""

from __future__ import annotations

import io
import logging
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import AudioError
from sv_toolkit.io.pcm import PcmStream, resampled


def reader(data, sizes=(1 << 16,)):
    """Reads as a pipe does: what happens to be there, in pieces of these sizes over and over."""
    stream, turns = io.BytesIO(data), iter(range(1 << 30))
    return lambda count: stream.read(min(count, sizes[next(turns) % len(sizes)]))


def samples_of(data, rate=16_000, channel=None, sizes=(1 << 16,)):
    sound = PcmStream(reader(data, sizes), rate, channel)
    blocks = list(sound.blocks())
    return sound.sample_rate, np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def wav(values, rate=16_000, **options):
    file = io.BytesIO()
    soundfile.write(file, values, rate, **{"format": "WAV", "subtype": "PCM_16", **options})
    return file.getvalue()


@settings(max_examples=60)
@given(st.binary(min_size=4, max_size=300), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_raw_samples_do_not_depend_on_the_pieces_and_an_odd_byte_is_dropped(data, sizes):
    data = b"\0" + data
    expected = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768
    rate, found = samples_of(data, 8000, sizes=tuple(sizes))
    assert rate == 8000
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("sizes", [(1 << 16,), (1,), (3, 50, 7)])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_wav_stream_gives_what_the_file_gives(sizes, num_channels, rng, tmp_path):
    values = rng.uniform(-1, 1, (500, num_channels))
    data = wav(values, 44_100)
    (tmp_path / "x.wav").write_bytes(data)
    expected = soundfile.read(tmp_path / "x.wav", dtype="float32", always_2d=True)[0][:, -1]
    rate, found = samples_of(data + b"LIST\4\0\0\0junk", channel=num_channels - 1, sizes=sizes)
    assert rate == 44_100
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
def test_a_header_that_does_not_know_the_length_is_read_to_the_end(size, rng):
    data = bytearray(wav(rng.uniform(-1, 1, 300)))
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    assert len(samples_of(bytes(data))[1]) == 300


def test_extensible_wav_with_a_list_before_the_sound_is_read(rng):
    data = wav(rng.uniform(-1, 1, 300), format="WAVEX")
    at = data.index(b"data")
    with_list = data[:at] + b"LIST" + struct.pack("<I", 5) + b"hello\0" + data[at:]
    assert np.array_equal(samples_of(with_list)[1], samples_of(data)[1])
    assert len(samples_of(data)[1]) == 300


def test_a_cut_stream_is_used_and_told(rng, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    data = wav(rng.uniform(-1, 1, 300))
    assert len(samples_of(data[:-101])[1]) == 249
    assert "ended within a sample: 1 byte(s) dropped" in caplog.text
    assert "ended 101 bytes before the end" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty: no sound came"),
        (b"fLaC" + b"\0" * 100, r"neither WAV nor raw 16-bit samples \(begins with fLaC\)"),
        (b"OggS" + b"\0" * 100, "ffmpeg"),
        (wav(np.zeros((100, 2))), "has 2 channels; --channel"),
        (wav(np.zeros(100), subtype="FLOAT"), "coding 3 with 32 bits"),
        (wav(np.zeros(100), subtype="PCM_24"), "coding 1 with 24 bits"),
        (wav(np.zeros(100), subtype="PCM_U8"), "coding 1 with 8 bits"),
        (wav(np.zeros(100))[:30], "truncated: a WAV stream that ends within its header"),
        (b"RIFF\0\0\0\0AVI LIST" + b"\0" * 50, "no WAV"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "comes before its format"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0ab", "format chunk of less than 16 bytes"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\x7f", "no sound in the first"),
        (b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * 200_000, "no sound in the first"),
        (wav(np.zeros(100)).replace(struct.pack("<I", 16_000), struct.pack("<I", 7), 1), "1 channels at 7 Hz"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_line(data, message):
    with pytest.raises(AudioError, match=message) as error:
        samples_of(data)
    assert str(error.value).isprintable()


def test_channels_that_are_not_there_are_refused():
    with pytest.raises(AudioError, match=r"channel 2 asked for, the stream has 2"):
        samples_of(wav(np.zeros((100, 2))), channel=2)
    with pytest.raises(AudioError, match=r"channel 1 asked for, the stream has 1"):
        samples_of(b"\0" * 100, channel=1)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_resampling_block_by_block_gives_what_resampling_at_once_gives(rate, rng):
    soxr = pytest.importorskip("soxr")
    samples = np.convolve(rng.normal(size=rate), np.ones(20) / 20, "same").astype(np.float32)
    found = np.concatenate(list(resampled(iter(np.split(samples, [100, 101, 9000])), rate, 16_000)))
    assert found == pytest.approx(soxr.resample(samples, rate, 16_000, quality="HQ"), abs=1e-5)
