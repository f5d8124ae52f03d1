"""egs/librispeech: a miniature tree of the real layout; subsets, chapters, genders; the recipe from end to end."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.trials import read_trials
from sv_toolkit.data.validation import validate

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs/librispeech/v1"
PREPARE = RECIPE / "local/prepare_librispeech.py"
SUBSETS = {"train-clean-100": ("103", "1034", "1040", "1069"), "dev-clean": ("1272", "1462"), "test-clean": ("61", "121")}
SPEAKERS = """;
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-360  | 25.03 | Kristin LeMoine
60   | M | train-clean-100  | 20.18 | |CBW|Simon
"""


def write_reader(folder, speaker, seconds=0.1):
    """Two chapters of two sentences; pulses whose pitch is the reader's, with breaks between."""
    rng = np.random.default_rng(int(speaker))
    times = np.arange(int(16_000 * seconds)) / 16_000
    voice = sum(np.cos(2 * np.pi * (80 + int(speaker) % 200) * k * times) / k for k in range(1, 9)) * (np.sin(5 * times) > -0.5)
    for chapter in ("1240", "98"):
        for number in range(2):
            path = folder / speaker / chapter / f"{speaker}-{chapter}-{number:04d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * voice + 0.002 * rng.normal(size=len(times)), 16_000)


def write_corpus(root, where="LibriSpeech", **options):
    for subset, speakers in SUBSETS.items():
        home = root / where.format(subset=subset)
        for speaker in speakers:
            write_reader(home / subset, speaker, **options)
        rows = [f"{speaker:4} | {'MF'[int(speaker) % 2]} | {name} | 25.0 | Some One\n" for name in SUBSETS for speaker in SUBSETS[name]]
        (home / "SPEAKERS.TXT").write_text(SPEAKERS + "".join(rows))


def prepare(run, *options):
    return run(PREPARE, "--any-size", "true", *options, "my corpus", "data")


@pytest.mark.parametrize("where", ["LibriSpeech", ".", "{subset}/LibriSpeech"])
def test_subsets_become_sets_wherever_they_lie(run, tmp_path, where):
    write_corpus(tmp_path / "my corpus", where)
    result = prepare(run)
    assert result.returncode == 0, result.stderr
    for name, subset in (("train", "train-clean-100"), ("dev", "dev-clean"), ("test", "test-clean")):
        data = DataDir.read(tmp_path / "data" / name)
        assert set(data.spk2utt) == set(SUBSETS[subset])
        assert data.table("utt2session")[f"{SUBSETS[subset][0]}-98-0001"] == f"{SUBSETS[subset][0]}-98"
        assert data.table("spk2gender")[SUBSETS[subset][1]] == "mf"[int(SUBSETS[subset][1]) % 2]
        assert validate(tmp_path / "data" / name, read_data=True) == []


def test_several_subsets_train_together(run, tmp_path):
    write_corpus(tmp_path / "my corpus")
    write_reader(tmp_path / "my corpus/LibriSpeech/train-clean-360", "14")
    result = prepare(run, "--train", "train-clean-100 train-clean-360")
    assert result.returncode == 0, result.stderr
    assert set(DataDir.read(tmp_path / "data/train").spk2utt) == {"14", *SUBSETS["train-clean-100"]}


def test_a_reader_in_two_sets_is_refused(run, tmp_path):
    write_corpus(tmp_path / "my corpus")
    write_reader(tmp_path / "my corpus/LibriSpeech/test-clean", "103")
    result = prepare(run)
    assert result.returncode == 1
    assert "test shares speakers with train: 103" in result.stderr
    assert not (tmp_path / "data").exists()


def test_another_size_than_the_release_is_refused(run, tmp_path):
    write_corpus(tmp_path / "my corpus")
    result = run(PREPARE, "my corpus", "data")
    assert result.returncode == 1
    assert "train-clean-100: the release has 251 speakers and 28539 utterances, found 4 and 16" in result.stderr


def test_a_missing_subset_is_refused_by_name(run, tmp_path):
    write_corpus(tmp_path / "my corpus")
    result = prepare(run, "--train", "train-other-500")
    assert result.returncode == 1
    assert "no folder train-other-500 there or in LibriSpeech" in result.stderr


def test_a_file_that_contradicts_its_place_is_refused(run, tmp_path):
    write_corpus(tmp_path / "my corpus")
    file = tmp_path / "my corpus/LibriSpeech/dev-clean/1272/98/1272-98-0000.flac"
    file.rename(file.with_name("1272-99-0000.flac"))
    result = prepare(run)
    assert result.returncode == 1
    assert "1272-99-0000.flac: the name is not SPEAKER-CHAPTER-NUMBER" in result.stderr


def test_genders_that_are_not_said_are_left_out_aloud(run, tmp_path):
    write_corpus(tmp_path / "my corpus")
    list_of = tmp_path / "my corpus/LibriSpeech/SPEAKERS.TXT"
    list_of.write_text(list_of.read_text().replace("61   |", "62   |"))
    result = prepare(run)
    assert result.returncode == 0
    assert "test: SPEAKERS.TXT does not say the gender of 61" in result.stderr
    assert not (tmp_path / "data/test/spk2gender").exists()
    list_of.write_text("103 | female | x\n")
    refused = prepare(run, "--overwrite")
    assert refused.returncode == 1
    assert "SPEAKERS.TXT:1: 'ID | M or F" in refused.stderr


def test_the_checksums_are_a_list_of_the_archives_that_the_recipe_downloads():
    lines = [line.split() for line in (RECIPE / "conf/md5sum.txt").read_text().splitlines()]
    assert all(re.fullmatch(r"[0-9a-f]{32}", digest) for digest, _ in lines)
    assert {"train-clean-100.tar.gz", "dev-clean.tar.gz", "test-clean.tar.gz"} <= {name for _, name in lines}
    assert len({digest for digest, _ in lines}) == len(lines)


def test_the_recipe_runs_from_end_to_end(run, tmp_path, tiny_config):
    write_corpus(tmp_path / "corpus", seconds=0.8)
    words = (
        "--corpus",
        "corpus",
        "--any-size",
        "true",
        "--nj",
        "1",
        "--threads",
        "1",
        "--train-config",
        "tiny.toml",
        "--results",
        "rows.md",
    )
    result = run(RECIPE / "run.sh", *words, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    assert len(re.findall(r"^target trials of .* GE2E LSTM.*:\nEER +\d+\.\d\d % ", result.stdout, re.MULTILINE)) == 3
    assert len((tmp_path / "rows.md").read_text().splitlines()) == 2 + 6
    counts = {name: read_trials(tmp_path / f"data/test/trials_{name}").num_targets for name in ("any", "same", "different")}
    assert counts == {"any": 12, "same": 4, "different": 8}
