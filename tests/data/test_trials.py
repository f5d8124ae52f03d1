from __future__ import annotations

import hashlib
import itertools
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.data import columns, trials
from sv_toolkit.data.columns import repeated
from sv_toolkit.data.trials import Trials, make, read_scored, read_scores, read_trials, trials_bytes, write_trials
from sv_toolkit.errors import DataError

WORD = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5).filter(lambda word: word not in ("0", "1"))
PAIRS = st.dictionaries(st.tuples(WORD, WORD), st.booleans(), min_size=1, max_size=30)


def listed(tmp_path, text, name="trials"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pairs_of(read: Trials):
    return [(read.enroll_ids[i], read.test_ids[j]) for i, j in zip(read.enroll_index, read.test_index)]


@given(entries=PAIRS, with_labels=st.booleans())
@settings(max_examples=100)
def test_what_is_written_is_read_back_in_its_order(tmp_path_factory, entries, with_labels):
    path = tmp_path_factory.mktemp("t") / "trials"
    write_trials(path, make(list(entries), list(entries.values()) if with_labels else None, path))
    read = read_trials(path)
    assert pairs_of(read) == list(entries)
    assert read.enroll_ids == sorted({pair[0] for pair in entries})
    assert read.enroll_index.dtype == np.int32
    assert (read.is_target is None) != with_labels
    if with_labels:
        assert read.is_target.tolist() == list(entries.values())


@given(entries=PAIRS, seed=st.integers(0, 100))
@settings(max_examples=50)
def test_the_hash_is_that_of_the_sorted_lines_whatever_their_order(entries, seed):
    order = np.random.default_rng(seed).permutation(len(entries))
    pairs, labels = list(entries), list(entries.values())
    shuffled = make([pairs[i] for i in order], [labels[i] for i in order], None)
    lines = sorted(f"{a} {b} {'target' if label else 'nontarget'}\n".encode() for (a, b), label in entries.items())
    assert shuffled.hash == make(pairs, labels, None).hash == hashlib.sha256(b"".join(lines)).hexdigest()
    assert shuffled.short_hash == shuffled.hash[:12]


@given(entries=PAIRS, seed=st.integers(0, 100))
@settings(max_examples=50)
def test_scores_are_joined_by_the_pair(tmp_path_factory, entries, seed):
    path = tmp_path_factory.mktemp("t")
    rng = np.random.default_rng(seed)
    known = make(list(entries), list(entries.values()), path / "trials")
    scores = rng.normal(size=len(entries)).round(6)
    lines = [f"{a} {b} {score:.6f}\n" for (a, b), score in zip(entries, scores)]
    (path / "scores").write_text("".join(lines[i] for i in rng.permutation(len(lines))), encoding="utf-8")
    assert np.array_equal(read_scores(path / "scores", known), scores)


def test_blocks_give_the_same_as_one_piece(tmp_path, monkeypatch, rng):
    ids = [f"spk{i}-é{i}" for i in range(40)]
    pairs = list(itertools.product(ids, ids))
    path = tmp_path / "trials"
    write_trials(path, make(pairs, rng.random(len(pairs)) < 0.1, path))
    whole = read_trials(path)
    monkeypatch.setattr(columns, "BLOCK", 1000)
    monkeypatch.setattr(trials, "_CHUNK", 7)
    pieces = read_trials(path)
    assert pairs_of(pieces) == pairs
    assert np.array_equal(pieces.is_target, whole.is_target)
    assert pieces.hash == whole.hash
    assert trials_bytes(pieces) == path.read_bytes()
    scores = rng.normal(size=len(pairs)).round(6)
    (tmp_path / "scores").write_bytes(b"".join(whole.score_lines(scores)))
    assert np.array_equal(read_scores(tmp_path / "scores", pieces), scores)


@pytest.mark.parametrize("block", [20, 1 << 22])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty: no trials"),
        ("a b target\na c Target\n", r"trials:2: the label must be target or nontarget, got 'Target'"),
        ("a b target\na c nontarget x\n", r"trials:2: expected 'enroll-id test-id target\|nontarget', got 4 fields"),
        ("a b target\na c\n", r"trials:2: .*got 2 fields"),
        ("a b target x\n", r"trials:1: .*got 4 fields"),
        ("a b\na c target\n", r"trials:2: expected 'enroll-id test-id', got 3 fields"),
        ("a b target\na c\nd e target f\n", r"trials:2: .*got 2 fields"),
        ("a b target\na b nontarget\n", r"trials:2: duplicate trial a b"),
        ("a b target\r\nc d target\r\n", r"trials:1: .*CRLF.*sed"),
        ("a b target\n\nc d target\n", r"trials:2: blank line"),
        ("a b target\nc d targ", r"trials:2: the label must be target or nontarget, got 'targ'"),
        ("a b target\nc d", r"trials:2: .*got 2 fields"),
        ("a b tgt\nc d imp\n", r"trials:1: the label must be .*--trials-format sitw reads 'enroll-id test-id tgt\|imp'"),
        ("a b 1\nc d 0\n", r"trials:1: the label must be .*--trials-format cnceleb"),
        ("1 a b\n0 a c\n", r"trials:1: .*VoxCeleb.*--trials-format voxceleb"),
        ("enroll test label\n", r"trials:1: .*'label'; is this a header line\?"),
        (b"\xef\xbb\xbfa b target\n", r"trials:1: .*BOM"),
        (b"a b target\na \xe9 target\n", r"trials:2: not UTF-8"),
        (b"a b target\na \x1b[31m target\n", r"trials:2: control .*\\x1b\[31m"),
        ("a b target\na x\u00a0y target\n", r"trials:2: .*non-printable.*\\xa0"),
        (b"\x00\x01\x02" * 30 + b"\n", r"trials:1|a line of more than 20 bytes"),
    ],
)
def test_a_damaged_list_is_refused_with_the_line(tmp_path, monkeypatch, text, message, block):
    monkeypatch.setattr(columns, "BLOCK", block)
    with pytest.raises(DataError, match=message):
        read_trials(listed(tmp_path, text))


