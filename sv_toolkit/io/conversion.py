"""Audio in containers that are not read here (M4A, video): converted by ffmpeg, where that is installed, to FLAC."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sv_toolkit.errors import AudioError, plain
from sv_toolkit.io.files import FILE_MODE, current_umask, make_directory

SUFFIXES = frozenset(
    (".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".wma", ".wmv", ".asf", ".mkv", ".mka", ".webm")
    + (".avi", ".mpg", ".mpeg", ".amr", ".ac3", ".caf", ".mp3", ".opus")
)
INSTALL = "apt-get install ffmpeg (macOS: brew install ffmpeg; conda install -c conda-forge ffmpeg), then run this again"
LONGEST = 3600.0  # seconds that a conversion may take


def can_convert(path: str) -> bool:
    """Whether the name says that ffmpeg may know what is in the file."""
    return Path(path).suffix.lower() in SUFFIXES


def convert(source: str, target: Path) -> None:
    """Write the first sound track of `source` to the FLAC file `target`, 16 bits, at its own rate, with all of its channels.

    A target that is newer than its source is left as it is.  ffmpeg may open local files alone, and no shell sees the name.

    Raises:
        AudioError: with the reason alone; where ffmpeg is missing, what installs it.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(f"{Path(source).suffix.lstrip('.').upper()} is read with ffmpeg, which is not installed: {INSTALL}")
    if target.is_file() and target.stat().st_mtime >= Path(source).stat().st_mtime:
        return
    make_directory(target.parent)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    try:
        _run([program, "-nostdin", "-y", "-v", "error", "-protocol_whitelist", "file", "-i", f"file:{source}"], temporary)
        Path(temporary).chmod(FILE_MODE & ~current_umask())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _run(command: list[str], output: str) -> None:
    command = [
        *command,
        "-map",
        "0:a:0",
        "-vn",
        "-map_metadata",
        "-1",
        "-c:a",
        "flac",
        "-sample_fmt",
        "s16",
        "-f",
        "flac",
        f"file:{output}",
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        raise AudioError(f"ffmpeg took more than {LONGEST:g} s") from None
    except OSError as error:
        raise AudioError(f"ffmpeg cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise AudioError(f"ffmpeg cannot read it: {plain(said[-1]) if said else f'status {done.returncode}'}")
