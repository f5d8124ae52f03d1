from __future__ import annotations

import json

import pytest

from sv_toolkit.data import output
from sv_toolkit.data.output import write_new_files, write_output
from sv_toolkit.errors import OutputError
from sv_toolkit.io import files, work
from sv_toolkit.io.files import locked

TEXTS = {"utt2spk": "u1 s\n", "wav.scp": "u1 x.wav\n", "1/utt2spk": "u1 s\n"}
JOB = {"command": "sv-test"}


def content(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_the_same_work_is_done_once(tmp_path):
    assert write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    before = content(tmp_path / "out")
    assert not write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path / "out") == before
    assert sorted(before) == ["1/utt2spk", "data.manifest.json", "utt2spk", "wav.scp"]


def test_other_work_is_refused_unless_it_may_be_overwritten(tmp_path):
    write_output(tmp_path / "out", {**TEXTS, "segments": "u1 u1 0 1\n"}, JOB, {}, overwrite=False)
    before = content(tmp_path / "out")
    with pytest.raises(OutputError, match="--overwrite"):
        write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path / "out") == before
    assert write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=True)
    write_output(tmp_path / "new", TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path / "out") == content(tmp_path / "new")


@pytest.mark.parametrize("name", ["wav.scp", "1/utt2spk", "spk2utt"])
def test_overwriting_that_fails_leaves_what_was_there(name, tmp_path, monkeypatch):
    write_output(tmp_path / "out", {**TEXTS, "segments": "u1 u1 0 1\n"}, JOB, {}, overwrite=False)
    before = content(tmp_path / "out")
    write = files.os.fsync

    def full(handle):
        if files.os.readlink(f"/proc/self/fd/{handle}").rpartition("/")[2].startswith(f".{name.rpartition('/')[2]}."):
            raise OSError(28, "No space left on device")
        write(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_output(tmp_path / "out", {**TEXTS, "spk2utt": "s u1\n"}, JOB, {}, overwrite=True)
    assert str(caught.value.filename).endswith(name.rpartition("/")[2])
    assert content(tmp_path / "out") == before


def test_a_directory_with_foreign_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_output(tmp_path, TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_a_changed_file_is_written_again(tmp_path):
    write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    before = content(tmp_path / "out")
    (tmp_path / "out" / "utt2spk").write_text("u1 other\n")
    assert write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("num_written", range(5))
def test_a_run_that_was_killed_is_finished_by_the_same_command(tmp_path, monkeypatch, num_written):
    write_output(tmp_path / "clean", TEXTS, JOB, {}, overwrite=False)
    calls = 0

    def dying_write(path, text):
        nonlocal calls
        calls += 1
        if calls > num_written:
            (path.parent / f".{path.name}.abcd1234.tmp").write_text("half")
            raise KeyboardInterrupt
        path.write_text(text)

    def dying_writes(texts, before):
        before()
        for path, text in texts.items():
            dying_write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(output, "write_text", dying_write)
        patch.setattr(output, "write_together", dying_writes)
        patch.setattr(work, "write_text", dying_write)
        patch.setattr(work, "write_manifest", lambda *_: dying_write(tmp_path / "out" / "data.manifest.json", "{}"))
        with pytest.raises(KeyboardInterrupt):
            write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    (tmp_path / "out" / ".lock").touch()
    (tmp_path / "out" / "data.manifest.json").unlink(missing_ok=True)
    assert write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_a_run_that_was_killed_at_its_very_end_leaves_no_trace(tmp_path):
    write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    before = content(tmp_path / "out")
    (tmp_path / "out" / ".data.started").write_text("x")
    (tmp_path / "out" / ".lock").touch()
    assert not write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)
    assert content(tmp_path / "out") == before


def test_two_writers_never_share_a_directory(tmp_path):
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="in use"):
        write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=False)


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        write_output(tmp_path / "out", TEXTS, JOB, {}, overwrite=True)


def test_single_files_are_not_replaced_by_others(tmp_path):
    write_new_files({tmp_path / "a": b"1", tmp_path / "new" / "b": b"2"}, overwrite=False)
    write_new_files({tmp_path / "a": b"1", tmp_path / "c": b"3"}, overwrite=False)
    with pytest.raises(OutputError, match="--overwrite"):
        write_new_files({tmp_path / "d": b"4", tmp_path / "a": b"x"}, overwrite=False)
    assert sorted(content(tmp_path)) == ["a", "c", "new/b"]
    write_new_files({tmp_path / "a": b"x"}, overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"x"


def test_temporary_files_of_a_killed_run_go_and_others_stay(tmp_path):
    for name in (".a.abcd1234.tmp", ".other.abcd1234.tmp"):
        (tmp_path / name).touch()
    write_new_files({tmp_path / "a": b"1"}, overwrite=False)
    assert sorted(content(tmp_path)) == [".other.abcd1234.tmp", "a"]


def test_nothing_is_deleted_through_a_link_to_elsewhere(tmp_path):
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.mkdir()
    (victim / "two").write_text("precious")
    write_output(out, TEXTS, JOB, {}, overwrite=False)
    (out / "link").symlink_to(victim)
    manifest = out / "data.manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["link/two"] = {"size": 8, "sha256": "x"}
    manifest.write_text(json.dumps(content))
    write_output(out, TEXTS, {"command": "sv-other"}, {}, overwrite=True)
    assert (victim / "two").read_text() == "precious"


def test_marks_of_a_started_run_may_hold_any_bytes(tmp_path):
    (tmp_path / ".data.started").write_bytes(b"\xff\xfe")
    (tmp_path / "utt2spk").write_text("u1 s\n")
    with pytest.raises(OutputError, match="not empty"):
        write_output(tmp_path, TEXTS, JOB, {}, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("place", ["out", "link", "out/1", "out/2"])
def test_what_was_read_is_never_replaced(tmp_path, overwrite, place):
    out = tmp_path / "out"
    write_output(out, {**TEXTS, "2/utt2spk": "u1 s\n"}, JOB, {}, overwrite=False)
    (tmp_path / "link").symlink_to(out)
    before = content(out)
    with pytest.raises(OutputError, match="would replace its own input .*; give another output directory"):
        write_output(out, TEXTS, {"command": "sv-other"}, {}, overwrite, [tmp_path / "elsewhere", tmp_path / place])
    assert content(out) == before


def test_output_within_the_source_is_fine(tmp_path):
    write_output(tmp_path / "data", {"utt2spk": "u1 s\n"}, JOB, {}, overwrite=False)
    assert write_output(tmp_path / "data/split1", {"1/utt2spk": "u1 s\n"}, JOB, {}, False, [tmp_path / "data"])
    assert (tmp_path / "data" / "utt2spk").exists()
