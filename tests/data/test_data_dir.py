from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sv_toolkit.data.data_dir import DataDir, copy_tables, is_pipe, read_skipped, write_data_dir, write_skipped
from sv_toolkit.errors import DataError


def test_a_recording_is_an_utterance_where_there_are_no_segments(make_data):
    data = DataDir.read(make_data())
    first = data.utterances()[0]
    assert len(data.utterances()) == 16
    assert (first.utterance_id, first.speaker_id, first.recording_id) == ("spk1-u1", "spk1", "spk1-u1")
    assert (first.wav, first.start, first.end, first.channel, first.speed) == ("wav/spk1-u1.wav", None, None, None, 1.0)
    assert first.wav_where.endswith("wav.scp:1")


def test_segments_decide_what_an_utterance_is(make_data, segmented):
    data = DataDir.read(make_data(tables=segmented))
    utterance = data.utterances()[5]
    assert (utterance.utterance_id, utterance.recording_id, utterance.start, utterance.end) == ("spk2-u2", "rec2", 1.5, 2.25)
    assert utterance.wav == "wav/rec2.wav"
    assert utterance.wav_where.endswith("wav.scp:2")


def test_channels_count_from_zero(make_data, segmented):
    channels = {"rec1": "file A", "rec2": "file B", "rec3": "file 3"}
    data = DataDir.read(make_data(tables={**segmented, "reco2file_and_channel": channels}))
    assert [utterance.channel for utterance in data.utterances()[::4]] == [0, 1, 3, None]


def test_speed_factors_come_with_the_utterance(make_data):
    data = DataDir.read(make_data(tables={"utt2speed": {"spk1-u2": "0.9"}}))
    assert [utterance.speed for utterance in data.utterances()[:3]] == [1.0, 0.9, 1.0]


def test_utterances_can_be_sent_to_workers(make_data):
    utterances = DataDir.read(make_data()).utterances()
    assert pickle.loads(pickle.dumps(utterances)) == utterances
    assert len(pickle.dumps(utterances[0])) < 500


def test_spk2utt_follows_from_utt2spk(make_data):
    path = make_data()
    (path / "spk2utt").write_text("nonsense\n")
    assert DataDir.read(path).spk2utt["spk3"] == ["spk3-u1", "spk3-u2", "spk3-u3", "spk3-u4"]


@pytest.mark.parametrize("value", ["cat x |", "| cat", "sox a.wav -t wav - |"])
def test_commands_in_wav_scp_are_refused_unless_allowed(make_data, value):
    tables = {"wav.scp": {f"spk{i}-u{j}": "x.wav" for i in range(1, 5) for j in range(1, 5)} | {"spk2-u3": value}}
    path = make_data(tables=tables)
    assert is_pipe(value)
    with pytest.raises(DataError, match=r"wav\.scp:7: .*pipe.*--allow-pipes"):
        DataDir.read(path)
    assert DataDir.read(path, allow_pipes=True).utterances()[6].wav == value


def test_commands_in_archive_indices_are_always_refused(make_data):
    path = make_data(tables={"feats.scp": {"spk1-u1": "cat x.ark |"}})
    with pytest.raises(DataError, match=r"feats\.scp:1: .*command"):
        DataDir.read(path, allow_pipes=True).table("feats.scp")
    with pytest.raises(DataError, match=r"feats\.scp:1"):
        DataDir.read(path, require=("feats.scp",), allow_pipes=True)


