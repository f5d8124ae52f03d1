#!/usr/bin/env python3
"""Make a data directory of the WUW Corpus II; `--help` shows how."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.errors import DataError, examples, shown

COLUMNS = ("utterance", "speaker", "session", "keyword", "keyword_start", "keyword_end", "gender")


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


def find_file(corpus: Path, row: dict[str, str]) -> str:
    """The recording of a row."""
    for suffix in (".flac", ".wav"):
        file = corpus / row["speaker"] / (row["utterance"] + suffix)
        if file.exists():
            return str(file)
    raise DataError(f"{corpus / row['speaker'] / row['utterance']}: neither .flac nor .wav is there, but utterances.tsv lists it")


@click.command(cls=SvCommand)
@click.argument("corpus", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@overwrite_option
def command(corpus: Path, data: Path, overwrite: bool) -> None:
    """Make the data directory DATA of the folder CORPUS that holds utterances.tsv; every utterance is the keyword alone.

    \b
    Example:
        local/prepare_wuw.py /corpora/wuw_keywords data/wuw
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    corpus = corpus.resolve()
    listed = read_list(corpus / "utterances.tsv")
    rows = [row for row in listed if has_keyword(row, str(corpus / "utterances.tsv"))]
    lost = sorted({row["utterance"] for row in listed} - {row["utterance"] for row in rows})
    if lost:
        logging.getLogger("sv_toolkit").warning(
            "%d of %d utterances have no keyword marked and are left out: %s", len(lost), len(listed), examples(lost)
        )
    tables = {
        "wav.scp": {row["utterance"]: find_file(corpus, row) for row in rows},
        "segments": {row["utterance"]: f"{row['utterance']} {row['keyword_start']} {row['keyword_end']}" for row in rows},
        "utt2spk": {row["utterance"]: row["speaker"] for row in rows},
        "utt2session": {row["utterance"]: f"{row['speaker']}-{row['session']}" for row in rows},
        "utt2keyword": {row["utterance"]: row["keyword"] for row in rows},
        "spk2gender": {row["speaker"]: row["gender"] for row in rows},
    }
    counts = {"utterances": len(rows), "speakers": len(tables["spk2gender"])}
    written = write_output(data, as_texts(tables), {"command": "prepare_wuw"}, counts, overwrite)
    say(written, data, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


if __name__ == "__main__":
    command()
