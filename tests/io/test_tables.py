from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import DataError
from sv_toolkit.io import tables
from sv_toolkit.io.tables import MAX_PROBLEMS, Form, check_table, format_table, read_table, write_table

WORD = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(lambda word: ".." not in word)
VALUE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)


def written(tmp_path: Path, data: bytes, name: str = "wav.scp") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@given(entries=st.dictionaries(WORD, VALUE, min_size=1))
@settings(max_examples=100)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, entries: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("table") / "wav.scp"
    write_table(path, entries)
    assert dict(read_table(path)) == entries


@given(entries=st.dictionaries(WORD, VALUE, min_size=1))
@settings(max_examples=100)
def test_the_order_written_is_the_order_of_the_utf8_bytes(entries: dict[str, str]) -> None:
    keys = [line.split(b" ")[0] for line in format_table(entries).encode().splitlines()]
    assert keys == sorted(key.encode() for key in entries)


def test_the_order_written_is_that_of_sort_in_the_c_locale(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_table(path, dict.fromkeys(["alice-1", "Bob-1", "émile", "日本", "z", "\U0001f600", "\uffee"], "x"))
    sorted_by_tool = subprocess.run(["sort", path], env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, capture_output=True, check=True).stdout
    assert sorted_by_tool == path.read_bytes()


@given(
    data=st.lists(
        st.sampled_from(
            [b"a", b"b", b"c 1", b"d  2 3", b"\t", b" ", b"\n", b"\n", b"\r\n", b"\xe9", b"..", b"/", b"\x1b", "\u00a0é".encode()]
        )
    ).map(b"".join),
    least=st.integers(1, 3),
    most=st.none() | st.integers(3, 4),
)
@settings(max_examples=300)
def test_the_quick_pass_and_the_careful_one_agree(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, least: int, most: int | None
) -> None:
    form = Form(least, most)
    if not data.strip():
        return
    quick = tables._parse_clean(data, form, sorted_by_bytes=True)
    careful, problems = tables._diagnose(Path("t"), data, form, sorted_by_bytes=True)
    if quick is not None:
        assert not problems
        assert quick == dict(careful)
    elif not problems:  # unusual but allowed characters in a value
        assert not data.decode().replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a 1\nb\nc 3\n", 2, ["1 field"]),
        (b"a 1\n\nc 3\n", 2, ["blank"]),
        (b"a 1\nb 2\nb 2\n", 3, ["duplicate", "'b'", "line 2", "the same value"]),
        (b"a 1\nb 2\nb 3\n", 3, ["duplicate", "'b'", "line 2", "another value"]),
        (b"b 1\na 2\n", 2, ["sort", "LC_ALL=C"]),
        (b"a 1\r\nb 2\r\n", 1, ["CRLF", "sed -i 's/\\r$//'"]),
        (b"\xef\xbb\xbfa 1\nb 2\n", 1, ["BOM"]),
        (b"a 1\nb\xe9 2\n", 2, ["UTF-8", "0xe9"]),
        (b"a 1\nb 2", 2, ["newline", "cut"]),
        (b"\x1b[31ma 1\nb 2\n", 1, ["control", "\\x1b[31ma"]),
        ("a 1\nb\u00a0c 2\n".encode(), 2, ["non-printable", "\\xa0"]),
        ("a 1\nb\u200bc 2\n".encode(), 2, ["non-printable", "\\u200b"]),
        (b"a 1\nb x\x1b[2J\n", 2, ["control", "'b'"]),
        (b"../../x 1\nb 2\n", 1, ["'..'"]),
        (b"a/../x 1\nb 2\n", 1, ["'..'"]),
        (b"a" * 20_000 + b" 1\nb 2\n", 1, ["20000 characters"]),
        (b"\x00\x01\x02\x03" * 500, 1, ["binary"]),
    ],
)
def test_a_problem_is_named_with_its_line(tmp_path: Path, data: bytes, line: int, words: list[str]) -> None:
    path = written(tmp_path, data)
    _, problems = check_table(path)
    assert len(problems) == 1
    assert problems[0].where == f"{path}:{line}"
    assert all(word in str(problems[0]) for word in words), str(problems[0])
    assert "\x1b" not in str(problems[0])
    with pytest.raises(DataError):
        read_table(path)