def test_training_needs_no_audio(make_data):
    path = make_data()
    (path / "wav.scp").unlink()
    data = DataDir.read(path, require=("utt2spk",))
    assert len(data.utt2spk) == 16
    assert not data.wav
    with pytest.raises(DataError, match=r"wav\.scp.*missing"):
        data.utterances()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("wav.scp", "spk1-u1 ~/x.wav\n", r"wav\.scp:1: .*tilde"),
        ("wav.scp", "spk1-u1 x.wav\n", r"wav\.scp: 15 of the 16 .*utt2spk.* missing: spk1-u2"),
        ("utt2spk", "spk1-u1 spk1\n", r"wav\.scp:2: 15 of 16 .*utt2spk: spk1-u2"),
        ("utt2spk", "spk1-u1 spk1 x\n", r"utt2spk:1: expected 'utterance speaker', got 3 fields"),
        ("utt2spk", "../../x spk1\n", r"utt2spk:1: '\.\.' is not allowed"),
        ("segments", "spk1-u1 spk1-u1 1 0.5\n", r"segments:1: .*ends at 0\.5 s, before"),
        ("segments", "spk1-u1 spk1-u1 1 1\n", r"segments:1: .*before or at"),
        ("segments", "spk1-u1 spk1-u1 x 1\n", r"segments:1: segment start .* number.* 'x'"),
        ("segments", "spk1-u1 spk1-u1 0 inf\n", r"segments:1: segment end .* number.* 'inf'"),
        ("segments", "spk1-u1 spk1-u1 -1 1\n", r"segments:1: segment start .* '-1'"),
        ("segments", "spk1-u1 spk1-u1 0 1_0\n", r"segments:1: segment end .* '1_0'"),
        ("segments", "spk1-u1 spk1-u1 0\n", r"segments:1: expected 'utterance recording start end'"),
        ("segments", "spk1-u1 rec-none 0 1\n", r"segments"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_with_the_place(make_data, name, text, message):
    path = make_data()
    (path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        DataDir.read(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("utt2speed", "spk1-u1 0\n", r"utt2speed:1: speed factor must be a number from 0\.1 to 10, got '0'"),
        ("reco2file_and_channel", "spk1-u1 f C\n", r"reco2file_and_channel:1: channel must be A, B or a number from 0, got 'C'"),
        ("reco2file_and_channel", f"spk1-u1 f {'1' * 5000}\n", r"reco2file_and_channel:1: channel must be A, B or a number from 0"),
    ],
)
def test_values_that_decide_how_audio_is_read_are_checked(make_data, name, text, message):
    path = make_data()
    (path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        DataDir.read(path).utterances()


def test_no_directory_and_no_file_are_told_apart(tmp_path, make_data):
    with pytest.raises(DataError, match="no such data directory"):
        DataDir.read(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file, not a directory"):
        DataDir.read(tmp_path / "file")
    path = make_data()
    (path / "utt2spk").unlink()
    with pytest.raises(DataError, match=r"utt2spk: no such file; required are wav\.scp, utt2spk"):
        DataDir.read(path)


def test_copied_tables_hold_what_belongs_to_the_kept_utterances(make_data, segmented, tmp_path):
    extra = {"spk2gender": {f"spk{i}": "f" for i in range(1, 5)}, "reco2file_and_channel": {f"rec{i}": "f A" for i in range(1, 5)}}
    source = DataDir.read(make_data(tables={**segmented, **extra, "utt2dur": {"spk2-u1": "1", "spk1-u1": "2"}}))
    copy_tables(source, tmp_path / "out", ["spk2-u1", "spk2-u3"])
    copy = DataDir.read(tmp_path / "out")
    assert list(copy.utt2spk) == ["spk2-u1", "spk2-u3"]
    assert list(copy.wav) == list(copy.table("reco2file_and_channel")) == ["rec2"]
    assert list(copy.table("spk2gender")) == ["spk2"]
    assert list(copy.table("utt2dur")) == ["spk2-u1"]
    assert (tmp_path / "out" / "spk2utt").read_text() == "spk2 spk2-u1 spk2-u3\n"


def test_copying_leaves_no_table_of_an_earlier_run(make_data, segmented, tmp_path):
    copy_tables(DataDir.read(make_data("a", segmented)), tmp_path / "out", ["spk1-u1"])
    copy_tables(DataDir.read(make_data("b")), tmp_path / "out", ["spk1-u1"])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["spk2utt", "utt2spk", "wav.scp"]


def test_a_directory_copied_onto_itself_stays_the_same(make_data, segmented):
    path = make_data(tables=segmented)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    copy_tables(DataDir.read(path), path, DataDir.read(path).utt2spk)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_written_directories_do_not_depend_on_the_order_of_entries(tmp_path):
    pairs = [("b-1", "b"), ("a-1", "a"), ("a-2", "a")]
    for name, order in (("x", pairs), ("y", pairs[::-1])):
        write_data_dir(tmp_path / name, {"utt2spk": dict(order)})
    for name in ("utt2spk", "spk2utt"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
    assert (tmp_path / "x" / "spk2utt").read_text() == "a a-1 a-2\nb b-1\n"


def test_skipped_lines_of_other_commands_stay(tmp_path):
    write_skipped(tmp_path, "sv-b", {"u2": "bad\tand\nugly \x1b[2J", "u1": "short"})
    write_skipped(tmp_path, "sv-a", {"u1": "gone"})
    write_skipped(tmp_path, "sv-b", {"u3": "late"})
    assert read_skipped(tmp_path) == [("u1", "sv-a", "gone"), ("u3", "sv-b", "late")]
    write_skipped(tmp_path, "sv-a", {})
    write_skipped(tmp_path, "sv-b", {})
    assert (tmp_path / "skipped.tsv").read_bytes() == b""


def test_reasons_stay_on_one_line(tmp_path):
    write_skipped(tmp_path, "sv-b", {"u2": "bad\tand\nugly \x1b[2J"})
    assert (tmp_path / "skipped.tsv").read_text() == "u2\tsv-b\tbad\\tand\\nugly \\x1b[2J\n"


def test_a_damaged_list_of_skipped_utterances_is_refused(tmp_path: Path):
    (tmp_path / "skipped.tsv").write_text("u1\n")
    with pytest.raises(DataError, match=r"skipped\.tsv:1"):
        read_skipped(tmp_path)


@pytest.mark.parametrize("name", ["segments", "utt2speed", "reco2file_and_channel", "wav.scp", "utt2spk"])
def test_a_table_that_is_a_link_to_nothing_is_refused_and_not_taken_for_absent(make_data, name):
    path = make_data()
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to("nowhere")
    with pytest.raises(DataError, match=f"{name}: is not a regular file .*a broken link"):
        DataDir.read(path).utterances()
