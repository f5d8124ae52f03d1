"""Files that are whole or absent, digests, and one writer per directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from sv_toolkit.errors import OutputError, plain

FILE_MODE = 0o640  # voiceprints and speaker lists are personal data: never world-readable
DIRECTORY_MODE = 0o750
CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # C0 without tab, delete, C1: the ones that drive terminals
BETWEEN_ATTEMPTS = 0.02  # seconds between two looks at a lock that another process holds


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Write text that appears at `path` only when the block ends without an error.

    Raises:
        OutputError: some of it is not UTF-8.
    """
    with whole_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
        try:
            yield text
            text.flush()
        except UnicodeEncodeError as error:
            raise _no_utf8(path, error) from None
        finally:
            text.detach()


def write_together(texts: Mapping[Path, str], before: Callable[[], None]) -> None:
    """Write all of `texts` beside where they belong, call `before`, and only then put them in place.

    What fails while they are written (a full disk) leaves all files as they were, and `before` is not called.
    """
    waiting: dict[Path, Path] = {}
    try:
        for path, text in texts.items():
            handle, waiting[path] = _temporary_beside(path)
            with _filled(handle, path) as stream:
                stream.write(_utf8(path, text))
        before()
        for path, temporary_path in waiting.items():
            temporary_path.replace(path)
    except BaseException:
        for temporary_path in waiting.values():
            with contextlib.suppress(OSError):
                temporary_path.unlink(missing_ok=True)
        raise


def _temporary_beside(path: Path) -> tuple[int, Path]:
    """Handle and name of a new file beside its target, so that the rename never crosses a file system."""
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode) and not path.is_symlink():
        raise OutputError(f"{plain(path)}: is not a regular file and will not be replaced")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    return handle, Path(temporary)


@contextlib.contextmanager
def _filled(handle: int, path: Path) -> Iterator[BinaryIO]:
    """The stream of a temporary file for `path`; when the block ends its bytes are on the disk, with the mode of a finished file."""
    with io.BufferedWriter(_Named(handle, path)) as stream:
        yield stream
        stream.flush()
        with _naming(path):
            os.fchmod(stream.fileno(), FILE_MODE & ~current_umask())
            os.fsync(stream.fileno())


