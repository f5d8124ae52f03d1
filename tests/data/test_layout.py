from __future__ import annotations

import pytest

from sv_toolkit.data.layout import checked_parts, compile_pattern, entries_of_folder, entries_of_table
from sv_toolkit.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / "recordings" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path / "recordings"

    return make


@pytest.fixture
def table(tmp_path):
    def write(text, name="list.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_parts_of_a_pattern_are_texts_without_slashes():
    expression = compile_pattern("{speaker}/{session}/{utterance}.wav")
    assert expression.fullmatch("anna/monday/hello.wav").groupdict() == {"speaker": "anna", "session": "monday", "utterance": "hello"}
    assert expression.fullmatch("anna/hello.wav") is None
    assert expression.fullmatch("anna/monday/a/hello.wav") is None


def test_a_part_that_stands_twice_is_the_same_text_both_times():
    expression = compile_pattern("{speaker}/{speaker}_{utterance}.flac")
    assert expression.fullmatch("anna/anna_1.flac").group("utterance") == "1"
    assert expression.fullmatch("anna/bert_1.flac") is None


def test_what_is_no_part_stands_for_itself():
    assert compile_pattern("{speaker}.v1/*").fullmatch("anna.v1/x.wav")
    assert compile_pattern("{speaker}.v1/*").fullmatch("annaxv1/x.wav") is None


def test_patterns_that_say_nothing_useful_are_refused():
    with pytest.raises(ConfigError, match="says nothing about the speaker"):
        compile_pattern("{utterance}.wav")
    with pytest.raises(ConfigError, match="unknown part 'spkr'; known: speaker"):
        compile_pattern("{spkr}/*")


def test_a_folder_gives_its_files_in_order_and_says_what_does_not_fit(folder):
    root = folder("bert/2.wav", "anna/b/1.wav", "notes.txt", "anna/.DS_Store")
    found = entries_of_folder(root, "{speaker}/**")
    assert [(entry.name, entry.parts["speaker"]) for entry in found.entries] == [("anna/b/1.wav", "anna"), ("bert/2.wav", "bert")]
    assert found.left_out == {"anna/.DS_Store": "a hidden file", "notes.txt": "does not fit the pattern {speaker}/**"}


def test_folders_that_lead_back_and_those_to_pass_over_end_the_search(folder):
    root = folder("anna/1.wav", "data/audio/2.wav")
    (root / "anna" / "again").symlink_to(root)
    found = entries_of_folder(root, "{speaker}/**", [root / "data"])
    assert [entry.name for entry in found.entries] == ["anna/1.wav"]


def test_a_folder_without_a_fitting_file_shows_the_first(folder, tmp_path):
    with pytest.raises(
        DataError, match="none of 1 files fits the pattern {speaker}/x.wav, the first is 'anna/1.wav'; give another --pattern"
    ):
        entries_of_folder(folder("anna/1.wav"), "{speaker}/x.wav")
    with pytest.raises(DataError, match="no such folder"):
        entries_of_folder(tmp_path / "nowhere", "{speaker}/*")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_of_a_table_are_entries_whatever_separates_them(table, tmp_path, separator):
    text = "\ufeffclient_id,path,sentence,gender\nanna,a 1.wav,hello,female\n\nbert,/x/b.wav,,\n".replace(",", separator)
    found, unused = entries_of_table(table(text))
    assert unused == ["sentence"]
    first, second = checked_parts(found.entries)
    assert (first.path, first.parts) == (str(tmp_path / "a 1.wav"), {"speaker": "anna", "gender": "f"})
    assert (second.path, second.parts, second.where) == ("/x/b.wav", {"speaker": "bert"}, f"{tmp_path}/list.csv:4")


def test_times_of_a_table_are_seconds(table):
    found, _ = entries_of_table(table("path,speaker,start,end\na.wav,anna,1.5,2\na.wav,bert,,\n"))
    assert [(entry.start, entry.end) for entry in found.entries] == [(1.5, 2.0), (None, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,speaker\n", "has no rows"),
        ("path,name\na.wav,anna\n", r"list.csv:1: no column speaker \(or speaker_id"),
        ("path,speaker\na.wav\n", "list.csv:2: no speaker"),
        ("path,speaker,start,end\na.wav,anna,2,1\n", "list.csv:2: ends at 1 s, before or at its start 2 s"),
        ("path,speaker,start\na.wav,anna,soon\n", r"list.csv:2: start \(seconds\) must be a number of at least 0, got 'soon'"),
        ('path,speaker\n"a.wav,anna\n', "list.csv:2: not a table"),
    ],
)
def test_tables_that_cannot_be_read_are_refused_with_the_line(table, text, message):
    with pytest.raises(DataError, match=message):
        entries_of_table(table(text))


def test_dates_and_splits_are_checked_and_unknown_genders_are_none(table):
    good, _ = entries_of_table(table("path,speaker,date,gender\na.wav,anna,2024-02-29,other\n"))
    assert checked_parts(good.entries)[0].parts == {"speaker": "anna", "date": "2024-02-29"}
    for column, value, message in [
        ("date", "yesterday", "a date must be"),
        ("split", "valid", "split must be one of train, dev, test, got 'valid'"),
    ]:
        found, _ = entries_of_table(table(f"path,speaker,{column}\na.wav,anna,{value}\n"))
        with pytest.raises(DataError, match=f"list.csv:2: {message}"):
            checked_parts(found.entries)
