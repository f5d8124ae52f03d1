"""local/ scripts that divide speakers between folds, sources and keywords, on miniature trees."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.validation import validate

ROOT = Path(__file__).resolve().parents[2]
ARABIC = ROOT / "egs/arabic_commands/v1/local/prepare_arabic_commands.py"
SOURCES = ROOT / "egs/speech_commands/v2/local/choose_sources.py"
TRIALS = ROOT / "egs/speech_commands/v2/local/make_keyword_trials.py"


@pytest.fixture
def arabic(tmp_path):
    for keyword in ("next", "zero"):
        (tmp_path / "corpus" / keyword).mkdir(parents=True)
        for number in range(5):
            soundfile.write(tmp_path / f"corpus/{keyword}/{number:08d}_NO_01.wav", np.zeros(1600), 16_000)
    return tmp_path / "corpus"


def test_arabic_speakers_are_tested_in_one_fold_and_trained_with_in_the_other(run, tmp_path, arabic):
    result = run(ARABIC, arabic, "data")
    assert result.returncode == 0, result.stderr
    sets = {name: DataDir.read(tmp_path / "data" / name) for name in ("fold1/train", "fold1/test", "fold2/train", "fold2/test")}
    assert sets["fold1/train"].utt2spk == sets["fold2/test"].utt2spk
    assert sets["fold2/train"].utt2spk == sets["fold1/test"].utt2spk
    assert not set(sets["fold1/train"].spk2utt) & set(sets["fold1/test"].spk2utt)
    assert len(sets["fold1/train"].spk2utt) + len(sets["fold1/test"].spk2utt) == 5
    for name in sets:
        assert validate(tmp_path / "data" / name, read_data=True) == []


def test_arabic_keywords_are_chosen_by_name(run, tmp_path, arabic):
    assert run(ARABIC, "--keywords", "zero", arabic, "data").returncode == 0
    assert set(DataDir.read(tmp_path / "data/fold1/test").table("utt2keyword").values()) == {"zero"}
    assert "corpus/left" in run(ARABIC, "--keywords", "left", arabic, "other").stderr


def test_a_clip_that_is_named_otherwise_is_refused_by_name(run, arabic):
    (arabic / "next/00000001.wav").touch()
    result = run(ARABIC, arabic, "data")
    assert result.returncode == 1
    assert "00000001.wav" in result.stderr


def test_too_few_arabic_speakers_for_two_halves_are_refused(run, arabic):
    for path in arabic.glob("*/0000000[2-4]*"):
        path.unlink()
    assert "2 speakers are too few" in run(ARABIC, arabic, "data").stderr


def write_data(folder, said):
    """A data directory of `speaker -> keywords`, of files that nobody reads."""
    folder.mkdir(parents=True)
    keys = sorted(
        (f"{speaker}-{keyword}-{take}", speaker, keyword) for speaker in said for take, keyword in enumerate(said[speaker].split())
    )
    tables = {"wav.scp": 0, "utt2spk": 1, "utt2keyword": 2}
    for name, column in tables.items():
        (folder / name).write_text("".join(f"{row[0]} {f'/{row[0]}.wav' if column == 0 else row[column]}\n" for row in keys))
    (folder / "spk2utt").write_text("".join(f"{speaker} {' '.join(k for k, s, _ in keys if s == speaker)}\n" for speaker in sorted(said)))


@pytest.fixture
def everybody(tmp_path):
    said = {
        "a": "bed cat",
        "b": "bed cat",
        "c": "bed bed",
        "d": "bed bed cat",
        "e": "bed",
        "f": "cat cat",
        "g": "happy happy",
        "h": "bed bed",
    }
    for name in ("train", "dev", "test"):
        write_data(tmp_path / "all" / name, said)
    return tmp_path / "all"


def test_the_small_source_has_both_keywords_and_the_large_one_the_first_of_all_others(run, tmp_path, everybody):
    result = run(SOURCES, "--num-small", "2", everybody, "data")
    assert result.returncode == 0, result.stderr
    small, large = (DataDir.read(tmp_path / "data" / name) for name in ("small", "large"))
    assert len(small.spk2utt) == 2
    assert set(small.spk2utt) <= {"a", "b", "d"}
    assert set(small.table("utt2keyword").values()) == {"bed", "cat"}
    assert set(large.spk2utt) == {"c", "d", "h"} - set(small.spk2utt), "who says bed once has nothing to be compared with"
    assert set(large.table("utt2keyword").values()) == {"bed"}
    assert set(DataDir.read(tmp_path / "data/test").spk2utt) == {"a", "b", "c", "d", "e", "f", "h"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--num-small", "4"), "too few for --num-small 4"),
        (("--num-small", "3", "--keywords", "cat bed"), "1 speakers are left for the large source"),
        (("--keywords", "bed left"), "nobody says 'left'"),
        (("--keywords", "bed"), "two different keywords"),
    ],
)
def test_sources_that_cannot_be_made_are_refused(run, everybody, options, says):
    result = run(SOURCES, *options, everybody, "data")
    assert result.returncode in (1, 2)
    assert says in result.stderr


def test_trials_of_a_keyword_leave_out_the_utterances_of_models(run, tmp_path):
    write_data(tmp_path / "test", {"a": "bed bed cat", "b": "bed bed cat cat", "c": "cat cat"})
    result = run(TRIALS, "test")
    assert result.returncode == 0, result.stderr
    models = dict(line.split() for line in (tmp_path / "test/enroll").read_text().splitlines())
    assert set(models) == {"a-bed", "a-cat", "b-bed", "b-cat", "c-cat"}
    trials = {
        name: [line.split() for line in (tmp_path / f"test/trials_{name}").read_text().splitlines()] for name in ("bed_bed", "bed_cat")
    }
    assert len(trials["bed_bed"]) == 2 * 2
    assert not {key for _, key, _ in trials["bed_bed"]} & set(models.values())
    assert len(trials["bed_cat"]) == 2 * 5
    assert all((label == "target") == (model[0] == key[0]) for model, key, label in trials["bed_bed"] + trials["bed_cat"])


def test_keyword_trials_without_targets_are_refused(run, tmp_path):
    write_data(tmp_path / "test", {"a": "bed cat", "b": "bed cat"})
    result = run(TRIALS, "test")
    assert result.returncode == 1
    assert "no target or no nontarget trial for bed_bed" in result.stderr
