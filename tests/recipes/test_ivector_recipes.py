"""The recipes of the classical baseline from end to end, on miniature corpora of buzzing voices."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
IVECTOR = "[frames]\ncmvn = 'level'\ndelta_order = 1\n[ubm]\nnum_components = 2\nfull_iterations = 1\n[total_variability]\nivector_dim = 4\nnum_iterations = 2\n"
BACKEND = "lda_dim = 2\nplda_iterations = 2\n"


def write_voice(path, pitch, rng):
    """Harmonics at a pitch, with a hum of their own, between silences."""
    soundfile = pytest.importorskip("soundfile")
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(12_000) / 16_000
    pitches = np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))) / 16_000
    voice = sum(np.sin(2 * np.pi * k * pitches) / k for k in range(1, 20)) * (np.abs(time - 0.375) < 0.3)
    soundfile.write(path, 0.1 * voice + 1e-4 * rng.standard_normal(len(time)), 16_000, subtype="PCM_16")


@pytest.fixture
def configs(tmp_path):
    (tmp_path / "ivector.toml").write_text(IVECTOR)
    (tmp_path / "backend.toml").write_text(BACKEND)
    return ("--ivector-config", "ivector.toml", "--backend-config", "backend.toml", "--results", "RESULTS.md", "--nj", "1")


def test_an4_runs_from_end_to_end_and_a_second_run_repeats_nothing(run, tmp_path, configs, rng):
    for part, speakers in (("an4_clstk", ("fa", "fb", "mc", "md")), ("an4test_clstk", ("fe", "mf", "mg"))):
        for number, speaker in enumerate(speakers):
            for take in range(3):
                write_voice(tmp_path / "an4" / "wav" / part / speaker / f"t{take}-{speaker}-b.wav", 90 + 40 * number, rng)
    words = (ROOT / "egs/an4/v3/run.sh", "--corpus", "an4", "--any-size", "true", *configs)
    result = run(*words, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    assert re.search(r"^i-vector, LDA and PLDA, seed 0:\nEER +\d+\.\d\d % \[", result.stdout, re.MULTILINE)
    rows = (tmp_path / "RESULTS.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| control: quietest tenth of the frames, untrained", "| i-vector, cosine, seed 0", "| i-vector, LDA and PLDA, seed 0"
    ]  # fmt: skip
    assert all("9 target / 27 nontarget" in row for row in rows)
    again = run(*words, "--stage", "1", "--stop-stage", "5", timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already") >= 9


def test_held_out_speakers_are_scored_instead_of_the_test_speakers(run, tmp_path, configs, rng):
    for part, speakers in (("an4_clstk", ("fa", "fb", "mc", "md", "fe", "mf")), ("an4test_clstk", ("fg",))):
        for number, speaker in enumerate(speakers):
            for take in range(3):
                write_voice(tmp_path / "an4" / "wav" / part / speaker / f"t{take}-{speaker}-b.wav", 90 + 30 * number, rng)
    words = (ROOT / "egs/an4/v3/run.sh", "--corpus", "an4", "--any-size", "true", "--num-dev", "2", *configs)
    result = run(*words, timeout=300)
    assert result.returncode == 0, result.stderr
    rows = (tmp_path / "RESULTS.md").read_text().splitlines()[2:]
    assert all(row.startswith("| held-out training speakers, ") for row in rows), "a row of them is no result of the recipe"
    assert not (tmp_path / "data" / "test" / "feats.scp").exists()
    assert "6 target, 9 nontarget" in result.stdout


def test_speech_commands_run_from_end_to_end(run, tmp_path, configs, rng):
    for word in ("bed", "cat"):
        for number in range(9):
            for take in range(2):
                write_voice(tmp_path / "corpus" / word / f"{number:08x}_nohash_{take}.wav", 90 + 20 * number, rng)
    sizes = ("--words", "bed cat", "--num-test", "3", "--num-dev", "2", "--enroll", "1")
    result = run(ROOT / "egs/speech_commands/v4/run.sh", "--corpus", "corpus", *sizes, *configs, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    rows = (tmp_path / "RESULTS.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| test, ") for row in rows] == [
        "control: quietest tenth of the frames, untrained",
        "i-vector, cosine, seed 0",
        "i-vector, LDA and PLDA, seed 0",
        "i-vector, LDA and PLDA, seed 0, different keyword",
        "i-vector, LDA and PLDA, seed 0, same keyword",
        "enrolled with 1, same keyword, i-vector, LDA and PLDA, seed 0",
        "enrolled with 1, different keyword, i-vector, LDA and PLDA, seed 0",
    ]


PHONES = "left = 2\nright = 2\nhidden_size = 16\nnum_layers = 1\nepochs = 1\n"


def test_an4_with_phonetic_classes_runs_from_end_to_end(run, tmp_path, rng):
    pytest.importorskip("espeakng_loader", reason="the synthetic extra is not installed")
    for part, speakers in (("an4_clstk", ("fa", "fb", "mc", "md")), ("an4test_clstk", ("fe", "mf", "mg"))):
        for number, speaker in enumerate(speakers):
            for take in range(7):
                write_voice(tmp_path / "an4" / "wav" / part / speaker / f"an{take}-{speaker}-b.wav", 90 + 40 * number, rng)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/phones.toml").write_text(PHONES)
    (tmp_path / "conf/ubm.toml").write_text(IVECTOR)
    (tmp_path / "conf/phonetic.toml").write_text(IVECTOR.replace("num_components = 2", "num_components = 40"))
    (tmp_path / "backend.toml").write_text(BACKEND)
    takes = [f"<s> {'ABCDEFG'[take]} {number} </s> (an{take}-{speaker}-b)\n" for number, speaker in zip(("ONE", "TWO", "SIX"), ("fe", "mf", "mg")) for take in range(7)]  # fmt: skip
    (tmp_path / "words").write_text("".join(takes))
    sizes = ("--num-voices", "10", "--num-utterances", "6", "--seeds", "0 1", "--configs", "conf", "--backend-config", "backend.toml")
    words = ("--corpus", "an4", "--any-size", "true", "--transcripts", "words", "--results", "RESULTS.md", "--nj", "1", *sizes)
    result = run(ROOT / "egs/an4/v4/run.sh", *words, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 10
    text = (tmp_path / "RESULTS.md").read_text()
    assert re.search(r"^\| classifier \| \d+\.\d % \(speech alone .* \| \d+\.\d % of 420 \|", text, re.MULTILINE), text
    assert re.search(r"^\| phonetic i-vector, LDA and PLDA \| \d+\.\d\d % ", text, re.MULTILINE)
    assert "the phonetic i-vector has a lower EER than that of the background model, PLDA" in text
