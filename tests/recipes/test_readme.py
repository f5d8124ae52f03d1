"""The README as a stranger reads it: its command lines are run as they are printed, on 18 speakers with 8 recordings each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sv_toolkit.models.ready import FOLDER

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in README.split("\n## ")[1:])
OWN, PAIR, ELSEWHERE = "Your own speakers, six commands", "Two recordings, one command", "A model elsewhere"
SPEAKERS, HELD_OUT, UTTERANCES, RATE = 18, 6, 8, 16_000
MINUTES = 5

soundfile = pytest.importorskip("soundfile")
pytestmark = pytest.mark.slow


def printed(section):
    """The lines of a section that a reader would type, without their comments."""
    lines = re.findall(r"^    (\S.*)$", SECTIONS[section], re.MULTILINE)
    return [re.sub(r" {2,}#.*", "", line) for line in lines if re.match(r"(sv-|arecord |python )", line)]


def test_the_path_has_six_commands_at_most():
    assert 1 <= len(printed(OWN)) <= 6
    assert all(line.startswith("sv-") for line in printed(OWN)), "no glue between them"


def an4_voices(corpora):
    """Recordings of AN4, by speaker; 12 and 6 speakers who say enough."""
    folders = [folder for part in ("an4_clstk", "an4test_clstk") for folder in sorted((corpora / "an4/wav" / part).iterdir())]
    enough = [folder for folder in folders if len(list(folder.glob("*.flac"))) >= UTTERANCES]
    return {folder.name: [soundfile.read(path)[0] for path in sorted(folder.glob("*.flac"))[:UTTERANCES]] for folder in enough[-SPEAKERS:]}


def synthetic_voices():
    """Harmonics with the formants of a speaker, another melody in each recording, and noise: alike enough to be mixed up at times."""
    rng = np.random.default_rng(20171028)
    return {
        f"voice{number:02d}": [synthetic_voice(rng, formants) for _ in range(UTTERANCES)] for number, formants in enumerate(_formants(rng))
    }


def _formants(rng):
    return rng.uniform([300, 900, 2000], [800, 1900, 3300], size=(SPEAKERS, 3))


def synthetic_voice(rng, formants, duration=2.5):
    seconds = np.arange(int(duration * RATE)) / RATE
    pitch = rng.uniform(110, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * seconds + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    moved = formants * rng.uniform(0.9, 1.1, 3)
    weights = [sum(np.exp(-(((k * pitch.mean() - f) / 250) ** 2)) for f in moved) + 0.02 for k in range(1, 25)]
    loud = np.clip(np.sin(2 * np.pi * 3 * seconds + rng.uniform(0, 6)), 0, None) ** 0.5
    sound = loud * sum(weight * np.sin(k * phase) for k, weight in enumerate(weights, 1))
    return 0.1 * sound / np.abs(sound).max() + rng.normal(0, 0.002, len(sound))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if not (FOLDER / "model.json").exists():
        pytest.skip("the ready model is not part of this checkout")
    return a_folder(tmp_path_factory)


def a_folder(tmp_path_factory):
    """A folder as the README assumes one: recordings/SPEAKER/*.wav, a.wav, b.wav and c.wav of one speaker, docs/."""
    folder = tmp_path_factory.mktemp("stranger")
    corpora = ROOT.parent / "shared" / "corpora"
    voices = an4_voices(corpora) if corpora.is_dir() else synthetic_voices()
    assert len(voices) == SPEAKERS
    for speaker, sounds in voices.items():
        (folder / "recordings" / speaker).mkdir(parents=True)
        for number, sound in enumerate(sounds, 1):
            soundfile.write(folder / "recordings" / speaker / f"{number:03d}.wav", sound, RATE, subtype="PCM_16")
    longest = sorted(voices[min(voices)], key=len)[-3:]
    for name, sound in zip("abc", longest):
        soundfile.write(folder / f"{name}.wav", sound, RATE, subtype="PCM_16")
    (np.concatenate(longest) * 32767).astype("<i2").tofile(folder / "microphone.raw")
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


def run(line, folder, timeout=60 * MINUTES):
    """What a line prints; it must do so without a warning."""
    line = re.sub(r"^arecord [^|]*\|(.*)", r"\1 < microphone.raw", line)
    path = f"{Path(sys.executable).parent}:{ROOT / 'bin'}:{os.environ['PATH']}"
    words = ["bash", "-c", line]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert "warning" not in result.stderr.lower(), f"{line}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def own(place):
    """What the six commands printed; they may take `MINUTES` together."""
    return {line: run(line, place) for line in printed(OWN)}


def test_two_recordings_and_a_claim_are_decided_by_the_ready_model(place):
    found = [run(line, place) for line in printed(PAIR)]
    decided = [result.stdout for result in found if "decision " in result.stdout]
    assert len(decided) == 3, "a pair, a claim, and a stream"
    assert all(re.search(r"^(false_alarm_rate|miss_rate) ", text, re.MULTILINE) for text in decided)


def test_three_lines_of_python_decide(place):
    lines = re.search(r"^    import sv_toolkit\n(?:    .*\n)+", SECTIONS[PAIR], re.MULTILINE).group()
    program = "\n".join(line[4:] for line in lines.splitlines())
    assert len(program.splitlines()) == 3
    (place / "three_lines.py").write_text(program)
    assert "accepted=" in run("python three_lines.py", place).stdout


def test_from_folders_to_a_decision_as_printed(own, place):
    results = list(own.values())
    assert "decision accept" in results[-1].stdout or "decision reject" in results[-1].stdout
    eer = float(re.search(r"EER (\S+) %", "".join(result.stdout for result in results)).group(1))
    assert eer < 35, "half of it is a guess"
    assert (place / "exp/mine/calibration.json").exists()


def test_the_trained_model_is_exported_as_printed(own, place):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    lines = printed(ELSEWHERE)
    assert any("--with-features" in line for line in lines)
    *_, last = [run(line, place) for line in lines]
    vector = np.array(last.stdout.split(), float)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
