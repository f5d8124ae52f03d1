from __future__ import annotations

import pytest

from sv_toolkit.data import operations
from sv_toolkit.data.data_dir import DataDir, write_data_dir, write_skipped
from sv_toolkit.data.operations import (
    Selection,
    combine,
    perturb_speed,
    read_ids,
    read_source,
    select,
    skipped_of,
    split,
    subset,
    tables_of,
)
from sv_toolkit.errors import AudioError, DataError

from .conftest import UTTERANCES


def read_back(path, tables):
    write_data_dir(path, tables)
    return DataDir.read(path)


# combine


def test_parts_combine_to_the_whole(make_data, segmented):
    source = read_source(
        make_data(tables={**segmented, "utt2dur": dict.fromkeys(UTTERANCES, "1"), "feats.scp": dict.fromkeys(UTTERANCES, "f.ark:1")})
    )
    parts = split(source, 3)
    paths = []
    for i, part in enumerate(parts):
        paths.append(source.path.parent / f"part{i}")
        write_data_dir(paths[-1], subset(source, part))
    assert combine([read_source(path) for path in paths]) == tables_of(source)


def test_an_id_that_stands_for_two_things_is_refused(make_data):
    a = make_data("a")
    b = make_data("b", {"wav.scp": {key: f"other/{key}.wav" for key in UTTERANCES}})
    with pytest.raises(DataError, match=r"b/wav\.scp:\d+: duplicate id spk\d-u\d with another value"):
        combine([read_source(a), read_source(b)])
    assert combine([read_source(a), read_source(a)]) == tables_of(read_source(a))


def test_a_table_of_only_some_is_left_out_with_a_warning(make_data, caplog):
    a = make_data("a", {"utt2lang": dict.fromkeys(UTTERANCES, "en")})
    b = make_data("b", {"wav.scp": {"x-1": "x.wav"}, "utt2spk": {"x-1": "x"}})
    tables = combine([read_source(a), read_source(b)])
    assert "utt2lang" not in tables
    assert "utt2lang is left out" in caplog.text


def test_tables_whose_absence_has_a_meaning_are_completed(make_data):
    a = make_data("a", {"utt2speed": dict.fromkeys(UTTERANCES, "0.9"), "reco2file_and_channel": {"spk1-u1": "f B"}})
    b = make_data("b", {"wav.scp": {"x-1": "x.wav"}, "utt2spk": {"x-1": "x"}})
    tables = combine([read_source(a), read_source(b)])
    assert tables["utt2speed"] == {**dict.fromkeys(UTTERANCES, "0.9"), "x-1": "1"}
    assert tables["reco2file_and_channel"] == {"spk1-u1": "f B"}


def test_segments_in_only_some_make_each_recording_of_the_others_one_segment(make_data, segmented, tmp_path):
    with_segments = read_source(make_data("a", segmented))
    folder = tmp_path / "whole"
    write_data_dir(folder, {"wav.scp": {"z-1": "z.wav"}, "utt2spk": {"z-1": "z"}, "utt2dur": {"z-1": "2.5"}, "utt2speed": {"z-1": "2"}})
    joined = combine([with_segments, read_source(folder)])
    assert joined["segments"]["z-1"] == "z-1 0 5.0000"
    assert joined["utt2speed"]["z-1"] == "2"
    assert set(joined["segments"]) == {*with_segments.segments, "z-1"}
    assert read_back(tmp_path / "out", joined).utterances()[-1].end == 5.0


def test_a_recording_that_does_not_say_how_long_it_is_gets_no_segment(make_data, segmented, tmp_path):
    folder = tmp_path / "whole"
    write_data_dir(folder, {"wav.scp": {"z-1": "nowhere.wav"}, "utt2spk": {"z-1": "z"}})
    with pytest.raises(AudioError, match=r"whole/wav.scp:1: nowhere.wav: No such file"):
        combine([read_source(make_data("a", segmented)), read_source(folder)])


def test_what_was_skipped_travels_with_the_features(make_data):
    path = make_data(tables={"feats.scp": dict.fromkeys(UTTERANCES[1:], "f.ark:1")})
    write_skipped(path, "sv-extract-fbank", {UTTERANCES[0]: "short"})
    assert skipped_of([read_source(path)], UTTERANCES[:3]) == f"{UTTERANCES[0]}\tsv-extract-fbank\tshort\n"
    assert skipped_of([read_source(path)], UTTERANCES[1:]) == ""


