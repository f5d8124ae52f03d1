from __future__ import annotations

import os
from pathlib import Path

import pytest

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.fixing import plan_fix
from sv_toolkit.data.validation import validate
from sv_toolkit.errors import DataError

from .conftest import UTTERANCES


def damaged(path, name, change):
    lines = (path / name).read_text().splitlines()
    change(lines)
    (path / name).write_text("\n".join(lines) + "\n")
    return path


def fixed(path):
    """Carries out the plan the short way; what `repair` adds is tested there."""
    plan = plan_fix(path)
    for name, text in plan.texts.items():
        (path / name).unlink(missing_ok=True)
        if text is not None:
            (path / name).write_text(text)
    return plan


def test_a_good_directory_is_not_changed(make_data, segmented):
    for path in (make_data("a"), make_data("b", segmented)):
        plan = plan_fix(path)
        assert plan.changes(path) == {}
        assert plan.drops == []
        assert plan.num_utterances == 16


@pytest.mark.parametrize(
    ("name", "change", "lost"),
    [
        ("wav.scp", lambda lines: lines.reverse(), []),
        ("wav.scp", lambda lines: lines.insert(3, ""), []),
        ("wav.scp", lambda lines: lines.append(lines[0]), []),
        ("wav.scp", lambda lines: lines.append("spk1-u3 other.wav"), ["spk1-u3"]),
        ("wav.scp", lambda lines: lines.append("spk1-u3"), ["spk1-u3"]),
        ("wav.scp", lambda lines: lines.pop(2), ["spk1-u3"]),
        ("wav.scp", lambda lines: lines.__setitem__(2, "spk1-u3 ~/x.wav"), ["spk1-u3"]),
        ("utt2spk", lambda lines: lines.__setitem__(2, "spk1-u3 spk1 spk1"), ["spk1-u3"]),
        ("utt2spk", lambda lines: lines.append("../../x spk1"), []),
        ("spk2utt", lambda lines: lines.__setitem__(0, "spk1 spk2-u1"), []),
        ("utt2dur", lambda lines: lines.__setitem__(2, "spk1-u3 -1"), ["spk1-u3"]),
        ("feats.scp", lambda lines: lines.pop(2), ["spk1-u3"]),
        ("feats.scp", lambda lines: lines.append("spk1-old x.ark:3"), []),
        ("feats.scp", lambda lines: lines.__setitem__(2, "spk1-u3 cat x |"), ["spk1-u3"]),
        ("reco2file_and_channel", lambda lines: lines.__setitem__(2, "spk1-u3 f Z"), ["spk1-u3"]),
        ("spk2gender", lambda lines: lines.pop(2), []),
    ],
)
def test_what_is_bad_goes_and_the_rest_is_valid(make_data, name, change, lost):
    extra = {
        "utt2dur": dict.fromkeys(UTTERANCES, "1"),
        "feats.scp": dict.fromkeys(UTTERANCES, "x.ark:1"),
        "reco2file_and_channel": dict.fromkeys(UTTERANCES, "f A"),
        "spk2gender": dict.fromkeys(["spk1", "spk2", "spk3", "spk4"], "f"),
    }
    path = damaged(make_data(tables=extra), name, change)
    plan = fixed(path)
    assert validate(path) == []
    assert sorted(DataDir.read(path).utt2spk) == [key for key in UTTERANCES if key not in lost]
    assert set(lost) <= plan.gone
    assert all(key in {drop.key for drop in plan.drops} for key in lost)
    again = plan_fix(path)
    assert (again.changes(path), again.drops) == ({}, [])


