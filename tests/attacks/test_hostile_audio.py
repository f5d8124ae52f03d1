"""Damaged and hostile recordings: one line with the reason, at once, and never code or memory for lies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import CODINGS, RATE, read, recording_maker, refusal, request, speech

from sv_toolkit.errors import AudioError
from sv_toolkit.io import audio
from sv_toolkit.io.audio import read_waveform

make = pytest.fixture(recording_maker, name="make")

CUT_SEEN = [(suffix, form, coding) for suffix, form, coding in CODINGS if coding != "IMA_ADPCM"]


def patch(path, *changes):
    data = bytearray(path.read_bytes())
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    path.write_bytes(data)
    return path


FLAC_TOTAL = 21  # byte of STREAMINFO whose lower half begins the 36-bit number of samples


def with_flac_total(path, total):
    data = path.read_bytes()
    value = (data[FLAC_TOTAL] & 0xF0) << 32 | total
    return patch(path, (FLAC_TOTAL, value.to_bytes(5, "big")))


@pytest.mark.parametrize(("suffix", "form", "coding"), CUT_SEEN, ids=[f"{form}-{coding}" for _, form, coding in CUT_SEEN])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_file_that_was_cut_is_refused(make, suffix, form, coding, kept):
    path = make(f"a.{suffix}", format=form, subtype=coding)
    os.truncate(path, int(path.stat().st_size * kept))
    message = refusal(path)
    assert "truncated" in message
    if form in ("WAV", "WAVEX", "RF64", "AIFF", "NIST", "MP3") and coding != "MPEG_LAYER_III":
        assert "expected 16000 samples" in message


def test_a_cut_adpcm_wav_is_refused_by_its_bytes(make):
    path = make(subtype="IMA_ADPCM")
    os.truncate(path, path.stat().st_size // 2)
    assert "truncated: expected 8192 bytes of sound, 4" in refusal(path)


def test_the_promised_and_the_real_number_of_samples_are_said(make):
    path = make(samples=np.zeros(RATE, np.int16))
    os.truncate(path, 44 + 2 * 7000 + 1)
    assert "truncated: expected 16000 samples, 7000 there" in refusal(path)


def test_a_segment_of_a_cut_wav_is_refused_as_well(make):
    path = make()
    os.truncate(path, path.stat().st_size // 2)
    assert "truncated" in refusal(path, start=0.0, end=0.1)


def test_a_flac_that_claims_2_to_the_36_samples_takes_no_memory(make):
    assert "too long: 4294967.3 s" in refusal(with_flac_total(make("a.flac"), 2**36 - 1))


def test_a_flac_that_claims_more_than_it_holds_is_truncated(make):
    assert "truncated: expected 20000 samples, 16000 there" in refusal(with_flac_total(make("a.flac"), 20_000))


def test_an_hour_of_silence_in_a_small_file_takes_the_memory_of_its_samples_only(make, tmp_path):
    path = make("a.flac", np.zeros(3600 * RATE, np.int16))
    assert path.stat().st_size < 300_000
    code = f"""
