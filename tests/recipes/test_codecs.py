"""data/codecs.py and utils/make_codec_copies: what codecs leave, and a data directory of it."""

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.codecs import CODECS, SAMPLE_RATE, through
from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.validation import validate


def chirp(seconds=1.0, high=3000):
    time = np.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * (200 * time + (high - 200) * time**2 / (2 * seconds)))).astype(np.float32)


@pytest.mark.parametrize("name", CODECS)
def test_a_copy_is_as_long_and_as_loud_as_the_recording(name):
    copy, kilobits = through(chirp(), CODECS[name])
    assert len(copy) / CODECS[name].rate == pytest.approx(1.0, abs=0.05)
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(0.3 / 2**0.5, rel=0.15)
    assert 5 < kilobits < 200


@pytest.mark.parametrize("name", [name for name, codec in CODECS.items() if codec.levels])
def test_a_higher_level_costs_fewer_bits(name):
    low, high = CODECS[name].levels
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE * 2).astype(np.float32)
    assert through(noise, CODECS[name], high)[1] < through(noise, CODECS[name], low)[1]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        soundfile.write(tmp_path / f"r{number}.wav", chirp(2.0), SAMPLE_RATE)
    (folder / "wav.scp").write_text("".join(f"r{n} {tmp_path}/r{n}.wav\n" for n in range(4)))
    (folder / "segments").write_text("".join(f"s{n % 2}-r{n} r{n} 0.5 1.5\n" for n in (0, 2, 1, 3)))
    (folder / "utt2spk").write_text("".join(f"s{n % 2}-r{n} s{n % 2}\n" for n in (0, 2, 1, 3)))
    return folder


def test_copies_are_valid_utterances_of_the_same_speakers(run, tmp_path, data):
    result = run("make_codec_copies", "--seed", "3", "--nj", "1", "data", "out")
    assert result.returncode == 0, result.stderr
    assert ["sample rates" in problem.what for problem in validate(tmp_path / "out", read_data=True)] == [True]  # telephones' and others
    copies = DataDir.read(tmp_path / "out")
    assert {key.rpartition("-")[0]: speaker for key, speaker in copies.utt2spk.items()} == dict(DataDir.read(data).utt2spk)
    for one in copies.utterances():
        assert soundfile.info(one.wav).duration == pytest.approx(1.0, abs=0.05)


def test_the_same_seed_makes_the_same_bytes_with_any_number_of_jobs(run, tmp_path, data):
    for name, jobs in (("a", "1"), ("b", "2")):
        assert run("make_codec_copies", "--nj", jobs, "data", name).returncode == 0
    files = sorted(path.name for path in (tmp_path / "a_wav").iterdir())
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "a_wav" / name).read_bytes() == (tmp_path / "b_wav" / name).read_bytes()


def test_chosen_codecs_only(run, tmp_path, data):
    assert run("make_codec_copies", "--codec", "gsm", "--nj", "1", "data", "out").returncode == 0
    copies = DataDir.read(tmp_path / "out")
    assert all(key.endswith("-gsm") for key in copies.utt2spk)
    assert {soundfile.info(one.wav).samplerate for one in copies.utterances()} == {8000}