@pytest.mark.parametrize(("data", "word"), [(b"", "empty"), (b"\n\n", "empty")])
def test_a_file_without_entries_is_refused(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(DataError, match=word):
        read_table(written(tmp_path, data))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "none")
    with pytest.raises(DataError, match="directory"):
        read_table(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="regular file"):
        read_table(tmp_path / "loop")
    with pytest.raises(DataError, match="regular file"):
        read_table(Path("/dev/null"))


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    _, problems = check_table(written(tmp_path, b"b 1\na 2\nc\n\na 2"))
    text = "\n".join(map(str, problems))
    assert all(word in text for word in ("sort", "1 field", "blank", "duplicate", "newline")), text


def test_the_report_on_a_foreign_file_is_short(tmp_path: Path) -> None:
    path = written(tmp_path, b"".join(b"user%d:x:secret%d\n" % (i, i) for i in range(10_000)))
    _, problems = check_table(path, max_fields=2)
    assert len(problems) == MAX_PROBLEMS + 1
    assert "9980 more" in str(problems[-1])
    assert sum("secret" in str(problem) for problem in problems) == 1  # one excerpt is enough


def test_a_line_of_a_megabyte_gives_a_short_message(tmp_path: Path) -> None:
    _, problems = check_table(written(tmp_path, b"a" * 1_000_000))
    assert all(len(str(problem)) < 400 for problem in problems)


def test_tabs_and_several_blanks_separate_and_values_keep_their_inner_blanks(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, b"a\t/x/y z.wav\nb   /p  q.wav \n-c /d\n", "t"), sorted_by_bytes=False)
    assert dict(table) == {"a": "/x/y z.wav", "b": "/p  q.wav", "-c": "/d"}


def test_unusual_but_harmless_ids_are_accepted(tmp_path: Path) -> None:
    entries = {"-x": "1", "--help": "1", "/etc/x": "1", "id10001/abc/00001": "1", "y" * 5000: "1", "日本-1": "1", "a..b": "1"}
    path = tmp_path / "t"
    write_table(path, entries)
    assert dict(read_table(path)) == entries


def test_a_path_with_a_narrow_blank_is_accepted_as_value(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a /x/10\u202fAM.wav\nb /y.wav\n".encode()))
    assert table["a"] == "/x/10\u202fAM.wav"


def test_entries_know_their_lines_even_in_a_worker(tmp_path: Path) -> None:
    path = written(tmp_path, b"a 1\nb 2\n")
    table = pickle.loads(pickle.dumps(read_table(path)))
    assert table.where("b") == f"{path}:2"
    assert table.where("none") == str(path)
    assert table.lines == {"a": 1, "b": 2}


def test_the_error_says_how_many_more_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r":1: .*and 1 more problem\)"):
        read_table(written(tmp_path, b"a\nb\n"))


@pytest.mark.parametrize("entry", [("a b", "1"), ("", "1"), ("a", "1\n2"), ("a", " 1"), ("a\u00a0b", "1"), ("a", "x\x1b[2J")])
def test_an_entry_that_would_read_back_as_something_else_is_not_written(tmp_path: Path, entry: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        write_table(tmp_path / "t", dict([entry]))
    assert list(tmp_path.iterdir()) == []


def test_a_value_with_odd_blanks_at_its_ends_is_written_as_it_was_read(tmp_path):
    (tmp_path / "wav.scp").write_text("a \u2028x.wav\nb y.wav\u2029\n", encoding="utf-8")
    table = read_table(tmp_path / "wav.scp")
    write_table(tmp_path / "again", table)
    assert read_table(tmp_path / "again") == table
