"""A file with more sound than its first header says is refused, and what only looks like that is read whole."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from recordings import read, refusal

RATE = 16_000
TONE = (np.sin(np.arange(8000) / 9) * 8000).astype(np.int16)
GOES_ON = "sound goes on after what the first header says"


def encoded(form, coding, samples=TONE):
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=form, subtype=coding)
    return stream.getvalue()


def put(tmp_path, data):
    path = tmp_path / "sound"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("form", "coding"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_16"), ("AU", "PCM_16")],
)
def test_two_files_joined_are_refused_and_one_is_read(form, coding, tmp_path):
    one = encoded(form, coding)
    assert len(read(put(tmp_path, one))) == len(TONE)
    assert GOES_ON in refusal(put(tmp_path, one + one))


@pytest.mark.parametrize("part", [0.5, 0.1])
def test_a_wav_whose_length_is_that_of_an_earlier_save_is_refused(part, tmp_path):
    data = bytearray(encoded("WAV", "PCM_16"))
    data[40:44] = struct.pack("<I", int(len(TONE) * part) * 2)
    assert GOES_ON in refusal(put(tmp_path, bytes(data)))


@pytest.mark.parametrize(
    "rest",
    [
        b"LIST" + struct.pack("<I", 4) + b"INFO",
        b"TAG" + bytes(125),
        bytes(500),
        b"\1",
        b"iXML" + struct.pack("<I", 3) + b"abc\0",
        b"LIST" + struct.pack("<I", 400) + b"INFO cut",
    ],
    ids=["LIST", "ID3v1", "padding", "one byte", "odd chunk", "notes cut"],
)
def test_notes_after_the_sound_are_no_sound(rest, tmp_path):
    assert np.array_equal(read(put(tmp_path, encoded("WAV", "PCM_16") + rest)), TONE / np.float32(32768))


def test_an_mp3_with_a_tag_at_its_end_is_whole(tmp_path):
    assert len(read(put(tmp_path, encoded("MP3", "MPEG_LAYER_III") + b"TAG" + b"song".ljust(125, b"\0")))) == len(TONE)


def test_decoders_write_nothing_to_the_terminal(tmp_path, capfd):
    data = encoded("MP3", "MPEG_LAYER_III")
    refusal(put(tmp_path, data + data))
    read(put(tmp_path, data))
    assert capfd.readouterr().err == ""


def test_mp3_in_wav_is_read_to_the_end_and_not_called_cut(tmp_path):
    """Its `fact` chunk counts the delay of the coder, too; whether it was cut, the data chunk tells."""
    frames = encoded("MP3", "MPEG_LAYER_III")
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 8000, 1, 0, 12, 1, 2, 576, 1, 1393)
    body = (
        b"WAVE"
        + b"fmt "
        + struct.pack("<I", 30)
        + fmt
        + b"fact"
        + struct.pack("<II", 4, 99_999)
        + b"data"
        + struct.pack("<I", len(frames))
        + frames
    )
    wav = b"RIFF" + struct.pack("<I", len(body)) + body
    assert abs(len(read(put(tmp_path, wav))) - len(TONE)) < 3000
    assert "truncated" in refusal(put(tmp_path, wav[:-300]))
