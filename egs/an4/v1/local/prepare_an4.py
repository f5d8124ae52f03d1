#!/usr/bin/env python3
"""Make data directories of the CMU AN4 corpus; `--help` shows how."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError

SUFFIXES = (".sph", ".wav", ".flac")
NAME = re.compile(r"(?P<take>\w+)-(?P<speaker>[fm]\w+)-b")  # cen2-fvap-b: take 2 of the census task by the woman vap
OFFICIAL = {"an4_clstk": (74, 948), "an4test_clstk": (10, 130)}  # speakers and utterances of the release


def find_recordings(corpus: Path, part: str, any_size: bool) -> dict[str, dict[str, Path]]:
    """Speaker -> utterance -> file of one part of the corpus."""
    folder = corpus / "wav" / part
    speakers: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.glob("*/*")):
        if file.suffix not in SUFFIXES:
            continue
        name = NAME.fullmatch(file.stem)
        if name is None or name["speaker"] != file.parent.name:
            raise DataError(f"{file}: the name is not TAKE-SPEAKER-b in the folder SPEAKER, as the release has it")
        utterances = speakers.setdefault(name["speaker"], {})
        key = f"{name['speaker']}-{name['take']}"
        if key in utterances:
            raise DataError(f"{file}: the same recording as {utterances[key]}; keep one of them")
        utterances[key] = file
    found = (len(speakers), sum(map(len, speakers.values())))
    if found != OFFICIAL[part] and not (any_size and found[0]):
        wanted = "{} speakers and {} utterances".format(*OFFICIAL[part])
        raise DataError(f"{folder}: the release has {wanted}, found {found[0]} and {found[1]}; --any-size true takes what is there")
    return speakers


def hold_out(speakers: dict[str, dict[str, Path]], num_dev: int) -> set[str]:
    """The development speakers: the first by SHA-256 of the id, a choice that depends on nothing else."""
    if not 0 <= num_dev < len(speakers) - 1:
        raise DataError(f"--num-dev must leave two speakers of {len(speakers)} to train with, got {num_dev}")
    return set(sorted(speakers, key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())[:num_dev])


def write_set(data: Path, name: str, speakers: dict[str, dict[str, Path]], overwrite: bool) -> None:
    """One data directory; a speaker's gender is the first letter of the id."""
    from sv_toolkit.data.output import as_texts, say, write_output

    files = {key: str(file) for utterances in speakers.values() for key, file in utterances.items()}
    tables = {
        "wav.scp": files,
        "utt2spk": {key: speaker for speaker, utterances in speakers.items() for key in utterances},
        "spk2gender": {speaker: speaker[0] for speaker in speakers},
    }
    counts = {"utterances": len(files), "speakers": len(speakers)}
    written = write_output(data / name, as_texts(tables), {"command": "prepare_an4", "set": name}, counts, overwrite)
    say(written, data / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--num-dev", type=click.IntRange(min=0), default=0, show_default=True, help="Training speakers held out for development.")
@click.option(
    "--any-size", type=bool, default=False, show_default=True, help="Accept other numbers of speakers and utterances than the release has."
)
@overwrite_option
def command(corpus: Path, data: Path, num_dev: int, any_size: bool, overwrite: bool) -> None:
    """Make the data directories DATA/{train,test}, and DATA/dev with --num-dev, of the folder CORPUS that holds wav/an4_clstk/SPEAKER/*.

    \b
    Example:
        local/prepare_an4.py data/download/an4 data
    """
    training = find_recordings(corpus.resolve(), "an4_clstk", any_size)
    test = find_recordings(corpus.resolve(), "an4test_clstk", any_size)
    dev = hold_out(training, num_dev)
    write_set(data, "train", {speaker: takes for speaker, takes in training.items() if speaker not in dev}, overwrite)
    if dev:
        write_set(data, "dev", {speaker: takes for speaker, takes in training.items() if speaker in dev}, overwrite)
    write_set(data, "test", test, overwrite)


if __name__ == "__main__":
    command()
