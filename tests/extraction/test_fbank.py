"""Filter banks of data directories: what is written, what is skipped, and what a second run does."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from sv_toolkit.data.data_dir import DataDir, read_skipped
from sv_toolkit.data.described import carried
from sv_toolkit.data.operations import subset
from sv_toolkit.data.output import as_texts, write_output
from sv_toolkit.errors import DataError, OutputError, TooManyBadError
from sv_toolkit.extraction.fbank import extract_fbank, utterance_rng
from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
from sv_toolkit.features import fbank as fbank_module
from sv_toolkit.features.fbank import FbankConfig, fbank
from sv_toolkit.io import work
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.manifest import read_manifest
from sv_toolkit.io.tables import read_table, write_table

soundfile = pytest.importorskip("soundfile")

ONE_JOB, DEFAULT, ONE_CHANNEL = RunOptions(num_jobs=1), FbankConfig(), AudioOptions()


def extract(data, out, config=DEFAULT, audio=ONE_CHANNEL, options=ONE_JOB, seed=0):
    return extract_fbank(data, out, config, audio, options, seed)


def replace_audio(data, utterance, samples, rate=16000, subtype="PCM_16"):
    file = data.parent / "audio" / f"{utterance}.wav"
    soundfile.write(file, samples, rate, subtype=subtype)
    return file


def test_the_output_is_a_data_directory_with_the_features_of_every_recording(data, tmp_path):
    out = tmp_path / "out"
    assert extract(data, out) == 12
    source, made, reader = DataDir.read(data), DataDir.read(out), ScpReader(out / "feats.scp")
    assert made.utt2spk == source.utt2spk
    assert made.spk2utt == source.spk2utt
    counts = read_table(out / "utt2num_frames")
    for utterance in source.utt2spk:
        samples = read_waveform(AudioRequest(source.wav[utterance], "", utterance)).samples
        assert (reader.read(utterance) == fbank(samples, FbankConfig())).all()
        assert int(counts[utterance]) == len(reader.read(utterance))
    assert read_skipped(out) == []
    assert read_manifest(out, "fbank").counts == {"utterances": 12, "skipped": 0}


def test_features_in_place_leave_the_tables_alone(data, contents):
    before = contents(data)
    assert extract(data, data) == 12
    after = contents(data)
    assert {name: after[name] for name in before} == before
    assert len(ScpReader(data / "feats.scp")) == 12


def test_bytes_do_not_depend_on_the_number_of_jobs_or_the_place(data, tmp_path, contents):
    extract(data, tmp_path / "a")
    extract(data, tmp_path / "longer-name", options=RunOptions(num_jobs=3))
    assert contents(tmp_path / "a") == contents(tmp_path / "longer-name")


def test_finished_work_is_not_done_again(data, tmp_path, contents, caplog, monkeypatch):
    out = tmp_path / "out"
    extract(data, out)
    before = contents(out)
    (out / ".feats.partial").mkdir()
    monkeypatch.setattr(fbank_module, "fbank", lambda *_: pytest.fail("computed again"))
    with caplog.at_level(logging.INFO, "sv_toolkit"):
        assert extract(data, out) == 12
    assert "already done" in caplog.text
    assert contents(out) == before
    assert not (out / ".feats.partial").exists()


@pytest.mark.parametrize("moment", [1, 5, 9, 12])
def test_a_run_that_broke_off_is_finished_to_the_same_bytes(data, tmp_path, contents, monkeypatch, moment):
    extract(data, tmp_path / "whole")
    out, calls = tmp_path / "out", []

    def break_off(*args):
        calls.append(args)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return fbank(*args)

    with monkeypatch.context() as patch:
        patch.setattr(fbank_module, "fbank", break_off)
        with pytest.raises(KeyboardInterrupt):
            extract(data, out)
    assert not (out / "feats.scp").exists()
    assert read_manifest(out, "fbank") is None
    assert extract(data, out) == 12
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["feats.scp", "feats.0000.ark", "utt2num_frames", "fbank.manifest.json"])
def test_output_that_was_lost_is_made_again(data, tmp_path, contents, name):
    out = tmp_path / "out"
    extract(data, out)
    before = contents(out)
    if name == "fbank.manifest.json":
        (out / "feats.scp").unlink()  # with the index alone nobody could tell whose it is
    (out / name).unlink()
    extract(data, out)
    assert contents(out) == before


def test_other_options_do_not_replace_finished_work_unasked(data, tmp_path, contents):
    out = tmp_path / "out"
    extract(data, out)
    before = contents(out)
    with pytest.raises(OutputError, match=r"feats.scp: exists and is not of this run; give --overwrite"):
        extract(data, out, FbankConfig(num_mel_bins=23))
    assert contents(out) == before
    extract(data, out, FbankConfig(num_mel_bins=23), options=RunOptions(num_jobs=1, overwrite=True))
    assert ScpReader(out / "feats.scp").shape("s0-u0")[1] == 23


def test_another_data_directory_is_not_replaced_unasked(data, tmp_path, contents):
    other = tmp_path / "other"
    other.mkdir()
    write_table(other / "wav.scp", {"x": "x.wav"})
    write_table(other / "utt2spk", {"x": "x"})
    before = contents(other)
    with pytest.raises(OutputError, match="utt2spk: exists and is not that of"):
        extract(data, other)
    assert contents(other) == before


def test_an_index_of_another_program_in_the_data_directory_is_kept_aside(data, caplog):
    (data / "feats.scp").write_text("s0-u0 elsewhere.ark:7\n")
    assert extract(data, data) == 12
    assert (data / ".backup" / "feats.scp").read_text() == "s0-u0 elsewhere.ark:7\n"
    assert "moved to" in caplog.text


def test_a_bad_recording_stops_the_run_unless_it_is_allowed(data, tmp_path, caplog):
    replace_audio(data, "s1-u2", np.zeros(399, np.float32))
    out = tmp_path / "out"
    with pytest.raises(TooManyBadError, match=r"1 of 12 .*s1-u2: too short: 24.9 ms of sound, shorter than one frame of 25 ms"):
        extract(data, out)
    assert not (out / "feats.scp").exists()
    assert extract(data, out, options=RunOptions(num_jobs=1, max_bad=1)) == 11
    assert "1 of 12 utterances skipped, see skipped.tsv: s1-u2: too short" in caplog.text
    [(utterance, command, reason)] = read_skipped(out)
    assert (utterance, command) == ("s1-u2", "sv-extract-fbank")
    assert "shorter than one frame" in reason
    made = DataDir.read(out)
    assert set(ScpReader(out / "feats.scp")) == set(made.utt2spk) == set(DataDir.read(data).utt2spk) - {"s1-u2"}
    assert set(made.wav) == set(made.utt2spk)


def test_all_recordings_missing_is_one_sentence_that_names_the_directory(data, tmp_path, monkeypatch):
    write_table(data / "wav.scp", {key: f"wav/{key}.wav" for key in DataDir.read(data).wav})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TooManyBadError, match=r"12 of 12 .*No such file; the path is relative to the current directory") as caught:
        extract(data, tmp_path / "out")
    assert len(str(caught.value)) < 2000
    assert not (tmp_path / "out" / "feats.scp").exists()


def test_an_empty_data_directory_is_refused(data, tmp_path):
    (data / "wav.scp").write_text("")
    with pytest.raises(DataError, match="wav.scp: is empty"):
        extract(data, tmp_path / "out")


def test_segments_are_cut_out_of_their_recordings(data, tmp_path, rng, voice):
    whole = voice(rng, 4.0)
    file = replace_audio(data, "long", whole)
    write_table(data / "wav.scp", {"rec": str(file)})
    write_table(data / "utt2spk", {"a-1": "a", "a-2": "a"})
    write_table(data / "segments", {"a-1": "rec 0.5 1.75", "a-2": "rec 1.75 3.5"})
    out = tmp_path / "out"
    assert extract(data, out) == 2
    stored = soundfile.read(file, dtype="float32")[0]
    reader = ScpReader(out / "feats.scp")
    assert (reader.read("a-1") == fbank(stored[8000:28000], FbankConfig())).all()
    assert (reader.read("a-2") == fbank(stored[28000:56000], FbankConfig())).all()
    assert (out / "segments").read_bytes() == (data / "segments").read_bytes()


def test_the_channel_is_chosen_by_the_table_or_the_option(data, tmp_path, rng, voice):
    left, right = voice(rng, 2.0), voice(rng, 2.0)
    replace_audio(data, "s0-u0", np.stack([left, right], axis=1))
    with pytest.raises(TooManyBadError, match="s0-u0: .*2 channels"):
        extract(data, tmp_path / "none")
    audio = data.parent / "audio" / "s0-u0.wav"
    stored = soundfile.read(audio, dtype="float32")[0]
    extract(data, tmp_path / "option", audio=AudioOptions(channel=0))
    assert (ScpReader(tmp_path / "option" / "feats.scp").read("s0-u0") == fbank(stored[:, 0], FbankConfig())).all()
    write_table(data / "reco2file_and_channel", {key: f"{key} {'B' if key == 's0-u0' else 'A'}" for key in DataDir.read(data).wav})
    extract(data, tmp_path / "table", audio=AudioOptions(channel=0))
    assert (ScpReader(tmp_path / "table" / "feats.scp").read("s0-u0") == fbank(stored[:, 1], FbankConfig())).all()


def test_another_sample_rate_is_converted_only_when_asked(data, tmp_path, rng, voice):
    pytest.importorskip("soxr")
    replace_audio(data, "s0-u0", voice(rng, 2.0, rate=8000), rate=8000)
    with pytest.raises(TooManyBadError, match="8000 Hz, 16000 Hz is needed"):
        extract(data, tmp_path / "plain")
    extract(data, tmp_path / "resampled", audio=AudioOptions(resample=True))
    assert ScpReader(tmp_path / "resampled" / "feats.scp").shape("s0-u0") == (FbankConfig().num_frames(32000), 40)


def test_speed_changes_the_number_of_frames(data, tmp_path):
    pytest.importorskip("soxr")
    write_table(data / "utt2speed", {key: "1.25" if key == "s0-u0" else "1" for key in DataDir.read(data).utt2spk})
    extract(data, tmp_path / "out")
    num_samples = soundfile.info(str(data.parent / "audio" / "s0-u0.wav")).frames
    assert abs(ScpReader(tmp_path / "out" / "feats.scp").shape("s0-u0")[0] - FbankConfig().num_frames(int(num_samples / 1.25))) <= 1


def test_dither_depends_on_seed_and_utterance_and_on_nothing_else(data, tmp_path, contents):
    config = FbankConfig(dither=1.0)
    extract(data, tmp_path / "a", config, seed=7)
    extract(data, tmp_path / "b", config, seed=7, options=RunOptions(num_jobs=2))
    extract(data, tmp_path / "c", config, seed=8)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not (ScpReader(tmp_path / "a" / "feats.scp").read("s0-u0") == ScpReader(tmp_path / "c" / "feats.scp").read("s0-u0")).all()
    assert utterance_rng(7, "x").random() != utterance_rng(7, "y").random()


def test_samples_beyond_the_range_are_counted_and_the_worst_is_named(data, tmp_path, rng, caplog):
    replace_audio(data, "s2-u1", 3 * rng.standard_normal(16000).clip(-1, 1).astype(np.float32), subtype="FLOAT")
    extract(data, tmp_path / "out")
    assert "1 utterance(s)" in caplog.text
    assert "the worst is s2-u1 with a peak of 3.00" in caplog.text


def test_running_out_of_memory_is_a_reason_to_skip(data, tmp_path, monkeypatch):
    def greedy(samples, *_):
        raise MemoryError

    monkeypatch.setattr(fbank_module, "fbank", greedy)
    with pytest.raises(TooManyBadError, match="s0-u0: not enough memory"):
        extract(data, tmp_path / "out")


def test_pipes_are_run_only_when_allowed(data, tmp_path):
    wav = read_table(data / "wav.scp")
    canary = tmp_path / "canary"
    write_table(data / "wav.scp", {**wav, "s0-u0": f"touch {canary}; cat {wav['s0-u0']} |"})
    with pytest.raises(DataError, match=r"wav.scp:1: .*--allow-pipes"):
        extract(data, tmp_path / "out")
    assert not canary.exists()
    extract(data, tmp_path / "out", audio=AudioOptions(allow_pipes=True))
    assert canary.exists()


def test_a_world_writable_output_directory_is_warned_of(data, tmp_path, caplog):
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    extract(data, out)
    assert "world-writable" in caplog.text


def test_progress_counts_every_utterance(data, tmp_path):
    counts, totals = [], []

    class Count:
        def __init__(self, total):
            totals.append(total)

        def __enter__(self):
            return counts.append

        def __exit__(self, *_):
            pass

    extract(data, tmp_path / "out", options=RunOptions(num_jobs=2, progress=Count))
    assert totals == [12]
    assert sum(counts) == 12


def test_a_changed_table_that_is_copied_is_other_work_elsewhere_but_not_in_place(data, tmp_path):
    sessions = dict.fromkeys(DataDir.read(data).utt2spk, "monday")
    write_table(data / "utt2session", sessions)
    for out in (data, tmp_path / "out"):
        extract(data, out)
    write_table(data / "utt2session", dict.fromkeys(sessions, "tuesday"))
    assert extract(data, data) == 12
    with pytest.raises(OutputError, match="--overwrite"):
        extract(data, tmp_path / "out")
    extract(data, tmp_path / "out", options=RunOptions(num_jobs=1, overwrite=True))
    assert set(read_table(tmp_path / "out" / "utt2session").values()) == {"tuesday"}


def test_features_of_a_part_of_a_directory_are_set_aside_and_made_anew(data, tmp_path):
    extract(data, data)
    part = tmp_path / "part"
    source = DataDir.read(data)
    keep = sorted(source.utt2spk)[:5]
    tables = subset(source, keep)
    write_output(part, {**as_texts(tables), **carried([source], tables, part)}, {"command": "x"}, {}, False)
    index = (part / "feats.scp").read_bytes()
    assert extract(part, part, FbankConfig(low_freq=300.0)) == 5
    assert (part / ".backup" / "feats.scp").read_bytes() == index
    assert read_manifest(part, "fbank").job["config"]["low_freq"] == 300.0


def test_a_recording_with_one_absurd_sample_is_left_out_and_named(data, tmp_path, voices):
    samples = voices["s0-u0"].copy()
    samples[4000] = 1e30
    replace_audio(data, "s0-u0", samples, subtype="FLOAT")
    assert extract(data, tmp_path / "out", options=RunOptions(num_jobs=1, max_bad=1)) == 11
    assert read_skipped(tmp_path / "out") == [("s0-u0", "sv-extract-fbank", "the features are not finite")]


def test_an_output_whose_path_no_table_can_hold_is_refused_before_the_work(data, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "write_shards", None)
    with pytest.raises(OutputError, match="control characters"):
        extract(data, tmp_path / "a\nb")
