#!/usr/bin/env python3
"""Make data directories of speech without the keywords; `--help` shows how."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError

SUFFIXES = (".flac", ".ogg", ".sph", ".wav")
SETS = {0: "a", 1: "a", 2: "a", 3: "a", 4: "a", 5: "dev", 6: "b", 7: "b", 8: "b", 9: "b"}  # by the hash of the speaker modulo 10


def an4(corpus: Path) -> Iterator[tuple[str, str, Path]]:
    """Speaker, name and file; speakers of the official test set are marked."""
    for file in corpus.glob("wav/*/*/*"):
        part = "test" if "an4test" in file.parent.parent.name else "train"
        yield f"an4{part}{file.parent.name}", file.stem, file


def librispeech(corpus: Path) -> Iterator[tuple[str, str, Path]]:
    """Reader, name and file."""
    for file in corpus.glob("**/*-*-*.*"):
        yield f"ls{file.stem.split('-')[0]}", file.stem, file


def arabic(corpus: Path) -> Iterator[tuple[str, str, Path]]:
    """Speaker, name and file of Arabic Speech Commands."""
    for file in corpus.glob("*/*_NO_*"):
        yield f"ar{file.stem.split('_')[0]}", f"{file.parent.name}-{file.stem}", file


def find(corpora: dict[str, Path | None]) -> dict[str, dict[str, dict[str, str]]]:
    """Set -> tables of a data directory, of all corpora that are given."""
    tables: dict[str, dict[str, dict[str, str]]] = {name: {"wav.scp": {}, "utt2spk": {}} for name in ("a", "b", "dev", "test")}
    for reader in (an4, librispeech, arabic):
        corpus = corpora[reader.__name__]
        found = sorted(entry for entry in reader(corpus.resolve()) if entry[2].suffix in SUFFIXES) if corpus else []
        if corpus and not found:
            raise DataError(f"{corpus}: no recording of {reader.__name__} is there as the release has them")
        for speaker, stem, file in found:
            bucket = int(hashlib.sha256(re.sub(r"^(an4train|ls|ar)", "", speaker).encode()).hexdigest(), 16) % 10
            name = "test" if speaker.startswith("an4test") else SETS[bucket]
            key = f"{speaker}-{stem}"
            tables[name]["wav.scp"][key], tables[name]["utt2spk"][key] = str(file), speaker
    return tables


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--an4", "an4_folder", type=DIRECTORY, help="Folder that holds wav/an4_clstk/SPEAKER/*.")
@click.option("--librispeech", "librispeech_folder", type=DIRECTORY, help="Folder of readers, READER/CHAPTER/*.")
@click.option("--arabic", "arabic_folder", type=DIRECTORY, help="Arabic Speech Commands: folder that holds WORD/SPEAKER_NO_TAKE.*")
@overwrite_option
def command(data: Path, an4_folder: Path | None, librispeech_folder: Path | None, arabic_folder: Path | None, overwrite: bool) -> None:
    """Make DATA/background_{a,b,dev,test}, which share no speaker: a and b are two halves, test is AN4's own test set.

    \b
    Example:
        local/prepare_background.py --an4 /corpora/an4 --librispeech /corpora/LibriSpeech/train-clean-100 data
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    if not (an4_folder or librispeech_folder or arabic_folder):
        raise click.UsageError("Missing option: --an4, --librispeech or --arabic, a corpus without the keywords")
    for name, tables in find({"an4": an4_folder, "librispeech": librispeech_folder, "arabic": arabic_folder}).items():
        if tables["utt2spk"]:
            counts = {"utterances": len(tables["utt2spk"]), "speakers": len(set(tables["utt2spk"].values()))}
            out = data / f"background_{name}"
            written = write_output(out, as_texts(tables), {"command": "prepare_background", "set": name}, counts, overwrite)
            say(written, out, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


if __name__ == "__main__":
    command()
