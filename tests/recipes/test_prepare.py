"""local/ scripts on miniature trees: valid data directories, the documented split, refusals by name."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.validation import validate

ROOT = Path(__file__).resolve().parents[2]
AN4 = ROOT / "egs/an4/v1/local/prepare_an4.py"
COMMANDS = ROOT / "egs/speech_commands/v1/local/prepare_speech_commands.py"
WUW = ROOT / "egs/speech_commands/v1/local/prepare_wuw.py"


def write_audio(path, sample_rate=16_000, seconds=0.1):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(sample_rate * seconds)), sample_rate)


def hashed(names):
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def lines(path):
    return path.read_text().splitlines()


@pytest.fixture
def an4(tmp_path):
    for part, speakers in (("an4_clstk", ("fash", "mjwl", "fbbh", "mwhw", "fjdn")), ("an4test_clstk", ("fcaw", "mblw"))):
        for speaker in speakers:
            for take in ("an251", "cen2"):
                write_audio(tmp_path / f"an 4/wav/{part}/{speaker}/{take}-{speaker}-b.flac")
    return tmp_path / "an 4"


def test_an4_is_split_by_the_hash_of_the_speaker(run, tmp_path, an4):
    result = run(AN4, "--any-size", "true", "--num-dev", "2", "an 4", "my data")
    assert result.returncode == 0, result.stderr
    sets = {name: DataDir.read(tmp_path / "my data" / name) for name in ("train", "dev", "test")}
    order = hashed(["fash", "mjwl", "fbbh", "mwhw", "fjdn"])
    assert set(sets["dev"].spk2utt) == set(order[:2])
    assert set(sets["train"].spk2utt) == set(order[2:])
    assert sets["test"].spk2utt == {"fcaw": ["fcaw-an251", "fcaw-cen2"], "mblw": ["mblw-an251", "mblw-cen2"]}
    assert lines(tmp_path / "my data/test/spk2gender") == ["fcaw f", "mblw m"]
    for name in sets:
        assert validate(tmp_path / "my data" / name, read_data=True) == []


def test_an4_of_another_size_is_refused(run, an4):
    result = run(AN4, "an 4", "data")
    assert result.returncode == 1
    assert "the release has 74 speakers and 948 utterances, found 5 and 10" in result.stderr
    assert "--any-size" in result.stderr


def test_an4_that_is_not_there_is_refused(run):
    result = run(AN4, "--any-size", "true", "nowhere", "data")
    assert result.returncode == 1
    assert "nowhere/wav/an4_clstk" in result.stderr


def test_an4_without_development_speakers_trains_with_all(run, tmp_path, an4):
    result = run(AN4, "--any-size", "true", an4, "data")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["test", "train"]
    assert len({line.split()[1] for line in lines(tmp_path / "data/train/utt2spk")}) == 5


@pytest.mark.parametrize("name", ["an251-mjwl-b.flac", "an251.flac", "an251-fash-b.wav"])
def test_an4_files_that_contradict_their_place_are_refused(run, an4, name):
    write_audio(an4 / "wav/an4_clstk/fash" / name)
    result = run(AN4, "--any-size", "true", "--num-dev", "1", "an 4", "data")
    assert result.returncode == 1
    assert name in result.stderr


def test_the_real_an4_has_the_official_size(run, tmp_path, corpora):
    result = run(AN4, "--num-dev", "12", corpora / "an4", "data")
    assert result.returncode == 0, result.stderr
    found = {name: len(lines(tmp_path / "data" / name / "utt2spk")) for name in ("train", "dev", "test")}
    assert found["test"] == 130
    assert found["train"] + found["dev"] == 948


@pytest.fixture
def speech_commands(tmp_path):
    """Twelve speakers: those with an even number say four words, the others two, the last one alone one."""
    speakers = [f"{number:08x}" for number in range(12)]
    for number, speaker in enumerate(speakers):
        for take in range(3 if number % 2 == 0 else 1):
            write_audio(tmp_path / f"corpus/bed/{speaker}_nohash_{take}.wav")
        if number < 11:
            write_audio(tmp_path / f"corpus/cat/{speaker}_nohash_0.wav")
    write_audio(tmp_path / "corpus/_background_noise_/hum.wav")
    return speakers


def prepare_commands(run, tmp_path, *options):
    result = run(COMMANDS, "--words", "all", "--num-test", "3", "--num-dev", "2", *options, "corpus", "data")
    assert result.returncode == 0, result.stderr
    return {name: DataDir.read(tmp_path / "data" / name) for name in ("train", "dev", "test")}


def test_speech_commands_are_split_by_the_hash_of_the_speaker(run, tmp_path, speech_commands):
    sets = prepare_commands(run, tmp_path)
    able = hashed(speech_commands[::2])
    assert set(sets["test"].spk2utt) == set(able[:3])
    assert set(sets["dev"].spk2utt) == set(able[3:5])
    assert set(sets["train"].spk2utt) == set(speech_commands) - set(able[:5]) - {speech_commands[11]}
    assert sets["test"].table("utt2keyword")[f"{able[0]}-bed-2"] == "bed"
    for name in sets:
        assert validate(tmp_path / "data" / name, read_data=True) == []


def test_only_the_named_words_are_taken(run, tmp_path, speech_commands):
    result = run(COMMANDS, "--words", "bed", "--num-test", "2", "--num-dev", "2", "corpus", "data")
    assert result.returncode == 0, result.stderr
    assert set(DataDir.read(tmp_path / "data/test").table("utt2keyword").values()) == {"bed"}


@pytest.mark.parametrize(
    ("words", "mentions"),
    [(["--words", "cat dog"], "corpus/dog"), (["--words", "../x"], "--words"), (["--words", "all", "--num-test", "50"], "--num-test 50")],
)
def test_speech_commands_without_the_words_or_speakers_are_refused(run, speech_commands, words, mentions):
    result = run(COMMANDS, *words, "corpus", "data")
    assert result.returncode in (1, 2)
    assert mentions in result.stderr


HEADER = "utterance\tspeaker\tsession\tkeyword\tkeyword_start\tkeyword_end\tdate\tphone\tgender\tduration\n"


@pytest.fixture
def wuw(tmp_path):
    rows = []
    for speaker in ("wuw001", "wuw002"):
        for session in ("00001", "00002"):
            name = f"{speaker}-{session}-voyager"
            write_audio(tmp_path / f"wuw/{speaker}/{name}.flac", sample_rate=8000, seconds=1)
            rows.append(f"{name}\t{speaker}\t{session}\tvoyager\t0.25\t0.75\t2001-12-21\tcell\tm\t1.0\n")
    return rows


def test_an_utterance_of_wuw_is_the_keyword_in_its_session(run, tmp_path, wuw):
    (tmp_path / "wuw/utterances.tsv").write_text(HEADER + "".join(wuw[:3]) + wuw[3].replace("0.75", "0.25"))
    result = run(WUW, "wuw", "data/wuw")
    assert result.returncode == 0, result.stderr
    assert "1 of 4 utterances have no keyword marked and are left out: wuw002-00002-voyager" in result.stderr
    data = DataDir.read(tmp_path / "data/wuw")
    assert [(u.start, u.end) for u in data.utterances()] == [(0.25, 0.75)] * 3
    assert data.table("utt2session")["wuw001-00002-voyager"] == "wuw001-00002"
    assert validate(tmp_path / "data/wuw", read_data=True) == []


@pytest.mark.parametrize(
    ("old", "new", "mentions"),
    [
        ("\tvoyager\t", "\t\t", "utterances.tsv:2: column 'keyword'"),
        ("0.25", "soon", "wuw001-00001-voyager"),
        ("00001-v", "00009-v", "wuw001-00009"),
    ],
)
def test_a_wrong_list_of_wuw_is_refused_by_line_or_utterance(run, tmp_path, wuw, old, new, mentions):
    (tmp_path / "wuw/utterances.tsv").write_text(HEADER + "".join(wuw).replace(old, new, 1))
    result = run(WUW, "wuw", "data/wuw")
    assert result.returncode == 1
    assert mentions in result.stderr


def test_noise_takes_the_named_folds(run, tmp_path):
    for fold in (1, 2, 4):
        write_audio(tmp_path / f"noise/rain/{fold}-17-A.ogg", sample_rate=44_100)
    result = run("prepare_noise", "--folds", "1 2", "noise", "data/noise")
    assert result.returncode == 0, result.stderr
    assert DataDir.read(tmp_path / "data/noise").spk2utt == {"rain": ["rain-1-17-A", "rain-2-17-A"]}
    assert validate(tmp_path / "data/noise", read_data=True) == []
    assert run("prepare_noise", "--folds", "5", "noise", "data/other").returncode == 1


def test_made_up_noise_is_repeatable_and_each_piece_its_own(run, tmp_path):
    for name in ("a", "b"):
        assert run("make_noise", "--num-each", "2", f"data/{name}").returncode == 0
    files = sorted((tmp_path / "data/a_wav").iterdir())
    contents = [file.read_bytes() for file in files]
    assert len(set(contents)) == len(files) == 6
    assert contents == [(tmp_path / "data/b_wav" / file.name).read_bytes() for file in files]
    assert validate(tmp_path / "data/a", read_data=True) == []


def test_a_second_run_does_nothing(run, tmp_path, an4):
    words = (AN4, "--any-size", "true", "--num-dev", "2", "an 4", "data")
    run(*words)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "data").rglob("*")}
    assert "already done" in run(*words).stderr
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "data").rglob("*")}


def test_simulated_rooms_are_repeatable_and_fall_silent_after_their_direct_sound(run, tmp_path):
    for name in ("a", "b"):
        assert run("make_rooms", "--num-rooms", "3", f"data/{name}").returncode == 0
    files = sorted((tmp_path / "data/a_wav").iterdir())
    contents = [file.read_bytes() for file in files]
    assert len(set(contents)) == len(files) == 3
    assert contents == [(tmp_path / "data/b_wav" / file.name).read_bytes() for file in files]
    assert validate(tmp_path / "data/a", read_data=True) == []
    for file in files:
        samples, rate = soundfile.read(file)
        energy = samples**2
        assert (energy[: int(0.05 * rate)] == 0).all()
        assert energy[int(0.05 * rate) : int(0.1 * rate)].sum() > energy[int(0.1 * rate) :].sum()


@pytest.mark.parametrize(("command", "option"), [("make_noise", "--num-each"), ("make_rooms", "--num-rooms")])
def test_a_refused_run_changes_no_recording_and_one_that_is_told_to_changes_all(run, tmp_path, command, option):
    def recordings():
        return {file.name: file.read_bytes() for file in (tmp_path / "data/a_wav").iterdir()}

    assert run(command, option, "2", "data/a").returncode == 0
    before = recordings()
    refused = run(command, option, "3", "--seed", "7", "data/a")
    assert (refused.returncode, recordings()) == (1, before)
    assert "--overwrite" in refused.stderr
    assert "already done" in run(command, option, "2", "data/a").stderr
    assert run(command, option, "2", "--seed", "7", "--overwrite", "data/a").returncode == 0
    after = recordings()
    assert not set(after.values()) & set(before.values())


def test_recordings_of_someone_else_are_not_replaced_and_none_is_added(run, tmp_path):
    (tmp_path / "data/a_wav").mkdir(parents=True)
    own = tmp_path / "data/a_wav/room-0001.flac"
    own.write_bytes(b"mine")
    result = run("make_rooms", "--num-rooms", "3", "data/a")
    assert result.returncode == 1
    assert "room-0001.flac: exists and holds something else" in result.stderr
    assert list((tmp_path / "data/a_wav").iterdir()) == [own] and own.read_bytes() == b"mine"


def test_a_recording_that_was_lost_is_made_again(run, tmp_path):
    assert run("make_rooms", "--num-rooms", "2", "data/a").returncode == 0
    lost = tmp_path / "data/a_wav/room-0001.flac"
    before = lost.read_bytes()
    lost.unlink()
    assert run("make_rooms", "--num-rooms", "2", "data/a").returncode == 0
    assert lost.read_bytes() == before


def test_noise_named_with_blanks_gets_ids_without(run, tmp_path):
    write_audio(tmp_path / "noise/001 - Dog bark/1 a.wav")
    result = run("prepare_noise", "noise", "data/noise")
    assert result.returncode == 0, result.stderr
    assert DataDir.read(tmp_path / "data/noise").spk2utt == {"001_-_Dog_bark": ["001_-_Dog_bark-1_a"]}
    assert validate(tmp_path / "data/noise", read_data=True) == []


@pytest.mark.parametrize("names", [("rain/a.wav", "rain/a.flac"), ("rain/a b.wav", "rain/a_b.wav"), ("rain/a\nb.wav",)])
def test_noise_that_cannot_be_told_apart_or_named_is_refused_in_one_line(run, tmp_path, names):
    for name in names:
        write_audio(tmp_path / "noise" / name)
    result = run("prepare_noise", "noise", "data/noise")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "rename" in result.stderr
    assert not (tmp_path / "data/noise").exists()
