from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.make_data import command
from sv_toolkit.data.data_dir import DataDir, read_skipped
from sv_toolkit.data.validation import validate

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def folder(tmp_path):
    """Six speakers with three recordings each, a third of a second long."""
    return write_folder(tmp_path / "recordings", [f"{speaker}/{number}.wav" for speaker in "abcdef" for number in range(3)])


def write_folder(root, names, rate=16_000, channels=1):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((rate // 3, channels)), rate, subtype="PCM_16")
    return root


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_folder_of_speakers_becomes_a_data_directory_with_absolute_paths(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("recordings", "data")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "18 usable recordings, 0.1 minutes, 16000 Hz" in result.stderr
    assert "18 utterances of 6 speakers" in result.stderr
    assert validate(tmp_path / "data", read_data=True) == []
    data = DataDir.read(tmp_path / "data")
    assert data.wav["a-0"] == str(folder / "a" / "0.wav")
    assert data.table("utt2dur")["a-0"] == "0.3333"
    assert "already done and unchanged" in run("recordings", "data").stderr


def test_held_out_speakers_are_in_one_set_each_drawn_by_the_seed_and_have_trials(folder, tmp_path):
    assert run(folder, tmp_path / "data", "--dev", "0.2", "--test", 2).exit_code == 0
    sets = {name: set(DataDir.read(tmp_path / "data" / name).utt2spk.values()) for name in ("train", "dev", "test")}
    assert {name: len(own) for name, own in sets.items()} == {"train": 3, "dev": 1, "test": 2}
    assert set.union(*sets.values()) == set("abcdef")
    trials = (tmp_path / "data/test/trials").read_text().splitlines()
    assert sum(line.endswith(" target") for line in trials) == 6
    assert sum(line.endswith(" nontarget") for line in trials) == 9
    assert not (tmp_path / "data/dev/trials").exists(), "one speaker has no nontarget trials"
    assert run(folder, tmp_path / "same", "--dev", "0.2", "--test", 2).exit_code == 0
    assert (tmp_path / "same/test/utt2spk").read_bytes() == (tmp_path / "data/test/utt2spk").read_bytes()
    others = {run(folder, tmp_path / f"s{seed}", "--test", 2, "--seed", seed).exit_code for seed in range(8)}
    assert others == {0}
    assert len({(tmp_path / f"s{seed}/test/utt2spk").read_bytes() for seed in range(8)}) > 1


def test_who_has_one_utterance_is_not_held_out_while_others_can_be(tmp_path):
    folder = write_folder(tmp_path / "recordings", ["a/1.wav", "b/1.wav", "c/1.wav", "c/2.wav", "d/1.wav", "d/2.wav"])
    for seed in range(5):
        assert run(folder, tmp_path / str(seed), "--test", 2, "--seed", seed).exit_code == 0
        assert set(DataDir.read(tmp_path / str(seed) / "test").utt2spk.values()) == {"c", "d"}
    result = run(folder, tmp_path / "more", "--test", 3)
    assert result.exit_code == 1
    assert "3 speakers are to be held out, of 4 (2 with 2 utterances or more); lower --dev or --test" in result.stderr


def test_what_cannot_be_used_is_counted_and_listed(folder, tmp_path):
    (folder / "README.txt").write_text("hello")
    (folder / "a" / "empty.wav").write_bytes(b"")
    (folder / "a" / "prog").write_bytes(b"\x7fELF" + bytes(100))
    whole = (folder / "b" / "0.wav").read_bytes()
    (folder / "b" / "cut.wav").write_bytes(whole[:2000])
    soundfile.write(folder / "c" / "cut.flac", np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    flac = (folder / "c" / "cut.flac").read_bytes()
    (folder / "c" / "cut.flac").write_bytes(flac[: len(flac) // 2])
    write_folder(folder, ["d/stereo.wav"], channels=2)
    result = run(folder, tmp_path / "data")
    assert result.exit_code == 0
    assert "left out 6 (" in result.stderr
    reasons = {name: reason for name, made_by, reason in read_skipped(tmp_path / "data")}
    assert set(reasons) == {"README.txt", "a/empty.wav", "a/prog", "b/cut.wav", "c/cut.flac", "d/stereo.wav"}
    assert reasons["a/empty.wav"] == "empty file (0 bytes)"
    assert reasons["b/cut.wav"].startswith("truncated: expected 5333 samples, 978 there")
    assert reasons["c/cut.flac"].startswith("damaged or truncated")
    assert reasons["d/stereo.wav"] == "has 2 channels; --channel 0 takes the first"
    assert len(DataDir.read(tmp_path / "data").utt2spk) == 18


def test_the_chosen_channel_of_several_is_in_the_data_directory(tmp_path):
    folder = write_folder(tmp_path / "recordings", ["a/1.wav", "b/1.wav"], channels=2)
    write_folder(folder, ["b/mono.wav"])
    assert run(folder, tmp_path / "data", "--channel", 1).exit_code == 0
    channels = {u.utterance_id: u.channel for u in DataDir.read(tmp_path / "data").utterances()}
    assert channels == {"a-1": 1, "b-1": 1, "b-mono": None}


def test_a_pattern_gives_sessions_and_trials_across_them(tmp_path):
    names = [f"{speaker}/{day}/hello.wav" for speaker in "ab" for day in ("mon", "tue")] + ["a/mon/again.wav"]
    folder = write_folder(tmp_path / "recordings", names)
    result = run(folder, tmp_path / "data", "--pattern", "{speaker}/{session}/{utterance}.wav")
    assert result.exit_code == 0
    data = DataDir.read(tmp_path / "data")
    assert data.table("utt2session")["a-mon-hello"] == "mon"
    split = [name.replace("a/", "test/a/").replace("b/", "test/b/") for name in names] + ["train/c/mon/hello.wav"]
    folder = write_folder(tmp_path / "parts", split)
    result = run(folder, tmp_path / "split", "--pattern", "{split}/{speaker}/{session}/{utterance}.wav")
    assert "3 target across sessions and 6 nontarget trials" in result.stderr
    assert set(DataDir.read(tmp_path / "split/train").utt2spk.values()) == {"c"}


def test_a_table_gives_parts_of_recordings_and_what_it_knows_of_them(folder, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(
        "path,speaker,gender,date,start,end\na/0.wav,Anna Meier,female,2024-01-02,0.1,0.2\na/0.wav,Bert,m,2024-01-03,0.2,\n"
        "b/1.wav,Bert,m,2024-01-03,,\ngone.wav,Bert,m,2024-01-03,,\n"
    )
    result = run(table, tmp_path / "data", "--root", folder)
    assert result.exit_code == 0, result.stderr
    data = DataDir.read(tmp_path / "data")
    assert validate(tmp_path / "data", read_data=True) == []
    assert dict(data.utt2spk) == {"Anna_Meier-a-0-0000100": "Anna_Meier", "Bert-a-0-0000200": "Bert", "Bert-b-1": "Bert"}
    assert data.table("segments")["Bert-a-0-0000200"] == "0 0.2000 0.3333"
    assert data.table("spk2gender") == {"Anna_Meier": "f", "Bert": "m"}
    assert data.table("utt2date")["Bert-b-1"] == "2024-01-03"
    assert [line[0] for line in read_skipped(tmp_path / "data")] == ["gone.wav"]


def test_two_names_for_one_id_are_refused(tmp_path):
    folder = write_folder(tmp_path / "recordings", ["a b/1.wav", "a_b/1.wav"])
    result = run(folder, tmp_path / "data")
    assert result.exit_code == 1
    assert "would be called a_b" in result.stderr
    assert not (tmp_path / "data").exists()


def test_copies_in_two_formats_keep_their_suffix(tmp_path):
    folder = write_folder(tmp_path / "recordings", ["a/1.wav", "a/1.flac"])
    assert run(folder, tmp_path / "data").exit_code == 0
    assert set(DataDir.read(tmp_path / "data").utt2spk) == {"a-1.wav", "a-1.flac"}


def test_a_speaker_in_two_splits_is_refused(tmp_path):
    folder = write_folder(tmp_path / "recordings", ["train/a/1.wav", "test/a/2.wav"])
    result = run(folder, tmp_path / "data", "--pattern", "{split}/{speaker}/{utterance}.wav")
    assert result.exit_code == 1
    assert "speaker a is in train and in test" in result.stderr
    assert run(folder, tmp_path / "data", "--pattern", "{split}/{speaker}/*", "--test", 1).exit_code == 1


def test_without_a_usable_recording_the_first_reason_is_told(tmp_path):
    (tmp_path / "recordings/a").mkdir(parents=True)
    (tmp_path / "recordings/a/x.wav").write_bytes(b"")
    result = run(tmp_path / "recordings", tmp_path / "data")
    assert result.exit_code == 1
    assert "no recording can be used (empty file: 1 (a/x.wav)): a/x.wav: empty file (0 bytes)" in result.stderr


def test_names_that_cannot_stand_in_a_table_are_left_out(folder, tmp_path):
    with open(os.fsencode(folder / "a") + b"/b\xff.wav", "wb") as stream:
        stream.write((folder / "a/0.wav").read_bytes())
    (folder / "b" / "0.wav").rename(folder / "b" / "0.wav |")
    result = run(folder, tmp_path / "data")
    assert result.exit_code == 0, result.stderr
    assert len(DataDir.read(tmp_path / "data").utt2spk) == 17
    assert len(read_skipped(tmp_path / "data")) == 2


def test_options_of_the_other_kind_of_source_are_refused(folder, tmp_path):
    assert run(folder, tmp_path / "data", "--root", folder).exit_code == 2
    (tmp_path / "list.csv").write_text("path,speaker\n")
    assert run(tmp_path / "list.csv", tmp_path / "data", "--pattern", "{speaker}/*").exit_code == 2
    assert run(folder, tmp_path / "data", "--test", "1.5").exit_code == 2


M4A = b"\0\0\0\x20ftypM4A " + bytes(100)


def test_without_ffmpeg_the_line_that_installs_it_is_the_reason(folder, tmp_path, monkeypatch):
    (folder / "a/9.m4a").write_bytes(M4A)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(folder, tmp_path / "data").exit_code == 0
    (line,) = read_skipped(tmp_path / "data")
    assert line[2].startswith("M4A is read with ffmpeg, which is not installed: apt-get install ffmpeg")


@pytest.fixture
def fake_ffmpeg(folder, tmp_path, monkeypatch):
    """A program of that name that copies a FLAC file to its last argument and notes how it was called."""
    soundfile.write(tmp_path / "converted.flac", np.zeros(8000), 16_000)
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in *broken*) echo "moov atom not found" >&2; exit 1;; esac\n'
        f'for last; do :; done\ncat {tmp_path}/converted.flac > "${{last#file:}}"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "calls"


def test_ffmpeg_converts_beside_the_data_once_and_opens_local_files_alone(folder, tmp_path, fake_ffmpeg):
    (folder / "a/9 $(x).m4a").write_bytes(M4A)
    (folder / "a/broken.m4a").write_bytes(M4A)
    assert run(folder, tmp_path / "data").exit_code == 0
    data = DataDir.read(tmp_path / "data")
    assert data.wav["a-9_x_"] == str(tmp_path / "data_flac" / "a-9_x_.flac")
    assert validate(tmp_path / "data", read_data=True) == []
    (line,) = read_skipped(tmp_path / "data")
    assert line[2] == "ffmpeg cannot read it: moov atom not found"
    calls = fake_ffmpeg.read_text()
    assert f"-protocol_whitelist file -i file:{folder}/a/9 $(x).m4a" in calls
    assert sorted(path.name for path in (tmp_path / "data_flac").iterdir()) == ["a-9_x_.flac"]
    assert run(folder, tmp_path / "data").exit_code == 0
    assert fake_ffmpeg.read_text().count("$(x)") == 1
