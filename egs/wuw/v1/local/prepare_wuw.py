#!/usr/bin/env python3
"""Make data directories of the WUW Corpus II; `--help` shows how."""

from __future__ import annotations

import csv
import hashlib
import logging
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError, examples, shown

COLUMNS = ("utterance", "speaker", "session", "keyword", "keyword_start", "keyword_end", "date", "phone", "gender")


def read_list(path: Path) -> list[dict[str, str]]:
    """The rows of utterances.tsv; every row has all `COLUMNS`."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; CORPUS must be the folder that holds utterances.tsv") from None
    for line, row in enumerate(rows, start=2):
        lost = [column for column in COLUMNS if not row.get(column)]
        if lost:
            raise DataError(f"{path}:{line}: column {shown(lost[0])} is missing or empty")
    if not rows:
        raise DataError(f"{path}: lists no utterance")
    return rows


def has_keyword(row: dict[str, str], where: str) -> bool:
    """True where the list says when the keyword is spoken; a few rows hold 0 and 0 or a start after the end."""
    try:
        return 0 <= float(row["keyword_start"]) < float(row["keyword_end"])
    except ValueError:
        times = f"{row['keyword_start']} to {row['keyword_end']}"
        raise DataError(f"{where}: {row['utterance']}: keyword times must be seconds, got {shown(times)}") from None


def read_rows(corpus: Path) -> list[dict[str, str]]:
    """The rows whose keyword is marked; the others are counted and named."""
    listed = read_list(corpus / "utterances.tsv")
    rows = [row for row in listed if has_keyword(row, str(corpus / "utterances.tsv"))]
    lost = sorted({row["utterance"] for row in listed} - {row["utterance"] for row in rows})
    if lost:
        logging.getLogger("sv_toolkit").warning(
            "%d of %d utterances have no keyword marked and are left out: %s", len(lost), len(listed), examples(lost)
        )
    return rows


def find_file(corpus: Path, row: dict[str, str]) -> str:
    """The recording of a row."""
    for suffix in (".flac", ".wav"):
        file = corpus / row["speaker"] / (row["utterance"] + suffix)
        if file.exists():
            return str(file)
    raise DataError(f"{corpus / row['speaker'] / row['utterance']}: neither .flac nor .wav is there, but utterances.tsv lists it")


def tables_of(corpus: Path, rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The tables of a data directory: every utterance is the keyword alone, its session the call, its device the kind of telephone."""
    return {
        "wav.scp": {row["utterance"]: find_file(corpus, row) for row in rows},
        "segments": {row["utterance"]: f"{row['utterance']} {row['keyword_start']} {row['keyword_end']}" for row in rows},
        "utt2spk": {row["utterance"]: row["speaker"] for row in rows},
        "utt2session": {row["utterance"]: f"{row['speaker']}-{row['session']}" for row in rows},
        "utt2keyword": {row["utterance"]: row["keyword"] for row in rows},
        "utt2date": {row["utterance"]: row["date"] for row in rows},
        "utt2device": {row["utterance"]: row["phone"] for row in rows},
        "spk2gender": {row["speaker"]: row["gender"] for row in rows},
    }


def split_speakers(rows: list[dict[str, str]], num_test: int, num_dev: int) -> dict[str, set[str]]:
    """Who is in which set: the first speakers by SHA-256 of the id are test speakers, the next development speakers."""
    order = sorted({row["speaker"] for row in rows}, key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())
    if len(order) < num_test + num_dev + 2:
        raise DataError(f"of {len(order)} speakers two must be left to train with; choose --num-test and --num-dev")
    return {"train": set(order[num_test + num_dev :]), "dev": set(order[num_test : num_test + num_dev]), "test": set(order[:num_test])}


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option("--num-test", type=click.IntRange(min=2), help="Speakers to test with.  [default: no sets, DATA holds all speakers]")
@click.option("--num-dev", type=click.IntRange(min=2), default=14, show_default=True, help="Speakers to tune with, beside --num-test.")
@overwrite_option
def command(corpus: Path, data: Path, num_test: int | None, num_dev: int, overwrite: bool) -> None:
    """Make data directories of the folder CORPUS that holds utterances.tsv; every utterance is the keyword alone.

    With --num-test DATA/{train,dev,test}, which share no speaker; without, DATA alone.

    \b
    Example:
        local/prepare_wuw.py --num-test 30 /corpora/wuw_keywords data
        local/prepare_wuw.py /corpora/wuw_keywords data/wuw
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    corpus = corpus.resolve()
    rows = read_rows(corpus)
    sets = split_speakers(rows, num_test, num_dev) if num_test else {"": {row["speaker"] for row in rows}}
    for name, speakers in sets.items():
        tables = tables_of(corpus, [row for row in rows if row["speaker"] in speakers])
        counts = {"utterances": len(tables["utt2spk"]), "speakers": len(speakers)}
        job = {"command": "prepare_wuw"} | ({"set": name} if name else {})
        written = write_output(data / name, as_texts(tables), job, counts, overwrite)
        say(written, data / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


if __name__ == "__main__":
    command()