# subset


def test_counts_are_kept_exactly(make_data):
    data = read_source(make_data())
    assert len(select(data, Selection(num_utterances=5))) == 5
    assert len({key.split("-")[0] for key in select(data, Selection(num_speakers=3))}) == 3
    chosen = select(data, Selection(num_speakers=2, max_per_speaker=3))
    assert len(chosen) == 6
    assert chosen == sorted(chosen)


def test_a_seed_chooses_the_same_again_and_another_one_otherwise(make_data):
    data = read_source(make_data())
    draws = [tuple(select(data, Selection(num_utterances=8, seed=seed))) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1


def test_without_a_seed_the_first_by_bytes_are_taken(make_data):
    assert select(read_source(make_data()), Selection(num_utterances=3, seed=None)) == UTTERANCES[:3]


def test_lists_come_before_counts(make_data):
    data = read_source(make_data())
    selection = Selection(utterances=frozenset(UTTERANCES[:6]), exclude_speakers=frozenset(["spk1"]), min_per_speaker=2)
    assert select(data, selection) == ["spk2-u1", "spk2-u2"]
    with pytest.raises(DataError, match="no utterance is left"):
        select(data, Selection(utterances=frozenset(UTTERANCES[:6]), exclude_speakers=frozenset(["spk1"]), min_per_speaker=3))


def test_more_than_there_are_is_refused(make_data):
    with pytest.raises(DataError, match="5 speakers are asked for, there are 4"):
        select(read_source(make_data()), Selection(num_speakers=5))


def test_unknown_ids_in_a_list_are_refused(make_data, tmp_path):
    (tmp_path / "list").write_text("spk1-u1\nspk9-u9\n")
    with pytest.raises(DataError, match=r"list:2: 1 of 2 ids are no utterance .*spk9-u9"):
        read_ids(tmp_path / "list", read_source(make_data()).utt2spk, "utterance")
    assert read_ids(tmp_path / "list", None, "utterance") == {"spk1-u1", "spk9-u9"}


# split


@pytest.mark.parametrize("num_parts", range(1, 5))
def test_parts_are_whole_speakers_in_order_and_about_equal(make_data, num_parts):
    parts = split(read_source(make_data()), num_parts)
    assert [key for part in parts for key in part] == UTTERANCES
    assert len(parts) == num_parts
    assert max(map(len, parts)) - min(map(len, parts)) <= 4
    assert len({(key.split("-")[0], i) for i, part in enumerate(parts) for key in part}) == 4


def test_more_parts_than_speakers_are_not_made(make_data, caplog):
    data = read_source(make_data())
    assert len(split(data, 9)) == 4
    assert "4 parts instead of 9" in caplog.text
    assert len(split(data, 9, by_utterance=True)) == 9


def test_no_part_is_empty_beside_a_large_speaker(make_data):
    utt2spk = {f"a-{i:02d}": "a" for i in range(50)} | {"b-1": "b", "c-1": "c"}
    data = read_source(make_data(tables={"wav.scp": dict.fromkeys(utt2spk, "x.wav"), "utt2spk": utt2spk}))
    assert [len(part) for part in split(data, 3)] == [50, 1, 1]


# speed


def test_copies_are_new_speakers_with_a_speed(make_data, tmp_path):
    source = read_source(make_data(tables={"utt2dur": dict.fromkeys(UTTERANCES, "1.8"), "utt2keyword": dict.fromkeys(UTTERANCES, "bed")}))
    data = read_back(tmp_path / "out", perturb_speed(source, [0.9, 1.1], include_original=True))
    assert len(data.utt2spk) == 48
    assert len(data.spk2utt) == 12
    copy = next(utterance for utterance in data.utterances() if utterance.utterance_id == "sp0.9-spk1-u1")
    assert (copy.speaker_id, copy.wav, copy.speed) == ("sp0.9-spk1", "wav/spk1-u1.wav", 0.9)
    assert data.table("utt2dur")["sp0.9-spk1-u1"] == "2.0000"
    assert data.table("utt2keyword")["sp1.1-spk1-u1"] == "bed"
    assert {
        utterance.speed
        for utterance in data.utterances()
        if not utterance.utterance_id.startswith("sp0") and not utterance.utterance_id.startswith("sp1")
    } == {1.0}


def test_segments_point_at_the_copies_of_recordings(make_data, segmented, tmp_path):
    data = read_back(tmp_path / "out", perturb_speed(read_source(make_data(tables=segmented)), [1.1], include_original=False))
    utterance = data.utterances()[0]
    assert (utterance.recording_id, utterance.wav, utterance.start, utterance.speed) == ("sp1.1-rec1", "wav/rec1.wav", 0.5, 1.1)


def test_factors_multiply(make_data, tmp_path):
    once = perturb_speed(read_source(make_data()), [1.25], include_original=False)
    twice = perturb_speed(read_back(tmp_path / "once", once), [0.8], include_original=False)
    assert set(twice["utt2speed"].values()) == {"1"}


def test_a_speed_that_no_reader_supports_is_refused(make_data):
    data = read_source(make_data(tables={"utt2speed": dict.fromkeys(UTTERANCES, "5")}))
    with pytest.raises(DataError, match=r"spk1-u1: speed factor .* got '20'"):
        perturb_speed(data, [4.0], include_original=False)


def test_features_of_the_original_speed_are_not_copied(make_data):
    source = read_source(
        make_data(tables={"feats.scp": dict.fromkeys(UTTERANCES, "f.ark:1"), "utt2num_frames": dict.fromkeys(UTTERANCES, "9")})
    )
    assert set(perturb_speed(source, [0.9], include_original=True)) == {"wav.scp", "utt2spk", "utt2speed"}


FOREIGN = {
    "text": "a-1 hello world\na-2\nb-1 x\n",
    "utt2uniq": "a-1 a-1\na-2 a-2\nb-1 b-1\n",
    "spk2accent": "a native\nb other\n",
    "cmvn.scp": "a c.ark:3\nb c.ark:99\n",
    "reco2dur": "a-1 4\na-2 2\nb-1 1\n",
}


@pytest.fixture
def with_foreign(tmp_path):
    """A data directory with tables of Kaldi's that nothing here reads."""
    folder = tmp_path / "foreign"
    write_data_dir(folder, {"wav.scp": dict.fromkeys(("a-1", "a-2", "b-1"), "/x.wav"), "utt2spk": {"a-1": "a", "a-2": "a", "b-1": "b"}})
    for name, text in FOREIGN.items():
        (folder / name).write_text(text)
    (folder / "README").write_text("a-1 is not a table\n")
    return DataDir.read(folder)


def test_tables_that_nothing_here_reads_are_carried_and_filtered(with_foreign):
    tables = operations.subset(with_foreign, ["a-2", "b-1"])
    assert tables["text"] == {"a-2": "", "b-1": "x"} and tables["utt2uniq"] == {"a-2": "a-2", "b-1": "b-1"}
    assert tables["reco2dur"] == {"a-2": "2", "b-1": "1"} and tables["spk2accent"] == {"a": "native", "b": "other"}
    assert "a" not in operations.subset(with_foreign, ["b-1"])["cmvn.scp"] and "README" not in tables
    assert operations.combine([with_foreign])["text"] == {"a-1": "hello world", "a-2": "", "b-1": "x"}


def test_sped_up_copies_rename_them_and_leave_out_what_belongs_to_the_features(with_foreign):
    tables = operations.perturb_speed(with_foreign, [0.5], include_original=False)
    assert tables["text"]["sp0.5-a-1"] == "hello world" and tables["utt2uniq"]["sp0.5-a-1"] == "a-1"
    assert tables["spk2accent"] == {"sp0.5-a": "native", "sp0.5-b": "other"}
    assert tables["reco2dur"]["sp0.5-a-1"] == "8.0000" and "cmvn.scp" not in tables


def test_originals_are_joined_where_one_directory_has_no_copies(make_data):
    with_copies = make_data("a", tables={"utt2uniq": dict.fromkeys(UTTERANCES, UTTERANCES[0])})
    source = read_source(with_copies)
    other = {f"z{key}": f"z{value}" for key, value in source.utt2spk.items()}
    without = with_copies.parent / "z"
    write_data_dir(without, {"wav.scp": dict.fromkeys(other, "/x.wav"), "utt2spk": other})
    joined = combine([source, read_source(without)])["utt2uniq"]
    assert joined == dict.fromkeys(UTTERANCES, UTTERANCES[0]) | {key: key for key in other}
