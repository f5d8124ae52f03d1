"""Files are whole or absent; a directory has one writer."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sv_toolkit.errors import OutputError
from sv_toolkit.io import files
from sv_toolkit.io.files import (
    locked,
    loose_permissions,
    make_directory,
    regular_file,
    remove_leftovers,
    sha256_bytes,
    sha256_file,
    whole_binary,
    whole_file,
    write_lone_text,
    write_text,
)

ROOT = Path(files.__file__).parents[2]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_text_is_utf_8_with_unix_line_ends_in_every_locale(tmp_path):
    code = f"from sv_toolkit.io.files import write_text; from pathlib import Path; write_text(Path({str(tmp_path / 'x')!r}), '\\u0438\\u0434 \\xe9\\n')"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
    assert (tmp_path / "x").read_bytes() == "ид é\n".encode()


def test_nothing_is_seen_before_the_end(tmp_path):
    with whole_file(tmp_path / "x") as stream:
        stream.write("a" * 100_000)
        stream.flush()
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_text() == "a" * 100_000
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("writer", [whole_file, whole_binary])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, writer):
    write_text(tmp_path / "x", "old")
    with pytest.raises(KeyError), writer(tmp_path / "x") as stream:
        stream.write("new" if writer is whole_file else b"new")
        raise KeyError
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_text_that_was_given_up_reaches_no_other_file(tmp_path):
    with contextlib.ExitStack() as stack:
        try:
            with whole_file(tmp_path / "x") as stream:
                stream.write("given up")
                raise KeyError
        except KeyError:
            other = stack.enter_context(open(tmp_path / "other", "wb"))  # takes the number of the handle that was closed
        del stream
        gc.collect()
        other.write(b"mine")
    assert (tmp_path / "other").read_bytes() == b"mine"


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    code = f"""
import resource
from pathlib import Path
from sv_toolkit.io.files import whole_file
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with whole_file(Path({str(tmp_path)!r}) / "x") as stream:
        for _ in range(10000):
            stream.write("abc")
except OSError as error:
    print(error.errno, Path(error.filename).name)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["27", "x"]  # EFBIG, of which file
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_goes_away(tmp_path):
    write_text(tmp_path / "x", "old")
    code = f"""
import os, signal
from pathlib import Path
from sv_toolkit.io.files import whole_file
with whole_file(Path({str(tmp_path)!r}) / "x") as stream:
    stream.write("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    assert (tmp_path / "x").read_text() == "old"
    assert len(names(tmp_path)) == 2
    (tmp_path / ".mine.tmp").write_text("not a leftover")
    with locked(tmp_path):
        assert names(tmp_path) == [".lock", ".mine.tmp", "x"]


def test_leftovers_that_are_links_or_folders_stay(tmp_path):
    (tmp_path / ".a.12345678.tmp").mkdir()
    (tmp_path / ".b.12345678.tmp").symlink_to(tmp_path / "x")
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_files_are_never_readable_by_the_world(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "x", "")
    finally:
        assert os.umask(before) == umask
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_devices_and_directories_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OutputError, match="is not a regular file and will not be replaced"):
            write_text(tmp_path / name, "x")


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    write_text(tmp_path / "target", "old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new"


def test_a_directory_is_made_with_its_parents_or_refused(tmp_path):
    assert make_directory(tmp_path / "a" / "b").is_dir()
    assert make_directory(tmp_path / "a" / "b").is_dir()
    write_text(tmp_path / "file", "")
    with pytest.raises(OutputError, match="is a file, a directory is needed"):
        make_directory(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot make the directory: Not a directory"):
        make_directory(tmp_path / "file" / "x")


def test_a_read_only_directory_is_refused(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o555)
    with pytest.raises(OutputError, match="permission denied"):
        make_directory(tmp_path)


def test_a_world_writable_directory_is_remarked_on(tmp_path):
    tmp_path.chmod(0o750)
    assert loose_permissions(tmp_path) is None
    tmp_path.chmod(0o777)
    assert "world-writable" in loose_permissions(tmp_path)
    tmp_path.chmod(0o1777)
    assert loose_permissions(tmp_path) is None


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path):
    with locked(tmp_path):
        with pytest.raises(OutputError, match=rf"in use by process {os.getpid()} on .*; wait for it or stop it"), locked(tmp_path):
            pass
        assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        pass
    assert names(tmp_path) == []


def hold(directory, ready):
    with locked(directory):
        ready.set()
        time.sleep(60)


def test_the_lock_dies_with_its_process(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(OutputError, match=f"in use by process {holder.pid}"), locked(tmp_path):
        pass
    holder.kill()
    holder.join()
    with locked(tmp_path):
        pass


def test_a_worker_that_outlives_a_killed_writer_does_not_keep_the_lock(tmp_path):
    code = f"""