def test_labels_that_are_wrong_in_many_lines_are_counted_from_the_first(tmp_path):
    with pytest.raises(DataError, match=r"trials:1: .*'Target' \(also .*trials:2, .*trials:4\)"):
        read_trials(listed(tmp_path, "a b Target\na c Target\na d target\na e Target\n"))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_trials(tmp_path / "none")
    with pytest.raises(DataError, match="directory"):
        read_trials(tmp_path)


def test_labels_can_be_required(tmp_path):
    path = listed(tmp_path, "a b\na c\n")
    assert read_trials(path).is_target is None
    assert read_trials(path).num_targets == 0
    with pytest.raises(DataError, match=r"trials:1: no label"):
        read_trials(path, need_keys=True)


def test_voxceleb_lists_are_read_if_told_so(tmp_path):
    path = listed(tmp_path, "1 id1/a.wav id1/b.wav\n0 id1/a.wav id2/c.wav\n")
    read = read_trials(path, "voxceleb")
    assert pairs_of(read) == [("id1/a.wav", "id1/b.wav"), ("id1/a.wav", "id2/c.wav")]
    assert read.is_target.tolist() == [True, False]
    with pytest.raises(DataError, match=r"trials:1: the label must be 1 or 0, got 'a'"):
        read_trials(listed(tmp_path, "a b target\n"), "voxceleb")


def test_ids_zero_and_one_are_possible_if_told_so(tmp_path):
    path = listed(tmp_path, "1 a target\n")
    with pytest.raises(DataError, match="--trials-format kaldi"):
        read_trials(path)
    assert read_trials(path, "kaldi").enroll_ids == ["1"]


def test_repeated_pairs_can_be_let_through(tmp_path):
    assert len(read_trials(listed(tmp_path, "a b target\na b target\n"), unique=False)) == 2


def test_places_of_ids_are_known(tmp_path):
    read = read_trials(listed(tmp_path, "b y target\na y nontarget\nb x nontarget\n"))
    assert read.where_enroll(read.enroll_ids.index("a")).endswith("trials:2")
    assert read.where_test(read.test_ids.index("x")).endswith("trials:3")
    assert read.pair(2) == "b x"


