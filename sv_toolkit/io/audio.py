"""Recordings to waveforms: one channel at one rate, whole or an error.

The rules:
- The content decides, not the file name.  WAV (RIFF, RF64; all codings of libsndfile), FLAC, Ogg, AIFF, AU, NIST
  SPHERE and MP3 are read; other containers are refused, because nothing would tell a cut file from a whole one.
- A file that holds less than its header promises is an error, and so is an MP3 without a Xing header; a streamed WAV (size 0 or about 2**31 or 2**32) is read to its end.
- Of several channels one must be chosen; there is no mixing.  Another sample rate is an error unless resampling is asked for.
- Numbers that are not finite are an error.  Float files may go beyond [-1, 1]: they are kept and counted in `clipped`.
- Recordings (or segments) longer than `max_duration` are an error before memory is taken for them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sv_toolkit.errors import AudioError, SvError, plain
from sv_toolkit.io.audio_files import archived, not_finite, num_frames, open_regular, opened_sound, soundfile_classes
from sv_toolkit.io.audio_headers import truncated

MAX_DURATION = 36_000.0  # seconds; ten hours are 2.3 GB at 16 kHz
PIPE_LIMIT = 1 << 32  # bytes
_INTEGER_CODINGS = ("PCM_", "ULAW", "ALAW")  # decoded values lie in [-1, 1) and are finite by construction
_BLOCK = 1 << 20
_SLACK = 0.01  # seconds by which a segment may end after its recording: ends are rounded to two decimals


@dataclass(frozen=True)
class AudioRequest:
    """What to read, and how.

    Attributes:
        path: value of the wav.scp line: a file name, or a command that ends in `|`.
        where: `wav.scp:3`, for messages.
        utterance_id: whose waveform it is.
        start, end: part of the recording, seconds; None for its beginning and its end.
        channel: which one, counted from 0; None demands that there is only one.
        sample_rate: hertz of the result.
        resample: convert other rates; without it they are an error.
        speed: factor by which the waveform (after cutting out the segment) is sped up; its pitch rises with it.
        max_duration: longest waveform, seconds.
        allow_pipes: run commands; only for data that one trusts.
    """

    path: str
    where: str
    utterance_id: str
    start: float | None = None
    end: float | None = None
    channel: int | None = None
    sample_rate: int = 16_000
    resample: bool = False
    speed: float = 1.0
    max_duration: float = MAX_DURATION
    allow_pipes: bool = False

    def __post_init__(self) -> None:
        if not (self.speed > 0 and self.sample_rate > 0):
            raise ValueError(f"speed and sample rate must be positive, got {self.speed} and {self.sample_rate}")


@dataclass
class Waveform:
    """`samples` `(num_samples,)` float32, nominally in [-1, 1); `clipped` counts those beyond, up to `peak`.

    `recorded_rate` is the sample rate, in hertz, before it was converted.
    """

    samples: np.ndarray
    clipped: int = 0
    peak: float = 0.0
    recorded_rate: int = 0


def read_waveform(request: AudioRequest) -> Waveform:
    """The waveform that `request` describes.

    Raises:
        AudioError: names the place and the reason, not the utterance.
    """
    try:
        with _opened(request) as (handle, offset):
            return _read(request, handle, offset)
    except AudioError as error:
        reason = str(error)
    except MemoryError:
        reason = "too long for the free memory; cut it into segments, or try a smaller --nj"
    place = f"{request.where}: " if request.where else ""
    raise AudioError(f"{place}{plain(request.path, 1000)}: {reason}")


@contextlib.contextmanager
def _opened(request: AudioRequest) -> Iterator[tuple[int, int]]:
    """Handle of a file, and where in it the recording begins."""
    path = request.path.strip()
    if "|" in (path[:1], path[-1:]):
        with _piped(path, request.allow_pipes) as handle:
            yield handle, 0
        return
    file, offset = archived(path)
    handle = open_regular(file)
    try:
        yield handle, offset
    finally:
        os.close(handle)


@contextlib.contextmanager
def _piped(command: str, is_allowed: bool) -> Iterator[int]:
    """The output of a `cmd |` line in a temporary file; a command that fails anywhere in its pipe line is an error."""
    if not is_allowed:
        raise AudioError("a pipe command is not run; --allow-pipes runs it, for data that you trust")
    if not command.endswith("|"):
        raise AudioError("a pipe command ends in '|'; one that begins with it would write")
    with tempfile.TemporaryFile() as output:
        script = f"set -o pipefail; {command[:-1]}"
        with subprocess.Popen(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while block := process.stdout.read(_BLOCK):
                output.write(block)
                if output.tell() > PIPE_LIMIT:
                    process.kill()
                    raise AudioError(f"the command wrote more than {PIPE_LIMIT} bytes; is it endless?")
        if process.returncode:
            raise AudioError(f"the command ended with status {process.returncode}: {shlex.quote(plain(command[:-1].strip()))}")
        output.flush()
        yield output.fileno()


def _read(request: AudioRequest, handle: int, offset: int) -> Waveform:
    with opened_sound(handle, offset) as sound:
        _check_sound(sound, request)
        samples = _decode(sound, request)
    waveform = _judged(samples, sound.subtype)
    waveform.recorded_rate = sound.samplerate
    waveform.samples = _converted(waveform.samples, sound.samplerate, request)
    return waveform


def _check_sound(sound: Any, request: AudioRequest) -> None:
    rate = sound.samplerate
    if rate != request.sample_rate and not request.resample:
        raise AudioError(f"sample rate is {rate} Hz, {request.sample_rate} Hz is needed; --resample converts it")
    if request.channel is None and sound.channels != 1:
        raise AudioError(f"has {sound.channels} channels; --channel chooses one (counted from 0), or reco2file_and_channel")
    if request.channel is not None and not 0 <= request.channel < sound.channels:
        raise AudioError(f"channel {request.channel} asked for, the file has {sound.channels} (counted from 0)")


def _decode(sound: Any, request: AudioRequest) -> np.ndarray:
    soundfile, _ = soundfile_classes()
    total = num_frames(sound)
    first, last = _part(request, sound.samplerate, total)
    limit = int(request.max_duration * sound.samplerate)
    if last is not None and last - first > limit:
        raise AudioError(
            f"too long: {(last - first) / sound.samplerate:.1f} s of sound, at most {request.max_duration:.1f} s are read; cut it into segments"
        )
    try:
        if last is None:
            return _cut(_read_to_end(sound, request.channel, limit), request, sound.samplerate)
        samples = _read_part(sound, first, last, request.channel)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"damaged or truncated: {plain(error.error_string)}; copy or download it again") from None
    if len(samples) < last - first:
        raise AudioError(truncated(last - first, len(samples)))
    return samples


def _read_part(sound: Any, first: int, last: int, channel: int | None) -> np.ndarray:
    if sound.format == "MP3":  # its decoder does not seek to the sample
        return _read_frames(sound, last, channel)[first:]
    if first:
        sound.seek(first)
    return _read_frames(sound, last - first, channel)


def _part(request: AudioRequest, rate: int, total: int | None) -> tuple[int, int | None]:
    """First sample and the one after the last; of a recording of unknown length, all of it."""
    if total is None:
        return 0, None
    first = round((request.start or 0.0) * rate)
    last = total if request.end is None else round(request.end * rate)
    if last > total + max(_SLACK * rate, 1) or first >= total:
        verb = "begins" if first >= total else "ends"
        span = f"{first / rate:.2f} to {last / rate:.2f} s"
        raise AudioError(f"segment {span} {verb} after the recording, whose duration is {total / rate:.2f} s")
    if first < 0 or last <= first:
        raise AudioError(f"segment {request.start} to {request.end} s is empty")
    return first, min(last, total)


def _cut(samples: np.ndarray, request: AudioRequest, rate: int) -> np.ndarray:
    if not len(samples):
        raise AudioError("holds no samples")
    first, last = _part(request, rate, len(samples))
    return samples[first:last]


def _read_frames(sound: Any, count: int, channel: int | None) -> np.ndarray:
    """Up to `count` samples of one channel; the memory is taken page by page as they arrive."""
    samples = np.empty(count, np.float32)
    if sound.channels == 1:
        return samples[: sound.buffer_read_into(samples, "float32")]
    filled = 0
    block = np.empty((max(_BLOCK // sound.channels, 1), sound.channels), np.float32)
    while filled < count:
        num = sound.buffer_read_into(block[: count - filled], "float32")
        if not num:
            break
        samples[filled : filled + num] = block[:num, channel]
        filled += num
    return samples[:filled]


def _read_to_end(sound: Any, channel: int | None, limit: int) -> np.ndarray:
    blocks, count = [], 0
    while len(block := _read_frames(sound, _BLOCK, channel)):
        blocks.append(block)
        count += len(block)
        if count > limit:
            raise AudioError(f"too long: more than {limit / sound.samplerate:.1f} s of sound; cut it into segments")
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _judged(samples: np.ndarray, subtype: str) -> Waveform:
    if subtype.startswith(_INTEGER_CODINGS):
        return Waveform(samples)
    peak = float(np.max(np.abs(samples)))
    if not np.isfinite(peak):
        raise AudioError(not_finite(int((~np.isfinite(samples)).sum()), len(samples)))
    return Waveform(samples, int((np.abs(samples) > 1).sum()) if peak > 1 else 0, peak)


def _converted(samples: np.ndarray, rate: int, request: AudioRequest) -> np.ndarray:
    """At the asked-for rate and speed: samples taken at `rate * speed` hertz last 1 / speed times as long."""
    if rate == request.sample_rate and request.speed == 1.0:
        return samples
    try:
        import soxr
    except ImportError as error:
        raise SvError(f"resampling needs the package soxr, which cannot be imported ({plain(error)}); pip install soxr") from None
    return soxr.resample(samples, rate * request.speed, request.sample_rate, quality="HQ")
