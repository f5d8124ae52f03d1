"""Tables as arrays hold what the line-by-line reader finds, and leave to it what is not clean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import ArchiveError, DataError
from sv_toolkit.io import table_arrays
from sv_toolkit.io.ids import Ids
from sv_toolkit.io.scp import parse_location, read_scp
from sv_toolkit.io.table_arrays import read_integers, read_places, read_words
from sv_toolkit.io.tables import check_table

ID = st.text("ab-é0/.", min_size=1, max_size=4)
ids = st.lists(ID, unique=True, min_size=1, max_size=12).map(lambda found: sorted(found, key=str.encode))
line_bytes = st.lists(
    st.sampled_from([b"a", b"b", b"ab", b" ", b"\t", b"\r", b"\0", b"\xc3\xa9", b"\xff", b"..", b"/", b"x", b"|"]), max_size=7
).map(b"".join)
files = st.tuples(st.lists(line_bytes, max_size=6), st.booleans(), st.booleans()).map(
    lambda parts: b"\xef\xbb\xbf" * parts[1] + b"\n".join(parts[0]) + b"\n" * parts[2]
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(table_arrays, "PIECE", 16)


@settings(max_examples=400)
@given(files)
@example(b"a x\nb y")
@example(b"a x\na y\n")
@example(b"b x\na y\n")
@example(b"a  x\n")
@example(b"a x \n")
@example(b"a x\r\n")
@example(b"a\tx\n")
@example(b"../a x\n")
@example(b"a b c\n")
@example(b"\n")
@example(b"")
def test_arrays_hold_what_the_slow_reader_finds_or_leave_the_file_to_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "utt2spk"
    path.write_bytes(content)
    table, problems = check_table(path, max_fields=2)
    found = read_words(path)
    if found is not None:
        keys, codes, words = found
        assert not problems
        assert list(keys) == list(table) and [words[code] for code in codes] == list(table.values())
        assert words == sorted(set(words), key=str.encode)


@settings(max_examples=100)
@given(ids, st.data())
def test_clean_tables_are_read_by_the_fast_way(tmp_path_factory, keys, data):
    path = tmp_path_factory.mktemp("t") / "utt2spk"
    keys = [key for key in keys if ".." not in key.split("/")] or ["a"]
    values = [data.draw(st.sampled_from(["s1", "s2", "é"])) for _ in keys]
    path.write_text("".join(f"{key} {value}\n" for key, value in zip(keys, values)))
    found = read_words(path)
    assert found is not None
    assert list(found[0]) == keys and [found[2][code] for code in found[1]] == values
    again = read_words(path, found[0])
    assert again is not None and again[0] is found[0]


@given(ids, ids)
def test_places_in_other_ids_agree_with_a_dict(first, second):
    expected = {key: place for place, key in enumerate(second)}
    assert Ids.of(first).places_in(Ids.of(second)).tolist() == [expected.get(key, -1) for key in first]
    for key in [*first, "", "zz", "\udc80"]:
        assert Ids.of(second).find(key) == expected.get(key, -1)
        assert (key in Ids.of(second)) == (key in expected)


@given(ids)
def test_ids_are_a_sequence(keys):
    found = Ids.of(keys)
    assert len(found) == len(keys) and list(found) == keys and found[-1] == keys[-1] and found[:2] == keys[:2]
    assert found == Ids.of(keys) and found == keys and found != Ids.of([*keys, "zzzz"])
    assert list(found.take(np.arange(0, len(keys), 2))) == keys[::2]
    with pytest.raises(IndexError):
        found[len(keys)]


@pytest.mark.parametrize("value", ["7", "007", "123456789012345678", "1234567890123456789", "-1", "1.5", "1e3", "a", "7 8"])
def test_whole_numbers_are_read_and_nothing_else(tmp_path, value):
    path = tmp_path / "utt2num_frames"
    path.write_text(f"a 1\nb {value}\nc 33\n")
    found = read_integers(path)
    if value.isdigit() and len(value) <= 18:
        assert found is not None and found[1].tolist() == [1, int(value), 33]
    else:
        assert found is None


@pytest.mark.parametrize(
    "value",
    [
        "x.ark:7",
        "/a b/x.ark:12",
        "a:b.ark:3",
        "x.ark",
        "x.ark:",
        "x.ark:-1",
        "cat x |",
        "x.ark:5[0:3]",
        "x.ark:99999999999999999999",
        "| x:1",
    ],
)
def test_places_agree_with_the_parser_of_single_lines(tmp_path, value):
    path = tmp_path / "feats.scp"
    path.write_text(f"a z.ark:1\nb {value}\nc x.ark:33\n")
    try:
        expected = parse_location(value, str(path), 2)
    except ArchiveError as error:
        assert read_places(path) is None
        with pytest.raises(ArchiveError) as caught:
            read_scp(path)
        assert str(caught.value) == str(error)
        return
    locations = read_scp(path)
    assert locations["b"] == expected and locations.at(1) == expected and locations.at(2).where == f"{path}:3"
    assert list(locations) == ["a", "b", "c"] and "d" not in locations
    with pytest.raises(KeyError):
        locations["d"]


def test_an_unsorted_index_is_refused_by_line(tmp_path):
    path = tmp_path / "feats.scp"
    path.write_text("b x.ark:1\na x.ark:33\n")
    with pytest.raises(DataError, match=r"feats.scp:2: not sorted by bytes"):
        read_scp(path)
