#!/usr/bin/env python3
"""Make data directories of LibriSpeech readers, one recording of each, cut into pieces; `--help` shows how."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FiniteRange, SvCommand, overwrite_option
from sv_toolkit.errors import DataError
from sv_toolkit.io.audio_files import read_header

NAME = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d{4}")
PIECE = 2.4  # seconds of the pieces of held-out readers
SHORT, NUM_SHORT, LONG_ENOUGH = 1.6, 6, 10.0  # seconds of short pieces, how many of them, and of recordings that are cut so
Cut = Callable[[float], list[tuple[float, float]]]


def first_recordings(corpus: Path) -> dict[str, Path]:
    """Reader -> the first file of theirs, readers in the order of their numbers."""
    found: dict[str, Path] = {}
    for file in sorted(corpus.glob("*/*/*.flac")):
        name = NAME.fullmatch(file.stem)
        if name is None:
            raise DataError(f"{file}: the name is not SPEAKER-CHAPTER-NUMBER, as the release has it")
        found.setdefault(name["speaker"], file)
    if not found:
        raise DataError(f"{corpus}: no SPEAKER/CHAPTER/*.flac there; CORPUS must be the folder train-clean-100")
    return {speaker: found[speaker] for speaker in sorted(found, key=int)}


def held_out(speakers: list[str], count: int) -> set[str]:
    """`count` readers, evenly spread over their numbers."""
    if not 0 <= count <= len(speakers) - 2:
        raise DataError(f"--num-dev {count}: of {len(speakers)} readers two must be left to train with")
    return set(speakers[:: max(len(speakers) // count, 1)][:count]) if count else set()


def pieces(length: float) -> Cut:
    """The whole recording in pieces of about `length` seconds."""

    def cut(duration: float) -> list[tuple[float, float]]:
        count = max(int(duration // length), 1)
        return [(k * duration / count, (k + 1) * duration / count) for k in range(count)]

    return cut


def halves(duration: float) -> list[tuple[float, float]]:
    """The two halves of a long recording."""
    return [(0, duration / 2), (duration / 2, duration)] if duration >= LONG_ENOUGH else []


def shorts(duration: float) -> list[tuple[float, float]]:
    """Pieces of SHORT seconds, spread over a long recording."""
    return [(k * duration / NUM_SHORT, k * duration / NUM_SHORT + SHORT) for k in range(NUM_SHORT)] if duration >= LONG_ENOUGH else []


def tables_of(recordings: dict[str, Path], cut: Cut, mark: str) -> dict[str, dict[str, str]]:
    """The tables of a data directory whose utterances are the segments that `cut` makes."""
    wav, segments, utt2spk, utt2session = {}, {}, {}, {}
    for speaker, file in recordings.items():
        for number, (start, end) in enumerate(cut(read_header(str(file)).duration)):
            utterance = f"ls{speaker}-{file.stem}-{mark}{number:02d}"
            wav[f"ls{file.stem}"] = str(file)
            segments[utterance] = f"ls{file.stem} {start:.3f} {end:.3f}"
            utt2spk[utterance] = f"ls{speaker}"
            utt2session[utterance] = file.parts[-2]
    return {"wav.scp": wav, "segments": segments, "utt2spk": utt2spk, "utt2session": utt2session}


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--length", type=FiniteRange(min=0.5), default=2.4, show_default=True, help="Seconds of a piece to train with.")
@click.option("--num-dev", type=click.IntRange(min=0), default=25, show_default=True, help="Readers that are held out.")
@overwrite_option
def command(corpus: Path, data: Path, length: float, num_dev: int, overwrite: bool) -> None:
    """Make DATA/train and, of other readers, DATA/{dev,halves,short} of the folder CORPUS that holds SPEAKER/CHAPTER/*.flac.

    Only the first recording of a reader is used; short pieces make several utterances of a short one.  Pieces of one recording share its session: they are good to train with,
    and error rates between them are optimistic.

    \b
    Example:
        local/cut_readers.py /corpora/LibriSpeech/train-clean-100 data/readers
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    recordings = first_recordings(corpus.resolve())
    others = held_out(list(recordings), num_dev)
    train = {speaker: file for speaker, file in recordings.items() if speaker not in others}
    dev = {speaker: file for speaker, file in recordings.items() if speaker in others}
    sets = {"train": tables_of(train, pieces(length), "")}
    if dev:
        sets |= {"dev": tables_of(dev, pieces(PIECE), ""), "halves": tables_of(dev, halves, "h"), "short": tables_of(dev, shorts, "s")}
    for name, tables in sets.items():
        counts = {"utterances": len(tables["utt2spk"]), "speakers": len(set(tables["utt2spk"].values()))}
        job = {"command": "cut_readers", "set": name, "length": length}
        written = write_output(data / name, as_texts(tables), job, counts, overwrite)
        say(written, data / name, f"{counts['utterances']} pieces of {counts['speakers']} readers")


if __name__ == "__main__":
    command()
