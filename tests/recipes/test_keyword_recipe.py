"""The recipe of the keyword front end from end to end, on miniature corpora of tones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from keyword_sounds import RATE, TOML, clip

ROOT = Path(__file__).resolve().parents[2]
TINY = TOML.format(fbank="", detector="floor = 0.01\n")


def write(path, word, rng, seconds=1.0):
    soundfile = pytest.importorskip("soundfile")
    resample_poly = pytest.importorskip("scipy.signal").resample_poly
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, resample_poly(clip(word, rng, seconds)[0], 16_000 // RATE, 1), 16_000, subtype="PCM_16")


@pytest.fixture
def corpora_of_tones(tmp_path, rng):
    """Two words of nine speakers, readers who say neither, an AN4 test speaker."""
    for speaker in range(9):
        for take in range(2):
            for word in ("up", "down"):
                write(tmp_path / "commands" / word / f"{speaker:08x}_nohash_{take}.wav", word, rng)
    for reader in range(100, 130):
        write(tmp_path / "readers" / str(reader) / "1" / f"{reader}-1-0000.flac", "flat", rng, 1.5)
    write(tmp_path / "an4" / "wav" / "an4test_clstk" / "fx" / "cen1-fx-b.wav", "flat", rng, 2.0)
    (tmp_path / "tiny.toml").write_text(TINY)
    sizes = ("--words", "up down", "--num-test", 3, "--num-dev", 2, "--nj", 1)
    return (
        "--corpus",
        "commands",
        "--librispeech",
        "readers",
        "--an4",
        "an4",
        "--train-config",
        "tiny.toml",
        "--results",
        "RESULTS.md",
        *sizes,
    )


def test_the_detector_is_measured_with_background_it_has_not_heard(run, tmp_path, corpora_of_tones):
    recipe = ROOT / "egs/speech_commands/v6/run.sh"
    result = run(recipe, *corpora_of_tones, "--stop-stage", "3", timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 4
    rows = (tmp_path / "RESULTS.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| development, down", "| development, up", "| test, down", "| test, up"]
    assert all(f"{number} |" in row for row, number in zip(rows, [" 4", " 4", " 12", " 12"]))  # two detectors, three speakers, two takes
    heard = re.search(r"^test, up .*?(\d+\.\d\d) h$", result.stdout, re.MULTILINE)
    assert heard
    assert (tmp_path / "exp/det.svg").read_text().startswith("<svg")
    tables = [(tmp_path / f"data/background_{half}/utt2spk").read_text().splitlines() for half in "ab"]
    halves = [{line.split()[1] for line in table} for table in tables]
    assert not halves[0] & halves[1]
    assert len(halves[0] | halves[1]) < 30  # the others are for development
    again = run(recipe, *corpora_of_tones, "--stage", "0", "--stop-stage", "2", timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already done") >= 8


def test_verification_behind_the_detector_is_compared_on_the_same_pairs(run, tmp_path):
    """Scores behind the detector are those of whole recordings, but for pairs it missed: they are rejected."""
    rng = np.random.default_rng(0)
    keys = [f"s{speaker}-{take}" for speaker in range(6) for take in range(3)]
    pairs = [(a, b, "target" if a[:2] == b[:2] else "nontarget") for a in keys for b in keys if a < b]
    whole = {pair: rng.normal(2.0 * (pair[2] == "target")) for pair in pairs}
    missed = {pair for pair in pairs if "s0-0" in pair}
    (tmp_path / "trials").write_text("".join(" ".join(pair) + "\n" for pair in pairs))
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in keys))
    for name, kept in (("whole", set(pairs)), ("behind", set(pairs) - missed)):
        (tmp_path / name).write_text("".join(f"{pair[0]} {pair[1]} {whole[pair]}\n" for pair in pairs if pair in kept))
    words = ("--utt2spk", "utt2spk", "--name", "n", "--results", "R.md", "trials", "whole")
    script = ROOT / "egs/speech_commands/v6/local/behind.py"
    same, behind = (run(script, *words, name) for name in ("whole", "behind"))
    assert same.returncode == behind.returncode == 0, behind.stderr
    assert "  1.000  +0.00 " in same.stdout
    assert float(behind.stdout.split("  ")[3]) > 1
