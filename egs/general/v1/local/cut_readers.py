#!/usr/bin/env python3
"""Cut long recordings of many readers into utterances; `--help` shows how."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError
from sv_toolkit.io.audio_files import read_header

SUFFIXES = (".flac", ".wav")


def pieces_of(duration: float, length: float) -> list[tuple[float, float]]:
    """Start and end in seconds of equal pieces of about `length` seconds, one at least."""
    count = max(round(duration / length), 1)
    return [(duration * i / count, duration * (i + 1) / count) for i in range(count)]


def held_out(readers: list[str], count: int) -> set[str]:
    """`count` of the readers, by SHA-256 of the id."""
    return set(sorted(readers, key=lambda reader: hashlib.sha256(reader.encode()).hexdigest())[:count])


def tables_of(files: list[Path], length: float) -> dict[str, dict[str, str]]:
    """The tables of a data directory of READER/CHAPTER/*.flac, each recording cut into pieces."""
    tables: dict[str, dict[str, str]] = {"wav.scp": {}, "segments": {}, "utt2spk": {}, "utt2session": {}}
    for file in files:
        reader = f"ls{file.parts[-3]}"
        recording = f"{reader}-{file.stem}"
        tables["wav.scp"][recording] = str(file)
        for number, (start, end) in enumerate(pieces_of(read_header(str(file)).duration, length)):
            utterance = f"{recording}-{number:02d}"
            tables["segments"][utterance] = f"{recording} {start:.3f} {end:.3f}"
            tables["utt2spk"][utterance], tables["utt2session"][utterance] = reader, file.parts[-2]
    return tables


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--length", type=click.FloatRange(min=0.5), default=2.4, show_default=True, help="Seconds of a piece.")
@click.option("--num-dev", type=click.IntRange(min=0), default=25, show_default=True, help="Readers to hold out: DATA/dev.")
@overwrite_option
def command(corpus: Path, data: Path, length: float, num_dev: int, overwrite: bool) -> None:
    """Make DATA/train and DATA/dev of the folder CORPUS that holds READER/CHAPTER/*.flac, as LibriSpeech does.

    Pieces of one recording share its room and microphone: they teach a network, but tests need other recordings.

    \b
    Example:
        local/cut_readers.py LibriSpeech/train-clean-100 data/readers
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    files = sorted(file for file in corpus.resolve().glob("*/*/*") if file.suffix in SUFFIXES)
    readers = sorted({file.parts[-3] for file in files})
    if len(readers) <= num_dev + 1:
        raise DataError(f"{corpus}: {len(readers)} folders READER/CHAPTER with recordings, more than {num_dev + 1} are needed")
    dev = held_out(readers, num_dev)
    for name, chosen in (("train", set(readers) - dev), ("dev", dev)):
        if not chosen:
            continue
        tables = tables_of([file for file in files if file.parts[-3] in chosen], length)
        counts = {"utterances": len(tables["utt2spk"]), "speakers": len(chosen)}
        written = write_output(data / name, as_texts(tables), {"command": "cut_readers", "set": name}, counts, overwrite)
        say(written, data / name, f"{counts['utterances']} utterances of {counts['speakers']} readers")


if __name__ == "__main__":
    command()
