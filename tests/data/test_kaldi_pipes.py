from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.kaldi_pipes import for_kaldi
from sv_toolkit.errors import DataError


def tables(wav, speed=None, **others):
    utt2spk = {"utt2spk": dict.fromkeys(others.get("segments", wav), "s")}
    speeds = {} if speed is None else {"utt2speed": dict.fromkeys(utt2spk["utt2spk"], speed)}
    return {"wav.scp": wav, **utt2spk, **speeds, **others}


@pytest.mark.parametrize(
    ("value", "speed", "written"),
    [
        ("a.wav", None, "a.wav"),
        ("a b.flac", None, "flac -c -d -s 'a b.flac' |"),
        ("a.flac", "0.9", "flac -c -d -s a.flac | sox -t wav - -t wav - speed 0.9 |"),
        ("a.mp3", None, "sox a.mp3 -t wav - |"),
        ("a.wav", "0.9", "sox a.wav -t wav - speed 0.9 |"),
        ("cat a.wav |", "1.1", "cat a.wav | sox -t wav - -t wav - speed 1.1 |"),
        ("cat a.wav |", None, "cat a.wav |"),
        ("a.ark:17", None, "a.ark:17"),
        ("$(touch x).wav", "0.9", "sox '$(touch x).wav' -t wav - speed 0.9 |"),
    ],
)
def test_what_this_toolkit_does_when_it_reads_becomes_a_command(value, speed, written):
    found = for_kaldi(tables({"s-1": value}, speed))
    assert found["wav.scp"] == {"s-1": written} and "utt2speed" not in found


def test_segments_of_a_recording_that_is_sped_up_are_shorter():
    found = for_kaldi(tables({"r": "r.wav"}, "2", segments={"s-1": "r 1 3", "s-2": "r 3 4.5"}))
    assert found["segments"] == {"s-1": "r 0.5000 1.5000", "s-2": "r 1.5000 2.2500"}


def test_a_recording_of_two_speeds_and_one_in_an_archive_are_refused():
    given = tables({"r": "r.wav"}, segments={"s-1": "r 1 3", "s-2": "r 3 4.5"})
    with pytest.raises(DataError, match="recording r is used at several speeds"):
        for_kaldi({**given, "utt2speed": {"s-1": "0.9"}})
    with pytest.raises(DataError, match="archive"):
        for_kaldi(tables({"s-1": "a.ark:17"}, "0.9"))


@pytest.mark.skipif(not (shutil.which("sox") and shutil.which("flac")), reason="sox or flac is missing")
@pytest.mark.parametrize("speed", [None, "0.8"])
def test_the_commands_give_the_recording_at_its_speed(tmp_path, speed):
    soundfile.write(tmp_path / "a b.flac", np.sin(np.arange(16000) / 10) / 2, 16000)
    command = for_kaldi(tables({"s-1": str(tmp_path / "a b.flac")}, speed))["wav.scp"]["s-1"]
    with open(tmp_path / "out.wav", "wb") as out:
        subprocess.run(command.rstrip("|"), shell=True, stdout=out, check=True)
    assert len(soundfile.read(tmp_path / "out.wav")[0]) == pytest.approx(16000 / float(speed or 1), abs=2)