def _utf8(path: Path, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _no_utf8(path, error) from None


def _no_utf8(path: Path, error: UnicodeEncodeError) -> OutputError:
    """For a name of a file that is not UTF-8: Python holds its bytes as surrogates."""
    odd = plain(error.object[max(0, error.start - 40) : error.end + 10])
    return OutputError(f"{plain(path)}: is UTF-8 text, and a name that belongs in it is not: {odd}; rename that file")


@contextlib.contextmanager
def whole_binary(path: Path) -> Iterator[BinaryIO]:
    """Write bytes that appear at `path` only when the block ends without an error."""
    path = Path(path)
    handle, temporary = _temporary_beside(path)
    try:
        with _filled(handle, path) as stream:
            yield stream
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Errors of the system in the block carry the name of the file: a read or a write does not know what it works on."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


class _Named(io.FileIO):
    """A file to write to whose errors carry the name that it is going to have."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "wb")
        self._path = path

    def write(self, data: Any) -> int:
        with _naming(self._path):
            return super().write(data)


def write_text(path: Path, text: str) -> None:
    """The whole `text`, or nothing, at `path`."""
    with whole_file(path) as stream:
        stream.write(text)


def read_json(path: Path) -> Any:
    """The JSON value in the text file at `path`.

    Raises:
        ValueError: there is something else in it, or half a character that could not be written out again.
        RecursionError: it is nested too deeply.
        OSError: it is missing, or no regular file.
    """
    if not regular_file(path) and Path(path).exists():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    value = json.loads(Path(path).read_text(encoding="utf-8"))
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # a surrogate alone is no character
    return value


def current_umask() -> int:
    """The permission bits that new files are denied."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def make_directory(path: Path) -> Path:
    """`path` as a directory that can be written to.

    Raises:
        OutputError: it is a file, its parents cannot be written, or no table could hold the paths of files in it.
    """
    if CONTROL.search(os.path.abspath(path)):  # noqa: PTH100 (links stay links)
        raise OutputError(f"{plain(path)}: the path holds control characters, which tables cannot hold; choose another")
    if path.exists() and not path.is_dir():
        raise OutputError(f"{plain(path)}: is a file, a directory is needed")
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{plain(path)}: cannot make the directory: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{plain(path)}: permission denied: the directory is read-only")
    return path


def loose_permissions(path: Path) -> str | None:
    """A sentence if others may write into the directory `path`, else None."""
    mode = path.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return f"{plain(path)}: the directory is world-writable (mode {mode & 0o777:o}); chmod o-w protects what is written there"
    return None


def remove_leftovers(directory: Path) -> None:
    """Drop the temporary files of writers that were killed; call it while holding the lock."""
    for leftover in directory.glob(".*.????????.tmp"):
        if leftover.is_file() and not leftover.is_symlink():
            leftover.unlink()


def remove_leftovers_of(path: Path) -> None:
    """Drop what killed writers of the file `path` left beside it; for files that no lock protects and one run writes."""
    for leftover in path.parent.glob(f".{escape(path.name)}.????????.tmp"):
        leftover.unlink(missing_ok=True)


def write_lone_text(path: Path, text: str) -> None:
    """Write a text file that one run owns, whole; its folder is made, and what a killed run left of it goes."""
    path = make_directory(path.parent) / path.name
    remove_leftovers_of(path)
    write_text(path, text)


_held_locks: set[int] = set()


def _drop_inherited_locks() -> None:
    """A lock lives as long as any process holds a copy of its handle: a forked worker must not outlive its parent with one."""
    for handle in _held_locks:
        os.close(handle)
    _held_locks.clear()


os.register_at_fork(after_in_child=_drop_inherited_locks)


@dataclass
class Lock:
    """A held lock of a directory: of its only writer, or of one among several that write different files (`is_shared`)."""

    handle: int
    is_shared: bool

    def share(self) -> None:
        """Let others that can share the lock in, too."""
        fcntl.flock(self.handle, fcntl.LOCK_SH)
        self.is_shared = True


@contextlib.contextmanager
def locked(directory: Path, wait: float = 0.0, may_share: Callable[[], bool] = lambda: False) -> Iterator[Lock]:
    """The only writer of `directory`; the lock dies with the process, however it ends.

    Args:
        wait: seconds to wait for another writer.
        may_share: whether it is enough to be one of several writers; asked while others hold the lock.

    Raises:
        OutputError: another process holds it: says which, where and since when.
    """
    path = make_directory(directory) / ".lock"
    lock = _take_lock(path, directory, time.monotonic() + wait, may_share)
    _held_locks.add(lock.handle)
    try:
        with contextlib.suppress(OSError):  # a full disk: the name of the holder is for messages only
            os.ftruncate(lock.handle, 0)
            os.pwrite(lock.handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        if not lock.is_shared:
            remove_leftovers(directory)
        yield lock
    finally:
        if not lock.is_shared or _flock(lock.handle, fcntl.LOCK_EX):  # the last of several writers takes the name away
            with contextlib.suppress(OSError):  # the name may stay: the lock goes with the handle
                path.unlink()
        _held_locks.discard(lock.handle)
        os.close(lock.handle)


def _take_lock(path: Path, directory: Path, deadline: float, may_share: Callable[[], bool]) -> Lock:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        try:
            is_alone = _flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # ENOLCK: two writers at once would not notice each other
            os.close(handle)
            raise OutputError(
                f"{plain(directory)}: the file system gives no lock ({error.strerror}); write to another one, or mount it with locks"
            ) from None
        if not is_alone and not (may_share() and _flock(handle, fcntl.LOCK_SH)):
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(handle)
            if time.monotonic() < deadline:
                time.sleep(BETWEEN_ATTEMPTS)
                continue
            raise OutputError(f"{plain(directory)}: in use by {plain(holder)}; wait for it or stop it") from None
        if _is_same_file(path, handle):
            return Lock(handle, not is_alone)
        os.close(handle)  # the holder before us removed the name between our open and our lock


def _flock(handle: int, kind: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream, _naming(path):
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def regular_file(path: Path) -> bool:
    """True for a plain file (after links); False for devices, pipes, directories and what is missing."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False
