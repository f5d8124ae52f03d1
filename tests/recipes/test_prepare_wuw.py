"""egs/wuw: speakers split by hash, models of first calls against later ones, and the recipe from end to end."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.trials import read_trials
from sv_toolkit.data.validation import validate

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs/wuw/v1"
HEADER = "utterance\tspeaker\tsession\tkeyword\tkeyword_start\tkeyword_end\tdate\tphone\tgender\tduration\n"
SPEAKERS = [f"wuw{number:03d}" for number in range(1, 11)]
KEYWORDS = ("onword", "operator", "voyager")
CALLS = (("00009", "2001-12-21", "cellphone"), ("00003", "2001-12-30", "landlinephone"), ("00005", "2001-12-21", "cellphone"))
FIRST, SECOND, THIRD = "00005", "00009", "00003"  # by date, those of a day by number


def write_call(root, speaker, session, keywords):
    """Keywords of 0.8 s: pulses whose pitch is the speaker's."""
    rng = np.random.default_rng([int(speaker[3:]), int(session)])
    times = np.arange(int(8000 * 1.2)) / 8000
    voice = sum(np.cos(2 * np.pi * (80 + 13 * int(speaker[3:])) * k * times) / k for k in range(1, 9))
    for keyword in keywords:
        path = root / speaker / f"{speaker}-{session}-{keyword}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * voice + 0.002 * rng.normal(size=len(times)), 8000)


@pytest.fixture
def corpus(tmp_path):
    """Every speaker calls three times; the first by hash says a single keyword in the first call."""
    rows = []
    for speaker in SPEAKERS:
        for session, date, phone in CALLS:
            keywords = KEYWORDS[:1] if (speaker, session) == (hashed(SPEAKERS)[0], FIRST) else KEYWORDS
            write_call(tmp_path / "wuw", speaker, session, keywords)
            rows += [
                f"{speaker}-{session}-{keyword}\t{speaker}\t{session}\t{keyword}\t0.2\t1.0\t{date}\t{phone}\tf\t1.2\n"
                for keyword in keywords
            ]
    (tmp_path / "wuw/utterances.tsv").write_text(HEADER + "".join(rows))
    return tmp_path / "wuw"


def hashed(names):
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


@pytest.fixture
def data(run, corpus, tmp_path):
    result = run(RECIPE / "local/prepare_wuw.py", "--num-test", "3", "--num-dev", "3", "wuw", "data")
    assert result.returncode == 0, result.stderr
    return tmp_path / "data"


def test_speakers_are_split_by_the_hash_of_their_number(data):
    order = hashed(SPEAKERS)
    for name, speakers in (("test", order[:3]), ("dev", order[3:6]), ("train", order[6:])):
        assert set(DataDir.read(data / name).spk2utt) == set(speakers)
        assert validate(data / name, read_data=True) == []


def test_an_utterance_knows_its_call_day_and_telephone(data):
    tables = DataDir.read(data / "test")
    key = f"{hashed(SPEAKERS)[1]}-{THIRD}-voyager"
    assert tables.table("utt2session")[key] == f"{hashed(SPEAKERS)[1]}-{THIRD}"
    assert tables.table("utt2date")[key] == "2001-12-30"
    assert tables.table("utt2device")[key] == "landlinephone"


def test_too_few_speakers_are_refused(run, corpus):
    result = run(RECIPE / "local/prepare_wuw.py", "--num-test", "6", "--num-dev", "3", "wuw", "data")
    assert result.returncode == 1
    assert "of 10 speakers two must be left to train with" in result.stderr


def read_models(path):
    return {words[0]: words[1:] for words in map(str.split, path.read_text().splitlines())}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_models_of_the_first_call_meet_all_later_calls(run, data, count):
    result = run(RECIPE / "local/make_call_trials.py", "--num-enroll", count, data / "test")
    assert result.returncode == 0, result.stderr
    little, *others = hashed(SPEAKERS)[:3]  # said one keyword in the first call
    models = read_models(data / f"test/enroll{count}")
    assert set(models) == ({little, *others} if count == 1 else set(others))
    for speaker, keys in models.items():
        assert len(keys) == count
        assert all(key.startswith(f"{speaker}-{FIRST}-") for key in keys)
    trials = read_trials(data / f"test/trials_enroll{count}")
    found = {trials.pair(i): bool(label) for i, label in enumerate(trials.is_target)}
    later = [f"{speaker}-{call}-{keyword}" for speaker in hashed(SPEAKERS)[:3] for call in (SECOND, THIRD) for keyword in KEYWORDS]
    assert found == {f"{model} {key}": key.startswith(model) for model in models for key in later}


def test_larger_models_contain_the_smaller_ones(run, data):
    for count in (1, 2, 3):
        run(RECIPE / "local/make_call_trials.py", "--num-enroll", count, data / "test")
    one, two, three = (read_models(data / f"test/enroll{count}") for count in (1, 2, 3))
    for speaker in two:
        assert set(one[speaker]) < set(two[speaker]) < set(three[speaker])


def test_models_that_nobody_can_have_are_refused(run, data):
    result = run(RECIPE / "local/make_call_trials.py", "--num-enroll", 4, data / "test")
    assert result.returncode == 1
    assert "models of 4 utterances and later calls give no target or no nontarget trial" in result.stderr
    (data / "test/utt2date").unlink()
    assert "utt2session and utt2date are needed" in run(RECIPE / "local/make_call_trials.py", data / "test").stderr


def test_the_real_corpus_gives_the_documented_numbers(run, tmp_path, corpora):
    result = run(RECIPE / "local/prepare_wuw.py", "--num-test", "30", corpora / "wuw_keywords", "data")
    assert result.returncode == 0, result.stderr
    sizes = {name: DataDir.read(tmp_path / "data" / name) for name in ("train", "dev", "test")}
    assert {name: (len(data.spk2utt), len(data.utt2spk)) for name, data in sizes.items()} == {
        "train": (75, 834),
        "dev": (14, 110),
        "test": (30, 353),
    }


def test_the_recipe_runs_from_end_to_end(run, corpus, tmp_path, tiny_config):
    words = ("--corpus", "wuw", "--num-test", "3", "--num-dev", "3", "--enroll", "2", "--nj", "1", "--threads", "1")
    result = run(RECIPE / "run.sh", *words, "--train-config", tiny_config, "--results", "rows.md", timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    assert re.search(r"^under 1 week:\nEER +\d+\.\d\d % ", result.stdout, re.MULTILINE)
    assert re.search(r"^enrolled with 2 utterances of the first call, GE2E LSTM, seed 0:\nEER +\d+\.\d\d % ", result.stdout, re.MULTILINE)
    rows = (tmp_path / "rows.md").read_text()
    assert rows.splitlines()[2].startswith("| pairs across calls, control: ")
    assert "1 week to 1 month" in rows
    assert rows.count("| pairs across calls, GE2E LSTM, seed 0 |") == 1
    assert "different device" in rows
