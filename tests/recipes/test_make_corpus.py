"""The synthetic corpus: repeatable, valid, and varied in what tells speakers apart and in what does not."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.validation import validate

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "egs/synthetic/v1/local/make_corpus.py"


def make(run, where, *options):
    sizes = ("--num-train", "2", "--num-dev", "2", "--num-test", "2", "--num-utterances", "3")
    return run(SCRIPT, "--corpus-dir", f"{where}/corpus", "--data-dir", where, *sizes, *options)


def audio_of(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.glob("corpus/*/*.flac"))}


@pytest.fixture
def corpus(run, tmp_path):
    pytest.importorskip("espeakng_loader", reason="the synthetic extra is not installed")
    result = make(run, "one", "--nj", "2")
    assert result.returncode == 0, result.stderr
    return tmp_path / "one"


def test_the_same_options_give_the_same_bytes_whatever_nj_is(run, tmp_path, corpus):
    make(run, "two", "--nj", "1")
    make(run, "other", "--seed", "1")
    assert audio_of(corpus) == audio_of(tmp_path / "two")
    assert len(set(audio_of(corpus).values()) | set(audio_of(tmp_path / "other").values())) == 36


def test_a_speaker_sounds_the_same_whoever_else_is_there(run, tmp_path, corpus):
    run(
        SCRIPT,
        "--corpus-dir",
        "few/corpus",
        "--data-dir",
        "few",
        "--num-train",
        "2",
        "--num-utterances",
        "3",
        "--num-dev",
        "3",
        "--num-test",
        "4",
    )
    few = audio_of(tmp_path / "few")
    assert all(few[name] == content for name, content in audio_of(corpus).items())


def test_the_sets_are_valid_and_share_no_speaker(corpus):
    sets = [DataDir.read(corpus / name) for name in ("train", "dev", "test")]
    assert [len(data.utterances()) for data in sets] == [6, 6, 6]
    assert len({speaker for data in sets for speaker in data.spk2utt}) == 6
    for data in sets:
        assert validate(data.path, read_data=True) == []


def test_utterances_have_the_promised_length_rate_and_level(corpus):
    peaks = []
    for file in corpus.glob("corpus/*/*.flac"):
        samples, sample_rate = soundfile.read(file)
        assert sample_rate == 16_000
        assert 2 <= len(samples) / sample_rate <= 5
        peaks.append(20 * np.log10(np.abs(samples).max()))
    assert -30.1 < min(peaks) < -18 < max(peaks) <= -5.9


def test_a_second_run_does_nothing_and_a_damaged_file_is_made_again(run, corpus):
    before = audio_of(corpus)
    assert "holds this corpus already" in make(run, "one").stderr
    next(corpus.glob("corpus/*/*.flac")).write_bytes(b"")
    assert make(run, "one").returncode == 0
    assert audio_of(corpus) == before


def test_a_missing_package_is_named_with_the_command_that_brings_it(run, tmp_path, environment):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['espeakng_loader'] = None\n")
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    result = make(run, "none")
    assert result.returncode == 1
    assert "pip install -e '.[synthetic]'" in result.stderr
    assert "Traceback" not in result.stderr
