#!/usr/bin/env python3
"""Make data directories of LibriSpeech; `--help` shows how."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError, examples, shown

SUFFIXES = (".flac", ".wav")
NAME = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d{4}")  # 103-1240-0003: sentence 3 of chapter 1240, read by 103
OFFICIAL = {  # speakers and utterances of the release
    "train-clean-100": (251, 28_539),
    "train-clean-360": (921, 104_014),
    "train-other-500": (1166, 148_688),
    "dev-clean": (40, 2703),
    "dev-other": (33, 2864),
    "test-clean": (40, 2620),
    "test-other": (33, 2939),
}


class Sentence(NamedTuple):
    """One recording."""

    utterance_id: str
    speaker: str
    chapter: str
    file: Path


def homes(corpus: Path, subset: str) -> list[Path]:
    """Where the folder of a subset may lie: in LibriSpeech, beside it, or as every archive unpacks to a folder of its own."""
    return [corpus, corpus / "LibriSpeech", corpus / subset / "LibriSpeech"]


def find_sentences(corpus: Path, subset: str, any_size: bool) -> list[Sentence]:
    """The recordings of a subset."""
    folder = next((home / subset for home in homes(corpus, subset)[::-1] if (home / subset).is_dir()), None)
    if folder is None:
        raise DataError(f"{corpus}: no folder {subset} there or in LibriSpeech; CORPUS must be the folder that holds LibriSpeech/{subset}")
    sentences = []
    for file in sorted(file for file in folder.glob("*/*/*") if file.suffix in SUFFIXES):
        name = NAME.fullmatch(file.stem)
        if name is None or (name["speaker"], name["chapter"]) != (file.parts[-3], file.parts[-2]):
            raise DataError(f"{file}: the name is not SPEAKER-CHAPTER-NUMBER in the folder SPEAKER/CHAPTER, as the release has it")
        sentences.append(Sentence(file.stem, name["speaker"], f"{name['speaker']}-{name['chapter']}", file))
    _refuse_other_size(folder, subset, sentences, any_size)
    return sentences


def _refuse_other_size(folder: Path, subset: str, sentences: list[Sentence], any_size: bool) -> None:
    found = (len({sentence.speaker for sentence in sentences}), len(sentences))
    if found != OFFICIAL.get(subset, found) and not (any_size and sentences):
        wanted = "{} speakers and {} utterances".format(*OFFICIAL[subset])
        raise DataError(f"{folder}: the release has {wanted}, found {found[0]} and {found[1]}; --any-size true takes what is there")


def read_genders(corpus: Path, subsets: list[str]) -> dict[str, str]:
    """Speaker -> m or f, of SPEAKERS.TXT with lines `ID | SEX | SUBSET | MINUTES | NAME`; empty where there is none."""
    places = [home / "SPEAKERS.TXT" for subset in subsets for home in homes(corpus, subset)]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return {}
    genders = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if line.startswith(";") or not line.strip():
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) < 3 or fields[1] not in ("M", "F"):
            raise DataError(f"{path}:{number}: 'ID | M or F | SUBSET | ...' is needed, got {shown(line, 60)}")
        genders[fields[0]] = fields[1].lower()
    return genders


def write_set(data: Path, name: str, sentences: list[Sentence], genders: dict[str, str], overwrite: bool) -> None:
    """One data directory; the session of an utterance is its chapter."""
    from sv_toolkit.data.output import as_texts, say, write_output

    speakers = {sentence.speaker for sentence in sentences}
    tables = {
        "wav.scp": {sentence.utterance_id: str(sentence.file) for sentence in sentences},
        "utt2spk": {sentence.utterance_id: sentence.speaker for sentence in sentences},
        "utt2session": {sentence.utterance_id: sentence.chapter for sentence in sentences},
    }
    if speakers <= genders.keys():
        tables["spk2gender"] = {speaker: genders[speaker] for speaker in speakers}
    else:
        lost = examples(sorted(speakers - genders.keys()))
        logging.getLogger("sv_toolkit").warning("%s: SPEAKERS.TXT does not say the gender of %s: no spk2gender", name, lost)
    counts = {"utterances": len(sentences), "speakers": len(speakers)}
    written = write_output(data / name, as_texts(tables), {"command": "prepare_librispeech", "set": name}, counts, overwrite)
    say(written, data / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--train", default="train-clean-100", show_default=True, help="Subsets to train with.")
@click.option("--dev", default="dev-clean", show_default=True, help="Subsets to tune with.")
@click.option("--test", default="test-clean", show_default=True, help="Subsets to test with.")
@click.option(
    "--any-size", type=bool, default=False, show_default=True, help="Accept other numbers of speakers and utterances than the release has."
)
@overwrite_option
def command(corpus: Path, data: Path, train: str, dev: str, test: str, any_size: bool, overwrite: bool) -> None:
    """Make the data directories DATA/{train,dev,test} of the folder CORPUS that holds LibriSpeech/SUBSET/SPEAKER/CHAPTER/*.

    \b
    Example:
        local/prepare_librispeech.py --train "train-clean-100 train-clean-360" data/download data
    """
    subsets = {"train": train.split(), "dev": dev.split(), "test": test.split()}
    corpus = corpus.resolve()
    sets = {name: [s for subset in parts for s in find_sentences(corpus, subset, any_size)] for name, parts in subsets.items()}
    owner: dict[str, str] = {}
    for name, sentences in sets.items():
        shared = sorted({sentence.speaker for sentence in sentences if owner.setdefault(sentence.speaker, name) != name})
        if shared:
            raise DataError(f"{corpus}: {name} shares speakers with {owner[shared[0]]}: {examples(shared)}; the release does not")
    genders = read_genders(corpus, [subset for parts in subsets.values() for subset in parts])
    for name, sentences in sets.items():
        write_set(data, name, sentences, genders, overwrite)


if __name__ == "__main__":
    command()
