"""Sound that goes on after what a file's first header says: decoders read the first part alone and say nothing.

`cat a.flac b.flac`, chained Ogg streams (legal by RFC 3533, section 4) and joined MP3 files hold a second stream.  A WAV
recorder that dies leaves the length of its last save, and beyond 4 GiB the length wraps: sound follows the data chunk.
All of them are refused, as a part of a recording would pass for the whole.
"""

from __future__ import annotations

import mmap
import re
import struct

from sv_toolkit.errors import AudioError
from sv_toolkit.io.audio_stream import Stream

PADDING = 4096  # zeros that programs add to fill a block of the disk
_JOIN = "write it anew as one stream, for example: ffmpeg -i IN -ac 1 OUT.wav"
_FLAC_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # its first block is always STREAMINFO, of 34 bytes
_OGG_PAGE = re.compile(rb"OggS\0(.)", re.DOTALL)
_OGG_FIRST_PAGE = re.compile(rb"OggS\0[\x02\x03\x06\x07].{12}\0\0\0\0", re.DOTALL)  # begins a stream: page number 0
_MP3_LENGTH = re.compile(rb"\xff[\xe2-\xff].{2}\0{9,36}(?:Xing|Info)", re.DOTALL)
_MORE_SOUND = (b"RIFF", b"RF64", b"RIFX", b"FORM", b"data", b"SSND")
_NO_SOUND = (b"TAG", b"ID3", b"LIST", b"id3 ", b"bext", b"fact", b"cue ", b"smpl", b"iXML", b"JUNK", b"junk", b"PAD ", b"LGWV")


def refuse_second_stream(stream: Stream) -> None:
    """A FLAC, Ogg or MP3 file must hold one stream.

    Raises:
        AudioError: another one begins in it; with the reason alone.
    """
    magic = stream.head[:4]
    data = mmap.mmap(stream.handle, stream.size, access=mmap.ACCESS_READ)  # goes when the matches in it do
    if magic == b"fLaC":
        second = _FLAC_START.search(data, 4)
    elif magic == b"OggS":
        body = next((page for page in _OGG_PAGE.finditer(data) if not page[1][0] & 2), None)
        second = _OGG_FIRST_PAGE.search(data, body.start()) if body else None
    else:
        _refuse_mp3_tail(stream, data)
        first = _MP3_LENGTH.search(data)
        second = _MP3_LENGTH.search(data, first.end()) if first else None
    if second:
        raise AudioError(_goes_on(f"another stream begins at byte {second.start()}"))


def refuse_tail(stream: Stream, end: int, order: str) -> None:
    """What follows the sound of a WAV or AIFF file at byte `end` must be chunks of another kind, or padding.

    Args:
        order: of the bytes of a chunk's size, "<" or ">".

    Raises:
        AudioError: it is neither; with the reason alone.
    """
    rest = stream.size - end
    if rest < 8 or stream.read(end, 3) in _NO_SOUND[:2] or _is_padding(stream, end):
        return
    for start in (end + end % 2, end):  # some programs leave out the byte that makes a chunk even
        if _are_chunks(stream, order, start):
            return
    raise AudioError(_goes_on(f"{rest} bytes follow the sound, and they are not chunks"))


def refuse_bytes_after(stream: Stream, end: int) -> None:
    """Nothing but padding may follow the sound of an AU or SPHERE file at byte `end`.

    Raises:
        AudioError: with the reason alone.
    """
    if stream.size - end >= 8 and not _is_padding(stream, end):
        raise AudioError(_goes_on(f"{stream.size - end} bytes follow the sound"))


def _goes_on(found: str) -> str:
    return f"sound goes on after what the first header says: {found}; only the first part would be read: {_JOIN}"


def _is_padding(stream: Stream, start: int) -> bool:
    rest = stream.size - start
    return rest <= PADDING and not stream.read(start, rest).strip(b"\0")


def _are_chunks(stream: Stream, order: str, offset: int) -> bool:
    while offset + 8 <= stream.size:
        name, size = struct.unpack(order + "4sI", stream.read(offset, 8))
        if name in _MORE_SOUND or not (name.isascii() and name.decode("ascii").isprintable()):
            return False
        offset += 8 + size + size % 2
        if offset > stream.size + 1:
            return name in _NO_SOUND  # notes that were cut; the sound before them is whole
    return True


def _refuse_mp3_tail(stream: Stream, data: mmap.mmap) -> None:
    """Frames of sound after the bytes that the length header counts (and after tags) belong to another file."""
    found = re.compile(rb"(?:Xing|Info)(.{12})|VBRI.{6}(.{4})", re.DOTALL).search(data, 0, min(len(data), _mp3_start(stream) + 1024))
    if not found:
        return
    flags, _, count = struct.unpack(">III", found[1]) if found[1] else (3, 0, *struct.unpack(">I", found[2]))
    frame = data.rfind(b"\xff", 0, found.start() - 3) if flags & 3 == 3 else -1
    if frame < 0:
        return
    head, end = data[frame : frame + 2], frame + count
    while 0 <= end < len(data):  # tags may stand between; a frame of the same kind must not
        end = data.find(head, end)
        if end < 0 or data[end - 3 : end] == b"TAG":
            return
        if _are_frames(data, end):
            raise AudioError(_goes_on(f"frames go on at byte {end}"))
        end += 1


_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_BITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


def _are_frames(data: mmap.mmap, offset: int, count: int = 3) -> bool:
    """True if `count` frames of MPEG layer III follow each other from `offset`, or so many as there is room for."""
    for place in range(count):
        head = data[offset : offset + 4]
        if len(head) < 4:
            return place > 0
        version, bits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
        if head[0] != 0xFF or head[1] >> 5 != 7 or version == 1 or head[1] >> 1 & 3 != 1 or rate == 3 or not 0 < bits < 15:
            return False
        samples_by_8 = 144_000 if version == 3 else 72_000
        offset += samples_by_8 * _BITS[version != 3][bits] // _RATES[version][rate] + (head[2] >> 1 & 1)
    return True


def _mp3_start(stream: Stream) -> int:
    """Where the first frame begins: after the ID3 tag."""
    if stream.head[:3] != b"ID3":
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(stream.head[6:10], (21, 14, 7, 0)))


def is_mpeg(stream: Stream) -> bool:
    """True for what libmpg123 decodes, which writes to the terminal: an MP3 file, or MPEG sound in a WAV file."""
    head = stream.head
    coding = head.find(b"fmt ", 0, 2048)
    in_wav = head[:4] in (b"RIFF", b"RF64") and coding >= 0 and head[coding + 8 : coding + 10] in (b"\x50\0", b"\x55\0")
    return in_wav or head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] >> 5 == 7)


def mp3_length_header(stream: Stream) -> bool:
    """True if the first frame tells the length (a Xing, Info or VBRI header)."""
    return re.search(rb"Xing|Info|VBRI", stream.read(_mp3_start(stream), 1024)) is not None