from sv_toolkit.io.audio import AudioRequest, read_waveform
def peak():  # kilobytes, of this program alone: what resource says begins with the size of the parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
request = AudioRequest({str(path)!r}, "", "u")
read_waveform(AudioRequest({str(path)!r}, "", "u", start=0.0, end=1.0))
before = peak()
assert len(read_waveform(request).samples) == 3600 * {RATE}
print((peak() - before) / 1024)
"""
    taken = float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(audio.__file__).parents[2]).stdout
    )
    assert taken < 1.2 * 4 * 3600 * RATE / 2**20


def test_recordings_beyond_the_limit_are_refused_also_where_their_length_is_unknown(make):
    path = make("a.flac")
    assert "too long: 1.0 s of sound, at most 0.4 s are read" in refusal(path, max_duration=0.4)
    assert len(read(path, max_duration=0.4, start=0.1, end=0.4)) == 4800
    assert "too long: more than 0.4 s of sound" in refusal(with_flac_total(path, 0), max_duration=0.4)


def test_too_little_memory_is_an_error_that_says_so(make, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(audio, "_read_frames", no_memory)
    assert "too long for the free memory" in refusal(make())


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_absurd_rates_are_refused_even_where_resampling_is_allowed(make, rate):
    path = patch(make(), (24, rate.to_bytes(4, "little")))
    for resample in (False, True):
        message = refusal(path, resample=resample)
        assert "rate" in message
        assert str(rate) in message or "header" in message


@pytest.mark.parametrize("kind", ["missing", "directory", "device", "named pipe", "loop", "broken link", "not allowed", "too long"])
def test_what_cannot_be_opened_is_refused_at_once(make, tmp_path, kind):
    path, expected = tmp_path / "x.wav", "not a regular file"
    if kind == "missing":
        expected = "No such file"
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
        expected = "symbolic links"
    elif kind == "broken link":
        path.symlink_to("nowhere")
        expected = "No such file"
    elif kind == "not allowed":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        make(path.name).chmod(0)
        expected = "permission denied"
    else:
        path, expected = tmp_path / ("x" * 300), "File name too long"
    assert expected in refusal(path)


def test_a_relative_path_gets_a_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"No such file; the path is relative to the current directory, {tmp_path}" in refusal("a.wav")


FOREIGN = {
    "empty": (b"", "empty file (0 bytes)"),
    "web page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "not an audio file but a web page"),
    "digits": (b"1 2 3 4 5\n" * 50, "not an audio file (format not recognised); convert it, for example: ffmpeg"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "gzip-compressed, format not recognised; gunzip it first"),
    "m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom", "MP4/M4A container"),
    "zeros": (bytes(1000), "format not recognised"),
    "WAV head only": (b"RIFF\x24\0\0\0WAVE", "truncated: a WAV file without its data chunk"),
    "WAV without format": (b"RIFF\x24\0\0\0WAVEdata\x02\0\0\0ab", "format not recognised"),
    "FLAC head only": (b"fLaC", "format not recognised"),
    "Ogg head only": (b"OggS\0\2", "truncated: the end of the Ogg stream is missing"),
    "SPHERE head only": (b"NIST_1A\n   1024\n", "format not recognised"),
    "shorten": (
        b"NIST_1A\n   1024\nsample_count -i 9\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n",
        "sph2pipe",
    ),
    "AIFF head only": (b"FORM\0\0\0\x04AIFF", "truncated: an AIFF file without its sound chunk"),
    "AU head only": (b".snd", "format not recognised"),
}


@pytest.mark.parametrize(("data", "expected"), FOREIGN.values(), ids=FOREIGN)
def test_other_files_are_refused_with_a_way_out(tmp_path, data, expected):
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    assert expected in refusal(path)


@pytest.mark.parametrize("form", ["W64", "CAF", "VOC"])
def test_containers_whose_length_is_not_checked_are_refused(make, form):
    assert f"format {form} is not supported, only AIFF, AU, FLAC" in refusal(make("a.x", format=form))


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_flipped_bytes_inside_are_noticed(make, name):
    path = make(name, speech(4 * RATE))
    middle = path.stat().st_size // 2
    patch(path, (middle, bytes(byte ^ 0xFF for byte in path.read_bytes()[middle : middle + 200])))
    assert "truncated" in refusal(path)


def test_paths_are_escaped_in_messages(tmp_path):
    with pytest.raises(AudioError) as caught:
        read_waveform(request(tmp_path / "a\x1b[31m\n.wav"))
    assert str(caught.value).isprintable()
    assert "a\\x1b[31m\\n.wav: No such file" in str(caught.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_a_waveform_or_an_audio_error(make, data):
    _, form, coding = data.draw(st.sampled_from(CODINGS))
    path = make("a.x", speech(2000), format=form, subtype=coding)
    good = path.read_bytes()
    at = data.draw(st.one_of(st.integers(0, 80), st.integers(0, len(good) - 1)))
    damage = data.draw(st.binary(min_size=1, max_size=8))
    kept = data.draw(st.sampled_from([len(good), at + 1]))
    path.write_bytes((good[:at] + damage + good[at + len(damage) :])[:kept])
    try:
        samples = read(path, resample=True, channel=0)
    except AudioError as error:
        assert str(error).isprintable()
    else:
        assert np.isfinite(samples).all()
        assert samples.dtype == np.float32


def test_a_pipe_is_refused_unless_it_is_allowed(make, tmp_path):
    canary = tmp_path / "PWNED"
    for command in (f"touch {canary}; cat {make()} |", f"| touch {canary}", f"touch {canary}|"):
        assert "a pipe command is not run; --allow-pipes" in refusal(command)
    assert not canary.exists()


def test_shell_characters_in_a_path_are_just_characters(tmp_path):
    canary = tmp_path / "PWNED"
    for path in (f"$(touch {canary})", f"`touch {canary}`", f"a.wav; touch {canary}"):
        assert "No such file" in refusal(path, allow_pipes=True)
    assert not canary.exists()


def test_an_allowed_pipe_gives_what_the_file_gives(make):
    path = make()
    assert np.array_equal(read(f"cat '{path}' |", allow_pipes=True), read(path))
    assert np.array_equal(read(f"cat '{path}' | cat |", allow_pipes=True, start=0.2, end=0.3), read(path)[3200:4800])


@pytest.mark.parametrize(("command", "status"), [("false |", 1), ("no-such-command-here |", 127), ("false | cat |", 1), ("exit 3 |", 3)])
def test_a_pipe_that_fails_anywhere_is_refused_with_its_status(command, status):
    assert f"the command ended with status {status}" in refusal(command, allow_pipes=True)


def test_a_pipe_that_fails_after_its_output_is_refused(make):
    assert "ended with status 4" in refusal(f"cat '{make()}'; exit 4 |", allow_pipes=True)


def test_a_pipe_at_the_front_is_never_run(tmp_path):
    canary = tmp_path / "PWNED"
    assert "a pipe command ends in '|'" in refusal(f"| touch {canary}", allow_pipes=True)
    assert not canary.exists()


def test_an_endless_pipe_is_stopped(monkeypatch):
    monkeypatch.setattr(audio, "PIPE_LIMIT", 3 << 20)
    assert "wrote more than 3145728 bytes" in refusal("cat /dev/zero |", allow_pipes=True)


def test_no_handles_are_left_open(make, tmp_path):
    good, bad = make(), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    read(good)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        read(good)
        refusal(bad)
        read(f"cat '{good}' |", allow_pipes=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