@pytest.mark.parametrize("change", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: b"\xef\xbb\xbf" + data])
def test_line_ends_and_marks_of_other_systems_are_removed(make_data, change):
    path = make_data()
    good = {file.name: file.read_bytes() for file in path.iterdir()}
    for file in path.iterdir():
        file.write_bytes(change(file.read_bytes()))
    fixed(path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == good


def test_a_last_line_that_may_have_been_cut_is_dropped(make_data):
    path = make_data()
    (path / "utt2spk").write_bytes((path / "utt2spk").read_bytes()[:-2])
    plan = fixed(path)
    assert "cut" in plan.drops[0].reason
    assert sorted(DataDir.read(path).utt2spk) == UTTERANCES[:-1]


def test_bytes_that_are_no_text_are_dropped_with_their_line(make_data):
    path = make_data()
    (path / "utt2spk").write_bytes((path / "utt2spk").read_bytes().replace(b"spk1-u3 spk1", b"spk1-u3 sp\xe91"))
    plan = fixed(path)
    assert validate(path) == []
    assert any("UTF-8" in drop.reason and drop.where.endswith("utt2spk:3") for drop in plan.drops)


def test_utterances_skipped_by_extraction_stay(make_data):
    path = make_data(tables={"feats.scp": dict.fromkeys(UTTERANCES[1:], "x.ark:1")})
    (path / "skipped.tsv").write_text(f"{UTTERANCES[0]}\tsv-extract-fbank\tshort\n")
    assert plan_fix(path).drops == []


def test_segments_of_unknown_recordings_go_and_unused_recordings_too(make_data, segmented):
    path = damaged(
        make_data(tables=segmented), "segments", lambda lines: [lines.__setitem__(i, lines[i].replace("rec2", "none")) for i in range(4, 8)]
    )
    plan = fixed(path)
    assert validate(path) == []
    assert list(DataDir.read(path).wav) == ["rec1", "rec3", "rec4"]
    assert "rec2" in plan.gone


def test_an_empty_optional_table_goes_but_not_an_empty_segments_file(make_data):
    path = make_data()
    (path / "utt2lang").write_text("")
    fixed(path)
    assert not (path / "utt2lang").exists()
    (path / "segments").write_text("")
    with pytest.raises(DataError, match="segments: is empty.*yourself"):
        plan_fix(path)


def test_nothing_is_not_a_result(make_data):
    path = make_data()
    (path / "utt2spk").write_text("x y\n")
    with pytest.raises(DataError, match="nothing would be left"):
        plan_fix(path)
    (path / "utt2spk").write_bytes(bytes(1000))
    with pytest.raises(DataError, match="utt2spk: missing or without any good line"):
        plan_fix(path)


def test_audio_that_is_of_no_use_takes_its_utterances_along(make_data, segmented):
    path = make_data(tables=segmented)
    plan = plan_fix(path, lambda *_: {"rec2": "not found", "spk1-u4": "ends too late"})
    assert plan.num_utterances == 11
    reasons = {drop.key: drop.reason for drop in plan.drops}
    assert reasons["rec2"] == "not found"
    assert reasons["spk1-u4"] == "ends too late"
    assert {"spk2-u1", "spk2-u2", "spk2-u3", "spk2-u4"} <= reasons.keys()


@pytest.mark.parametrize("name", ["spk2utt", "segments", "utt2dur", "feats.scp"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_file_is_refused_and_never_waited_for(make_data, name, kind):
    path = make_data()
    (path / name).unlink(missing_ok=True)
    make = {"pipe": os.mkfifo, "link": lambda file: file.symlink_to("nowhere"), "folder": Path.mkdir}[kind]
    make(path / name)
    with pytest.raises(DataError, match=f"{name}: is not a regular file .*; remove it first"):
        plan_fix(path)


def test_tables_that_nothing_here_reads_are_filtered_and_drop_no_utterance(make_data):
    path = damaged(make_data("a"), "utt2spk", lambda lines: lines.pop(0))
    kept = UTTERANCES[1:] if sorted(UTTERANCES) == list(UTTERANCES) else sorted(UTTERANCES)[1:]
    (path / "text").write_text("".join(f"{key} hello\n" for key in sorted(UTTERANCES)[:4]))
    fixed(path)
    assert [line.split()[0] for line in (path / "text").read_text().splitlines()] == list(kept[:3])
    assert len((path / "utt2spk").read_text().splitlines()) == len(kept)
