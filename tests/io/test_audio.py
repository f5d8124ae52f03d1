"""Waveforms: agree with soundfile, come in one channel at one rate, and are whole or an error."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import CODINGS, NAMES, RATE, read, recording_maker, refusal, request, speech

from sv_toolkit.errors import AudioError, SvError
from sv_toolkit.io import audio, audio_files
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.audio_files import read_header

make = pytest.fixture(recording_maker, name="make")


@pytest.mark.parametrize(("suffix", "form", "coding"), CODINGS, ids=NAMES)
def test_every_coding_agrees_with_soundfile(make, suffix, form, coding):
    path = make(f"a.{suffix}", format=form, subtype=coding)
    expected, _ = soundfile.read(path, dtype="float32")
    samples = read(path)
    assert samples.dtype == np.float32
    assert np.allclose(samples, expected, atol=1e-7 if form == "MP3" else 0)  # mpg123 rounds by its state before a seek
    assert len(expected) >= RATE


def test_the_content_decides_and_not_the_name(make):
    flac = make("a.flac")
    assert np.array_equal(read(flac.rename(flac.with_suffix(".wav"))), read(make("b.flac")))


def test_16_bit_samples_are_exact_fractions(make):
    samples = np.array([-32768, -1, 0, 1, 32767], np.int16)
    assert np.array_equal(read(make(samples=samples)), samples / np.float32(32768))


@pytest.mark.parametrize("seek_to", [(0.0, None), (0.25, 0.5), (0.25, None), (0.0, 0.3), (0.9, 1.0), (0.5, 1.009)])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.sph"])
def test_a_segment_is_a_slice_of_the_recording(make, name, seek_to):
    path = make(name, format="NIST" if name == "a.sph" else None)
    start, end = seek_to
    whole = read(path)
    assert np.array_equal(read(path, start=start, end=end), whole[round(start * RATE) : round((end or 1.0) * RATE)])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=st.tuples(st.integers(0, RATE), st.integers(0, RATE)).filter(lambda ends: ends[0] != ends[1]))
def test_any_segment_of_a_flac_is_a_slice_of_the_recording(make, ends):
    path = make("a.flac")
    first, last = sorted(ends)
    assert np.array_equal(read(path, start=first / RATE, end=last / RATE), read(path)[first:last])


def test_a_segment_past_the_end_is_refused_with_both_durations(make):
    path = make()
    assert "segment 0.50 to 4.00 s ends after the recording, whose duration is 1.00 s" in refusal(path, start=0.5, end=4.0)
    assert "segment 2.00 to 4.00 s begins after the recording, whose duration is 1.00 s" in refusal(path, start=2.0, end=4.0)
    assert "segment 0.50 to 1.02 s ends after" in refusal(path, start=0.5, end=1.02)


def test_an_empty_segment_is_refused(make):
    assert "segment 0.5 to 0.5 s is empty" in refusal(make(), start=0.5, end=0.5)


def patch(path, *changes):
    data = bytearray(path.read_bytes())
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\xf0\xff\x7f", b"\xdb\xff\xff\x7f", b"\xff\xff\xff\x7f"])
@pytest.mark.parametrize("riff_size", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_streamed_wav_is_read_to_its_end(make, size, riff_size):
    expected = read(make("b.wav"))
    path = patch(make(), (4, riff_size), (40, size))
    assert np.array_equal(read(path), expected)
    assert np.array_equal(read(path, start=0.5, end=0.75), expected[RATE // 2 : 3 * RATE // 4])


def test_a_data_chunk_that_is_really_empty_holds_no_samples(make, tmp_path):
    path = make(samples=np.zeros(0))
    assert "holds no samples" in refusal(path)
    path.write_bytes(path.read_bytes() + b"LIST\x06\0\0\0INFOab")
    assert "holds no samples" in refusal(path)


def test_chunks_around_the_data_change_nothing(make):
    plain = make()
    data = plain.read_bytes()
    junk = b"JUNK\x05\0\0\0abcde\0" + b"bext" + (6000).to_bytes(4, "little") + bytes(6000)
    for extra in (b"", b"\0", b"LIST\x04\0\0\0INFO"):
        other = plain.with_name("b.wav")
        other.write_bytes(data[:12] + junk + data[12:] + extra)
        assert np.array_equal(read(other), read(plain))


FLAC_TOTAL = 21  # byte of STREAMINFO whose lower half begins the 36-bit number of samples


def with_flac_total(path, total):
    data = path.read_bytes()
    value = (data[FLAC_TOTAL] & 0xF0) << 32 | total
    return patch(path, (FLAC_TOTAL, value.to_bytes(5, "big")))


def test_a_flac_of_unknown_length_is_read_to_its_end(make):
    expected = read(make("b.flac"))
    path = with_flac_total(make("a.flac"), 0)
    assert np.array_equal(read(path), expected)
    assert np.array_equal(read(path, start=0.25, end=0.5), expected[RATE // 4 : RATE // 2])
    assert "begins after the recording, whose duration is 1.00 s" in refusal(path, start=1.5, end=1.7)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_of_several_channels_one_must_be_chosen(make, name):
    channels = np.stack([speech(RATE, seed) for seed in range(3)], axis=1)
    path = make(name, channels)
    expected, _ = soundfile.read(path, dtype="float32")
    assert "has 3 channels; --channel chooses one" in refusal(path)
    assert "channel 3 asked for, the file has 3" in refusal(path, channel=3)
    for channel in range(3):
        assert np.array_equal(read(path, channel=channel), expected[:, channel])
    assert np.array_equal(read(path, channel=1, start=0.2, end=0.4), expected[3200:6400, 1])


def test_a_channel_of_a_long_recording_comes_in_blocks_and_whole(make, monkeypatch):
    monkeypatch.setattr(audio, "_BLOCK", 1000)
    path = make(samples=np.stack([speech(RATE, seed) for seed in range(2)], axis=1))
    expected, _ = soundfile.read(path, dtype="float32")
    assert np.array_equal(read(path, channel=1), expected[:, 1])
    flac = make("a.flac")
    expected = read(flac)
    assert np.array_equal(read(with_flac_total(flac, 0)), expected)


def test_the_one_channel_of_a_mono_file_may_be_chosen(make):
    path = make()
    assert np.array_equal(read(path, channel=0), read(path))
    assert "channel 1 asked for, the file has 1" in refusal(path, channel=1)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_another_rate_is_refused_or_resampled_as_asked(make, rate):
    pytest.importorskip("soxr")
    time = np.arange(rate) / rate
    path = make(samples=0.5 * np.sin(2 * np.pi * 440 * time), rate=rate)
    assert f"sample rate is {rate} Hz, 16000 Hz is needed; --resample converts it" in refusal(path)
    samples = read(path, resample=True)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert samples.dtype == np.float32
    assert abs(len(samples) - RATE) <= 1
    assert np.abs(samples[1000:15000] - expected[1000:15000]).max() < 1e-3


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_shortens_the_waveform_and_raises_its_pitch(make, speed):
    pytest.importorskip("soxr")
    path = make(samples=0.5 * np.sin(2 * np.pi * 500 * np.arange(2 * RATE) / RATE))
    samples = read(path, speed=speed)
    assert abs(len(samples) - 2 * RATE / speed) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 500 * speed * np.arange(len(samples)) / RATE)
    assert np.abs(samples - expected)[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("how", [{"speed": 0.0}, {"speed": -1.0}, {"sample_rate": 0}, {"speed": float("nan")}])
def test_impossible_requests_are_the_programmers_mistake(how):
    with pytest.raises(ValueError, match="must be positive"):
        request("a.wav", **how)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(make, subtype, bad):
    samples = speech(RATE)
    samples[5] = bad
    assert "1 of 16000 samples are not finite" in refusal(make(samples=samples, subtype=subtype))


def test_peaks_beyond_one_are_kept_and_counted(make):
    samples = speech(RATE)
    samples[:3] = [3.0, -2.0, 1.0]
    waveform = read_waveform(request(make(samples=samples, subtype="FLOAT")))
    assert (waveform.clipped, waveform.peak) == (2, 3.0)
    assert np.array_equal(waveform.samples, samples.astype(np.float32))


def test_an_mp3_that_does_not_tell_its_length_is_refused(make):
    path = make("a.mp3")
    data = path.read_bytes()
    second_frame = data.index(data[:3], 100)
    path.write_bytes(data[second_frame:])
    assert "without its length (Xing header)" in refusal(path)


def test_an_mp3_with_an_id3_tag_is_read(make):
    path = make("a.mp3")
    expected = read(path)
    path.write_bytes(b"ID3\3\0\0\0\0\x10\0" + bytes(16 << 7) + path.read_bytes())
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize(("num_channels", "subtype"), [(1, "PCM_16"), (2, "FLOAT")])
def test_a_header_says_what_the_waveform_will_be(tmp_path, num_channels, subtype):
    soundfile.write(tmp_path / "a.wav", np.zeros((12000, num_channels)), 8000, subtype=subtype)
    assert audio_files.read_header(str(tmp_path / "a.wav")) == (num_channels, 8000, 1.5)


def test_one_sample_that_is_no_number_is_found(tmp_path):
    samples = np.zeros((audio_files._BLOCK, 2))
    samples[-1, 1] = np.inf
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"1 of {samples.size} samples are not finite"):
        audio_files.read_header(str(tmp_path / "a.wav"))


def test_a_missing_soundfile_stops_everything_with_the_way_out(make, monkeypatch):
    path = make()
    audio_files.soundfile_classes.cache_clear()
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(SvError, match="pip install soundfile") as caught:
        read_waveform(request(path))
    assert not isinstance(caught.value, AudioError)
    audio_files.soundfile_classes.cache_clear()


def test_a_missing_soxr_stops_everything_with_the_way_out(make, monkeypatch):
    path = make()
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(SvError, match="pip install soxr"):
        read_waveform(replace(request(path), speed=1.1))


def test_importing_the_module_imports_neither_soundfile_nor_soxr():
    code = "import sys, sv_toolkit.io.audio; assert not {'soundfile', 'soxr'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(audio.__file__).parents[2])


def test_real_recordings_agree_with_soundfile(corpora):
    for path in sorted((corpora / "an4").rglob("*.flac"))[:40]:
        expected, _ = soundfile.read(path, dtype="float32")
        assert np.array_equal(read(path), expected)
        assert np.array_equal(read(path, start=0.1, end=0.5), expected[1600:8000])


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_recordings_in_an_archive_are_read_from_their_byte(tmp_path, rng, container):
    """As Kaldi's wav-copy and ESPnet write them: `key RIFF...key RIFF...`."""
    expected, places = [], []
    with open(tmp_path / "w.ark", "wb") as archive:
        for number in range(3):
            samples = (rng.normal(0, 0.1, 1000 + 300 * number) * 32768).astype(np.int16)
            stream = io.BytesIO()
            soundfile.write(stream, samples, 16_000, format=container)
            archive.write(f"u{number} ".encode())
            places.append(archive.tell())
            archive.write(stream.getvalue())
            expected.append(samples / 32768)
    for place, samples in zip(places, expected):
        path = f"{tmp_path}/w.ark:{place}"
        found = read_waveform(AudioRequest(path, "", path, sample_rate=16_000)).samples
        np.testing.assert_allclose(found, samples, atol=1e-7)
        assert read_header(path).duration == pytest.approx(len(samples) / 16_000)
    part = AudioRequest(f"{tmp_path}/w.ark:{places[1]}", "", "x", start=0.01, end=0.02, sample_rate=16_000)
    np.testing.assert_allclose(read_waveform(part).samples, expected[1][160:320], atol=1e-7)


@pytest.mark.parametrize(
    ("offset", "message"), [(7, "no WAV or FLAC recording begins at byte 7"), (10**6, "has .* bytes, none at 1000000")]
)
def test_a_wrong_byte_of_an_archive_is_an_error(tmp_path, offset, message):
    soundfile.write(tmp_path / "w.ark", np.zeros(1000) + 0.1, 16_000, format="WAV")
    with pytest.raises(AudioError, match=message):
        read_header(f"{tmp_path}/w.ark:{offset}")


def test_a_file_whose_name_ends_in_a_number_is_itself(tmp_path):
    soundfile.write(tmp_path / "take:7", np.full(1000, 0.1), 16_000, format="WAV")
    assert read_header(f"{tmp_path}/take:7").duration == pytest.approx(1000 / 16_000)
