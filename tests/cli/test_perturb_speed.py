from __future__ import annotations

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.perturb_speed import command
from sv_toolkit.data.data_dir import DataDir, write_data_dir
from sv_toolkit.data.validation import Rules, validate

IDS = ["a-1", "a-2", "b-1"]


@pytest.fixture
def data(tmp_path):
    write_data_dir(tmp_path / "data", {"wav.scp": {key: f"{key}.wav" for key in IDS}, "utt2spk": {key: key[0] for key in IDS}})
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_copies_are_a_valid_directory_of_new_speakers(data, tmp_path):
    result = run("--factor", 0.9, "--factor", 1.1, "--include-original", data, tmp_path / "out")
    assert result.exit_code == 0
    assert "9 utterances of 6 speakers at the speeds 0.9, 1.1 and 1" in result.stderr
    assert validate(tmp_path / "out") == []
    assert sorted({utterance.speed for utterance in DataDir.read(tmp_path / "out").utterances()}) == [0.9, 1.0, 1.1]
    assert "already done" in run("--factor", 0.9, "--factor", 1.1, "--include-original", data, tmp_path / "out").stderr


@pytest.mark.parametrize("factors", [["1"], ["0.9", "0.90"], ["0"], ["nan"], ["11"], []])
def test_factors_that_make_no_new_voice_are_refused(data, tmp_path, factors):
    options = [word for factor in factors for word in ("--factor", factor)]
    assert run(*options, data, tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_copies_may_keep_their_speakers(data, tmp_path):
    result = run("--factor", 0.9, "--include-original", "--same-speakers", data, tmp_path / "out")
    assert "6 utterances of 2 speakers" in result.stderr
    assert validate(tmp_path / "out") == []
    copies = DataDir.read(tmp_path / "out")
    assert {copies.utt2spk[f"{key}-sp0.9"] for key in IDS} == {"a", "b"}
    assert {utterance.speed for utterance in copies.utterances() if utterance.utterance_id.endswith("-sp0.9")} == {0.9}


def test_copies_for_kaldi_are_pipes(data, tmp_path):
    assert run("--factor", 0.9, "--for-kaldi", data, tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "wav.scp").read_text().startswith("sp0.9-a-1 sox a-1.wav -t wav - speed 0.9 |\n")
    assert not (tmp_path / "out" / "utt2speed").exists()
    assert validate(tmp_path / "out", rules=Rules(allow_pipes=True)) == []
