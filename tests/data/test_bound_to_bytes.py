"""Derived data is believed only with the bytes it was made of; right data that was copied, moved or renamed is not called damaged."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir, write_data_dir
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.operations import perturb_speed
from sv_toolkit.data.validation import validate
from sv_toolkit.errors import DataError
from sv_toolkit.extraction.fbank import extract_fbank
from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
from sv_toolkit.extraction.vad import compute_vad
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.vad import VadConfig
from sv_toolkit.io.tables import read_table, write_table

ONE, AGAIN = RunOptions(num_jobs=1), RunOptions(num_jobs=1, overwrite=True)


def make_features(folder, options=ONE, **config):
    extract_fbank(folder, folder, FbankConfig(**config), AudioOptions(), options)


@pytest.fixture
def whole(tmp_path, rng):
    """A data directory of four recordings of two speakers, with features and decisions."""
    folder = tmp_path / "whole"
    wav = {}
    for key in ("a-1", "a-2", "b-1", "b-2"):
        wav[key] = str(tmp_path / f"{key}.wav")
        soundfile.write(wav[key], rng.normal(0, 0.1, 8000), 16_000)
    write_data_dir(folder, {"wav.scp": wav, "utt2spk": {key: key[0] for key in wav}})
    make_features(folder)
    compute_vad(folder, folder, VadConfig(kind="energy"), AudioOptions(), ONE)
    return folder


def part_of(whole, folder):
    """The first two utterances, as `sv-subset-data` gives them: tables and the manifest that says how features were made."""
    folder.mkdir()
    for name in ("utt2spk", "feats.scp", "vad.scp", "utt2num_frames"):
        write_table(folder / name, {key: value for key, value in read_table(whole / name).items() if key.startswith("a")})
    shutil.copy(whole / "fbank.manifest.json", folder)
    return folder


def test_a_part_is_refused_once_the_whole_was_made_again_in_another_way(whole, tmp_path):
    part = part_of(whole, tmp_path / "part")
    FeatureIndex(part, need_vad=False)
    make_features(whole, AGAIN)
    FeatureIndex(part, need_vad=False)  # in the same way: nothing has changed
    make_features(whole, AGAIN, low_freq=300.0)
    with pytest.raises(
        DataError, match="part/feats.scp: its archives in .*whole were made again since: low_freq 300.0 instead of 20.0; make"
    ):
        FeatureIndex(part, need_vad=False)
    (part / "fbank.manifest.json").unlink()
    FeatureIndex(part, need_vad=False)  # nothing is said about these features, so nothing is believed


def test_decisions_about_features_that_were_made_again_are_refused(whole):
    make_features(whole, AGAIN, low_freq=300.0)
    with pytest.raises(
        DataError, match="vad.scp: was made for other features than those of feats.scp now; run sv-compute-vad .* --overwrite"
    ):
        FeatureIndex(whole, need_vad=True)
    FeatureIndex(whole, need_vad=False)
    assert any("was made for other features" in str(problem) for problem in validate(whole, read_data=True))


def test_a_copy_and_a_link_are_as_good_as_the_original(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    (tmp_path / "link").symlink_to(whole)
    for folder in (whole, tmp_path / "copy", tmp_path / "link"):
        assert validate(folder, read_data=True) == []
        FeatureIndex(folder, need_vad=True).read_at(0)


def test_a_directory_that_was_moved_says_so_and_how_to_go_on(whole, tmp_path):
    new = whole.rename(tmp_path / "new")
    with pytest.raises(DataError, match=r"new/feats.scp: its archives were in .*whole, which is not there: moved\? sed -i"):
        FeatureIndex(new, need_vad=False)
    text = " ".join(map(str, validate(new, read_data=True)))
    assert "the directory was moved" in text and "corrupt" not in text
    for name in ("feats.scp", "vad.scp"):  # what the message advises
        (new / name).write_text((new / name).read_text().replace(f" {whole}/", f" {new}/"))
    assert validate(new, read_data=True) == []


def test_an_index_that_was_filtered_is_not_called_corrupt(whole):
    lines = (whole / "feats.scp").read_text().splitlines(keepends=True)
    (whole / "feats.scp").write_text("".join(lines[1:]))
    text = " ".join(map(str, validate(whole, read_data=True)))
    assert "feats.scp (3 lines) is not the one that was written: it was filtered or edited" in text and "corrupt" not in text


@pytest.mark.parametrize("same_speakers", [False, True])
def test_a_sped_up_copy_without_its_speeds_is_noticed(whole, tmp_path, same_speakers):
    copy = tmp_path / "copy"
    write_data_dir(copy, perturb_speed(DataDir.read(whole), [0.9], include_original=True, same_speakers=same_speakers))
    assert validate(copy) == [] and len(DataDir.read(copy).utterances()) == 8
    (copy / "utt2speed").unlink()  # as programs do that do not know it
    assert any("4 utterances are named after a speed and have none in utt2speed" in str(problem) for problem in validate(copy))
    with pytest.raises(DataError, match="named after a speed"):
        DataDir.read(copy).utterances()


def test_copies_that_a_command_speeds_up_need_no_table(tmp_path):
    pipe = "sox x.wav -t wav - speed 0.9 |"
    write_data_dir(tmp_path / "kaldi", {"wav.scp": {"sp0.9-a-1": pipe}, "utt2spk": {"sp0.9-a-1": "sp0.9-a"}})
    assert np.all([problem.fix.startswith("--allow-pipes") for problem in validate(tmp_path / "kaldi")])