import os, signal, sys, time
from pathlib import Path
from sv_toolkit.io.files import locked
with locked(Path({str(tmp_path)!r})):
    worker = os.fork()
    if not worker:
        os.close(1)
        time.sleep(60)
    print(worker, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    writer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(writer.stdout)
    try:
        with locked(tmp_path):
            os.kill(worker, 0)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_of_many_that_start_at_once_one_writes_at_a_time(tmp_path):
    code = f"""
import os, time
from pathlib import Path
from sv_toolkit.errors import OutputError
from sv_toolkit.io.files import locked
folder, marker = Path({str(tmp_path)!r}), Path({str(tmp_path / "busy")!r})
for _ in range(200):
    try:
        with locked(folder):
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            marker.unlink()
    except OutputError:
        pass
"""
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "precious", "data")
    with pytest.raises(OSError), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "data"


def test_digests_are_those_of_sha256(tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_only_plain_files_are_regular(tmp_path):
    write_text(tmp_path / "x", "")
    (tmp_path / "link").symlink_to("x")
    os.mkfifo(tmp_path / "pipe")
    assert regular_file(tmp_path / "x")
    assert regular_file(tmp_path / "link")
    assert not any(regular_file(path) for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", Path("/dev/null")))


def test_a_name_that_is_not_utf_8_is_refused_in_one_line(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    with pytest.raises(OutputError, match="is UTF-8 text, and a name that belongs in it is not") as caught:
        files.write_text(tmp_path / "table", f"utt {odd}/x.ark:3\n")
    assert str(caught.value).isprintable() and not list(tmp_path.iterdir())


def test_a_lone_text_is_written_into_a_new_folder_and_leftovers_of_killed_runs_go(tmp_path):
    path = tmp_path / "new/report.html"
    write_lone_text(path, "one")
    for name in (".report.html.abcd1234.tmp", ".report.htm.abcd1234.tmp"):
        (path.parent / name).write_text("half")
    write_lone_text(path, "two")
    assert path.read_text() == "two"
    assert sorted(file.name for file in path.parent.iterdir()) == [".report.htm.abcd1234.tmp", "report.html"]


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "a\x1b[2J", "a\nb/c"])
def test_a_directory_whose_paths_no_table_can_hold_is_refused_before_it_is_made(tmp_path, name):
    with pytest.raises(OutputError, match="control characters"), locked(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failed_read_or_write_names_the_file(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output") as caught:
        files.write_text(tmp_path / "x", "text")
    assert caught.value.filename == str(tmp_path / "x") and names(tmp_path) == []


def test_a_lock_whose_name_cannot_be_removed_does_not_spoil_what_was_written(tmp_path, monkeypatch):
    def broken(self, missing_ok=False):
        raise OSError(errno.EIO, "Input/output error")

    with locked(tmp_path):
        (tmp_path / "x").write_text("done")
        monkeypatch.setattr(Path, "unlink", broken)
    monkeypatch.undo()
    with locked(tmp_path):
        assert (tmp_path / "x").read_text() == "done"


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.raises(OutputError, match="gives no lock .No locks available"), locked(tmp_path):
        pass


def test_files_written_together_do_not_replace_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "b")
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputError, match="b: is not a regular file and will not be replaced"):
        files.write_together({tmp_path / "a": "new", tmp_path / "b": "new"}, (tmp_path / "a").unlink)
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