@given(codes=st.lists(st.integers(0, 8), max_size=20))
@settings(max_examples=100)
def test_repeated_numbers_are_those_seen_before(codes):
    expected = [i for i, code in enumerate(codes) if code in codes[:i]]
    assert repeated(np.array(codes, np.int64)).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 1\na c nan\n", r"scores:2: a score must be a finite number, got 'nan'"),
        ("a b 1\na c inf\n", r"scores:2: .*'inf'"),
        ("a b 1\na c 1e400\n", r"scores:2: .*'1e400'"),
        ("a b 1\na c ERROR\n", r"scores:2: .*'ERROR'"),
        ("a b 1\na c 0,53\n", r"scores:2: .*'0,53'"),
        ("a b 1\na c 1_0\n", r"scores:2: .*'1_0'"),
        ("a b 1\na c\n", r"scores:2: expected 'enroll-id test-id score', got 2 fields"),
        ("a b 1\n", r"scores are missing for 1 of 2 trials, the first: a c"),
        ("a b 1\na c 1\nx y 2\n", r"scores:3: 1 of 3 scores are for pairs that are not in .*trials, the first: x y"),
        ("a b 1\na c 1\nb a 2\n", r"scores:3: 1 of 3 scores are for pairs"),
        ("a b 1\na c 1\na b 1\n", r"scores:3: duplicate score.*a b"),
        ("", "empty: no scores"),
    ],
)
def test_scores_that_do_not_answer_the_trials_are_refused(tmp_path, text, message):
    known = read_trials(listed(tmp_path, "a b target\na c nontarget\n"))
    with pytest.raises(DataError, match=message):
        read_scores(listed(tmp_path, text, "scores"), known)


def test_a_score_file_alone_is_a_list_of_pairs_in_its_order(tmp_path):
    (tmp_path / "scores").write_text("b y 0.5\na x -1e-3\na y 2\n")
    pairs, scores = read_scored(tmp_path / "scores")
    assert [pairs.pair(position) for position in range(3)] == ["b y", "a x", "a y"]
    assert (pairs.is_target, scores.tolist()) == (None, [0.5, -0.001, 2.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty: no scores"), ("a x 1\nb x 1\na x 2\n", "scores:3: duplicate"), ("a x nan\n", "scores:1: a score must be a finite")],
    ids=["empty", "twice", "NaN"],
)
def test_a_score_file_alone_is_read_as_strictly(tmp_path, text, message):
    (tmp_path / "scores").write_text(text)
    with pytest.raises(DataError, match=message):
        read_scored(tmp_path / "scores")


def test_a_last_line_without_newline_is_read_and_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    (tmp_path / "trials").write_text("1 a b\n0 a c")
    assert len(read_trials(tmp_path / "trials", "voxceleb")) == 2
    assert "no newline at the end; the last line is taken as whole: '0 a c'" in caplog.text


@pytest.mark.parametrize(("format", "words"), [("sitw", ("tgt", "imp")), ("cnceleb", ("1", "0")), ("kaldi", ("target", "nontarget"))])
def test_labels_of_other_lists_are_read_by_name(tmp_path, format, words):
    (tmp_path / "trials").write_text(f"b y {words[0]}\na x {words[1]}\n")
    found = read_trials(tmp_path / "trials", format)
    assert found.is_target.tolist() == [True, False] and found.pair(0) == "b y"


def test_scores_with_the_label_as_a_fourth_word_are_read_where_it_is_that_of_the_list(tmp_path):
    (tmp_path / "trials").write_text("b y target\na x nontarget\n")
    trials = read_trials(tmp_path / "trials")
    for labels in (("nontarget", "target"), ("0", "1"), ("imp", "tgt")):
        (tmp_path / "scores").write_text(f"a x 0.25 {labels[0]}\nb y 0.5 {labels[1]}\n")
        assert read_scores(tmp_path / "scores", trials).tolist() == [0.5, 0.25]
    (tmp_path / "scores").write_text("a x 0.25 target\nb y 0.5 target\n")
    with pytest.raises(DataError, match="1 labels are not those of .*trials, the first of a x; these scores were made for another list"):
        read_scores(tmp_path / "scores", trials)
    (tmp_path / "scores").write_text("a x 0.25 no\nb y 0.5 target\n")
    with pytest.raises(DataError, match="scores:1: the fourth word must be a label"):
        read_scores(tmp_path / "scores", trials)


def test_a_score_that_may_have_been_cut_is_refused(tmp_path):
    (tmp_path / "trials").write_text("a x target\n")
    (tmp_path / "scores").write_text("a x 0.2")
    with pytest.raises(DataError, match="no newline at the end .*may have been cut"):
        read_scores(tmp_path / "scores", read_trials(tmp_path / "trials"))
