#!/usr/bin/env python3
"""Make data directories of the Arabic Speech Commands corpus, in two folds; `--help` shows how."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError, shown

SUFFIXES = (".wav", ".flac", ".ogg")
NAME = re.compile(r"(?P<speaker>\d{8})_NO_(?P<take>\d+)")


class Clip(NamedTuple):
    """One recording of one keyword."""

    speaker: str
    keyword: str
    take: int
    file: Path

    @property
    def utterance_id(self) -> str:
        return f"{self.speaker}-{self.keyword}-{self.take:02d}"


def find_clips(corpus: Path, keywords: list[str]) -> list[Clip]:
    """All clips of the keywords, sorted; no keywords: all that are there."""
    folders = [corpus / keyword for keyword in keywords] or sorted(folder for folder in corpus.glob("[a-z]*") if folder.is_dir())
    clips = []
    for folder in folders:
        files = sorted(file for file in folder.glob("*") if file.suffix in SUFFIXES)
        if not files:
            raise DataError(f"{folder}: no SPEAKER_NO_TAKE.wav there; CORPUS must be the folder that holds one folder for each keyword")
        for file in files:
            name = NAME.fullmatch(file.stem)
            if name is None:
                raise DataError(f"{file}: the name is not SPEAKER_NO_TAKE, as the release has it")
            clips.append(Clip(f"ar{name['speaker']}", folder.name, int(name["take"]), file))
    if not clips:
        raise DataError(f"{corpus}: no folder of a keyword there; CORPUS must be the folder that holds one folder for each keyword")
    return sorted(clips)


def halves(speakers: set[str]) -> tuple[set[str], set[str]]:
    """The speakers in two halves, by SHA-256 of the id."""
    ordered = sorted(speakers, key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())
    if len(ordered) < 4:
        raise DataError(f"{len(ordered)} speakers are too few: each half needs two")
    return set(ordered[: len(ordered) // 2]), set(ordered[len(ordered) // 2 :])


def tables_of(clips: list[Clip]) -> dict[str, dict[str, str]]:
    """The tables of a data directory."""
    return {
        "wav.scp": {clip.utterance_id: str(clip.file) for clip in clips},
        "utt2spk": {clip.utterance_id: clip.speaker for clip in clips},
        "utt2keyword": {clip.utterance_id: clip.keyword for clip in clips},
        "utt2lang": {clip.utterance_id: "ar" for clip in clips},
    }


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--keywords", default="all", show_default=True, help="Keywords to take, or 'all'.")
@overwrite_option
def command(corpus: Path, data: Path, keywords: str, overwrite: bool) -> None:
    """Make DATA/fold1 and DATA/fold2 of the folder CORPUS that holds KEYWORD/*: each trains with one half of the speakers and tests the other.

    \b
    Example:
        local/prepare_arabic_commands.py arabic_speech_commands/dataset data
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    wanted = [] if keywords == "all" else sorted(set(keywords.split()))
    bad = [keyword for keyword in wanted if not keyword.replace("_", "").isalnum()]
    if bad:
        raise click.BadParameter(f"needs keywords with blanks between them, or all; got {shown(bad[0])}", param_hint="--keywords")
    clips = find_clips(corpus.resolve(), wanted)
    first, second = halves({clip.speaker for clip in clips})
    for fold, (train, test) in (("fold1", (first, second)), ("fold2", (second, first))):
        for name, speakers in (("train", train), ("test", test)):
            chosen = [clip for clip in clips if clip.speaker in speakers]
            counts = {"utterances": len(chosen), "speakers": len(speakers)}
            job = {"command": "prepare_arabic_commands", "set": f"{fold}/{name}"}
            written = write_output(data / fold / name, as_texts(tables_of(chosen)), job, counts, overwrite)
            say(written, data / fold / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


if __name__ == "__main__":
    command()
