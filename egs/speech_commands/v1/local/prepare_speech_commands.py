#!/usr/bin/env python3
"""Make data directories of the Speech Commands corpus; `--help` shows how."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError, shown

SUFFIXES = (".wav", ".flac")
NAME = re.compile(r"(?P<speaker>[0-9a-f]{8})_nohash_(?P<take>\d+)")


class Clip(NamedTuple):
    """One recording of one word."""

    speaker: str
    word: str
    take: int
    file: Path

    @property
    def utterance_id(self) -> str:
        return f"{self.speaker}-{self.word}-{self.take}"


def find_clips(corpus: Path, words: list[str]) -> list[Clip]:
    """All clips of the words, sorted; no words: all that are there."""
    folders = [corpus / word for word in words] or sorted(f for f in corpus.glob("[a-z]*") if f.is_dir())
    clips = []
    for folder in folders:
        files = sorted(file for file in folder.glob("*_nohash_*") if file.suffix in SUFFIXES)
        if not files:
            raise DataError(f"{folder}: no SPEAKER_nohash_TAKE.wav there; CORPUS must be the folder that holds one folder for each word")
        for file in files:
            name = NAME.fullmatch(file.stem)
            if name is None:
                raise DataError(f"{file}: the name is not SPEAKER_nohash_TAKE, as the release has it")
            clips.append(Clip(name["speaker"], folder.name, int(name["take"]), file))
    if not clips:
        raise DataError(f"{corpus}: no folder of a word there; CORPUS must be the folder that holds one folder for each word")
    return sorted(clips)


def split_speakers(clips: list[Clip], num_test: int, num_dev: int, least: int = 2) -> dict[str, set[str]]:
    """Who is in which set: of those with three clips the first by SHA-256 of the id are test and development speakers.

    Of the others those with `least` clips or more are training speakers: one clip alone has nothing to be compared with.
    """
    counts: dict[str, int] = {}
    for clip in clips:
        counts[clip.speaker] = counts.get(clip.speaker, 0) + 1
    able = sorted((s for s, count in counts.items() if count >= 3), key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())
    test, dev = set(able[:num_test]), set(able[num_test : num_test + num_dev])
    train = {speaker for speaker, count in counts.items() if count >= least} - test - dev
    if len(able) < num_test + num_dev or len(train) < 2:
        raise DataError(
            f"{len(able)} speakers have three clips or more and {len(train)} are left to train with: too few for --num-test {num_test} and --num-dev {num_dev}"
        )
    return {"train": train, "dev": dev, "test": test}


def tables_of(clips: Iterable[Clip]) -> dict[str, dict[str, str]]:
    """The tables of a data directory."""
    clips = list(clips)
    return {
        "wav.scp": {clip.utterance_id: str(clip.file) for clip in clips},
        "utt2spk": {clip.utterance_id: clip.speaker for clip in clips},
        "utt2keyword": {clip.utterance_id: clip.word for clip in clips},
    }


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--words", default="bed cat happy", show_default=True, help="Words to take, or 'all'.")
@click.option("--num-test", type=click.IntRange(min=2), default=150, show_default=True, help="Speakers to test with.")
@click.option("--num-dev", type=click.IntRange(min=2), default=100, show_default=True, help="Speakers to tune with.")
@click.option("--least-clips", type=click.IntRange(min=1), default=2, show_default=True, help="Clips that a training speaker must have.")
@overwrite_option
def command(corpus: Path, data: Path, words: str, num_test: int, num_dev: int, least_clips: int, overwrite: bool) -> None:
    """Make the data directories DATA/{train,dev,test}, which share no speaker, of the folder CORPUS that holds WORD/*.

    \b
    Example:
        local/prepare_speech_commands.py data/download/speech_commands data
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    wanted = [] if words == "all" else sorted(set(words.split()))
    bad = [word for word in wanted if not word.isalnum()]
    if bad:
        raise click.BadParameter(f"--words needs words with blanks between them, or all; got {shown(bad[0])}")
    clips = find_clips(corpus.resolve(), wanted)
    for name, speakers in split_speakers(clips, num_test, num_dev, least_clips).items():
        chosen = [clip for clip in clips if clip.speaker in speakers]
        counts = {"utterances": len(chosen), "speakers": len(speakers)}
        written = write_output(
            data / name, as_texts(tables_of(chosen)), {"command": "prepare_speech_commands", "set": name}, counts, overwrite
        )
        say(written, data / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


if __name__ == "__main__":
    command()
