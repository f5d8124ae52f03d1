from __future__ import annotations

import os

import pytest

from sv_toolkit.data import repair
from sv_toolkit.data.repair import fix
from sv_toolkit.data.stored import manifest_problems
from sv_toolkit.data.validation import validate
from sv_toolkit.errors import DataError
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest


@pytest.fixture
def damaged(make_data):
    """One utterance contradicts itself, one file is not sorted; a manifest lists one of the files."""

    def make(name):
        path = make_data(name)
        (path / "wav.scp").write_text((path / "wav.scp").read_text() + "spk1-u3 other.wav\n")
        write_manifest(path, Manifest("data", {"command": "sv-x"}, {}, {"utt2spk": describe_file(path / "utt2spk")}))
        return path

    return make


def content(path):
    """Everything below `path`; its own name stands in places like `data/wav.scp:3` and is masked."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes().replace(str(path).encode(), b"@") for file in files}


def test_originals_and_a_list_of_what_was_dropped_are_kept(damaged):
    path = damaged("data")
    before = content(path)
    plan, changed = fix(path)
    assert validate(path) == []
    assert changed == ["dropped.tsv", "spk2utt", "utt2spk", "wav.scp"]
    lines = (path / "dropped.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["spk1-u3", "spk1-u3"]
    assert all(len(line.split("\t")) == 3 for line in lines)
    backup = content(path / ".backup" / "1")
    assert {name: backup[name] for name in ("utt2spk", "spk2utt")} == {name: before[name] for name in ("utt2spk", "spk2utt")}


def test_a_second_run_does_nothing(damaged):
    path = damaged("data")
    fix(path)
    before = content(path)
    assert fix(path)[1] == []
    assert content(path) == before


def test_each_fix_has_its_own_backup(damaged):
    path = damaged("data")
    fix(path)
    (path / "wav.scp").write_text((path / "wav.scp").read_text() + "\n")
    fix(path)
    assert sorted(folder.name for folder in (path / ".backup").iterdir()) == ["1", "2"]


def test_manifests_stay_true_but_the_job_is_another(damaged):
    path = damaged("data")
    fix(path)
    assert manifest_problems(path) == []
    assert "sv-fix-data" in (path / "data.manifest.json").read_text()


@pytest.mark.parametrize("num_writes", range(12))
def test_a_fix_that_was_killed_is_undone_and_made_anew(damaged, monkeypatch, num_writes):
    clean = damaged("clean")
    fix(clean)
    path = damaged("data")
    calls = 0

    def dying(function):
        def call(*args):
            nonlocal calls
            calls += 1
            if calls > num_writes:
                raise KeyboardInterrupt
            return function(*args)

        return call

    with monkeypatch.context() as patch:
        for name in ("write_text", "write_manifest", "_copy"):
            patch.setattr(repair, name, dying(getattr(repair, name)))
        try:
            fix(path)
        except KeyboardInterrupt:
            assert (path / ".backup.open").is_dir()
    fix(path)
    assert content(path) == content(clean)


@pytest.mark.parametrize("names", [b"../victim\n", b"/{victim}\n", b"utt2spk\n..\n", b"\n", b"\xff\n", b"a\x1b[2J\n"])
def test_a_backup_from_elsewhere_deletes_nothing_of_other_places(damaged, tmp_path, names):
    path, victim = damaged("data"), tmp_path / "victim"
    victim.write_text("precious")
    (path / ".backup.open").mkdir()
    (path / ".backup.open" / "absent").write_bytes(names.replace(b"/{victim}", str(victim).encode()))
    before = content(path)
    with pytest.raises(DataError, match="not a backup of sv-fix-data"):
        fix(path)
    assert content(path) == before
    assert victim.read_text() == "precious"


def test_a_backup_that_is_a_link_or_holds_one_is_refused(damaged, tmp_path):
    path, elsewhere = damaged("data"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "absent").write_text("utt2spk\n")
    (path / ".backup.open").symlink_to(elsewhere)
    with pytest.raises(DataError, match="not a backup of sv-fix-data"):
        fix(path)
    assert (path / "utt2spk").exists()


def test_a_pipe_in_the_place_of_the_list_of_what_was_dropped_is_refused(make_data):
    path = make_data()
    os.mkfifo(path / "dropped.tsv")
    (path / "spk2utt").write_text("wrong\n")
    with pytest.raises(DataError, match="dropped.tsv: is not a regular file"):
        fix(path)
    assert (path / "spk2utt").read_text() == "wrong\n"
