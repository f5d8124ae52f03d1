#!/usr/bin/env python3
"""Divide the training speakers into a large source of one keyword and a small one of two; `--help` shows how."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.errors import DataError, shown

Utterances = dict[str, list[str]]


def by_speaker(data: DataDir, keywords: list[str]) -> Utterances:
    """Speaker -> utterances of the keywords, sorted; who says none of them is left out."""
    keyword_of = data.table("utt2keyword")
    if keyword_of is None:
        raise DataError(f"{data.path}: utt2keyword is needed to tell keywords apart")
    absent = set(keywords) - set(keyword_of.values())
    if absent:
        raise DataError(f"{data.path}: nobody says {shown(min(absent))}; it has {', '.join(sorted(set(keyword_of.values())))}")
    found = {speaker: sorted(key for key in keys if keyword_of[key] in keywords) for speaker, keys in data.spk2utt.items()}
    return {speaker: keys for speaker, keys in found.items() if keys}


def choose(data: DataDir, keywords: list[str], num_small: int, seed: int) -> dict[str, Utterances]:
    """The small source: `num_small` speakers who say every keyword; the large one: all others with two clips of the first keyword.

    Raises:
        DataError: too few speakers for that.
    """
    all_keywords, first = by_speaker(data, keywords), by_speaker(data, keywords[:1])
    keyword_of = data.table("utt2keyword") or {}
    able = sorted(speaker for speaker, keys in all_keywords.items() if {keyword_of[key] for key in keys} == set(keywords))
    if len(able) < num_small:
        raise DataError(f"{data.path}: {len(able)} speakers say {' and '.join(keywords)}: too few for --num-small {num_small}")
    chosen = {able[i] for i in np.random.default_rng(seed).choice(len(able), num_small, replace=False)}
    large = {speaker: keys for speaker, keys in first.items() if speaker not in chosen and len(keys) > 1}
    if len(large) < 2:
        raise DataError(f"{data.path}: {len(large)} speakers are left for the large source; lower --num-small {num_small}")
    return {"small": {speaker: all_keywords[speaker] for speaker in sorted(chosen)}, "large": large}


def tables_of(data: DataDir, speakers: Utterances) -> dict[str, dict[str, str]]:
    """The tables of the part of `data` that holds these utterances."""
    keys = [key for own in speakers.values() for key in own]
    names = ("wav.scp", "utt2spk", "utt2keyword")
    return {name: {key: (data.table(name) or {})[key] for key in keys} for name in names}


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY)
@click.option("--keywords", default="bed cat", show_default=True, help="Keywords; the large source has the first alone.")
@click.option("--num-small", type=click.IntRange(min=2), default=30, show_default=True, help="Speakers of the small source.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides who is in the small source.")
@overwrite_option
def command(data: Path, out: Path, keywords: str, num_small: int, seed: int, overwrite: bool) -> None:
    """Write OUT/{small,large} of the speakers in DATA/train, and OUT/{dev,test}: the keywords of those in DATA/{dev,test}.

    The sources share no speaker, as in the experiment of Wan et al. 2018, section 3.1: many speakers with one keyword,
    and a few with both.

    \b
    Example:
        local/choose_sources.py --num-small 30 data/all data
    """
    from sv_toolkit.data.output import as_texts, say, write_output

    wanted = keywords.split()
    if len(wanted) < 2 or len(set(wanted)) < len(wanted):
        raise click.BadParameter(f"needs two different keywords or more, got {shown(keywords)}", param_hint="--keywords")
    parts = {name: DataDir.read(data / name, require=("utt2spk", "wav.scp")) for name in ("train", "dev", "test")}
    chosen = [(name, parts["train"], own) for name, own in choose(parts["train"], wanted, num_small, seed).items()]
    chosen += [(name, parts[name], by_speaker(parts[name], wanted)) for name in ("dev", "test")]
    for name, part, speakers in chosen:
        tables = tables_of(part, speakers)
        counts = {"utterances": len(tables["utt2spk"]), "speakers": len(speakers)}
        written = write_output(out / name, as_texts(tables), {"command": "choose_sources", "set": name}, counts, overwrite)
        say(written, out / name, f"{counts['utterances']} utterances of {counts['speakers']} speakers")


if __name__ == "__main__":
    command()
