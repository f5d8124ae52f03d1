"""sv-subset-data."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, for_kaldi_option, overwrite_option, seed_option

COUNT = click.IntRange(min=1)


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY)
@click.option("--utt-list", type=FILE, help="Only utterances in this file (first word of each line).")
@click.option("--spk-list", type=FILE, help="Only speakers in this file (first word of each line).")
@click.option("--exclude-utt-list", type=FILE, help="No utterances in this file.")
@click.option("--exclude-spk-list", type=FILE, help="No speakers in this file.")
@click.option("--min-per-speaker", type=COUNT, default=1, show_default=True, help="Drop speakers with fewer utterances.")
@click.option("--speakers", type=COUNT, help="Keep so many speakers.")
@click.option("--per-speaker", type=COUNT, help="Keep at most so many utterances of each speaker.")
@click.option("--utterances", type=COUNT, help="Keep so many utterances in all.")
@click.option("--first", is_flag=True, help="Take the first by bytes instead of choosing at random.")
@seed_option
@for_kaldi_option
@overwrite_option
def command(
    data: Path,
    out: Path,
    utt_list: Path | None,
    spk_list: Path | None,
    exclude_utt_list: Path | None,
    exclude_spk_list: Path | None,
    min_per_speaker: int,
    speakers: int | None,
    per_speaker: int | None,
    utterances: int | None,
    first: bool,
    seed: int,
    for_kaldi: bool,
    overwrite: bool,
) -> None:
    """Write a part of the data directory DATA to OUT, with what was extracted for it.

    The lists are applied first, then the counts in the order in which they stand below.

    \b
    Example:
        sv-subset-data --speakers 150 --min-per-speaker 3 --seed 1 data/all data/test
        sv-subset-data --exclude-spk-list data/test/spk2utt data/all data/train
    """
    from sv_toolkit.data.described import carried
    from sv_toolkit.data.kaldi_pipes import for_kaldi as as_kaldi
    from sv_toolkit.data.operations import Selection, counts_of, read_ids, read_source, select, skipped_of, subset
    from sv_toolkit.data.output import as_texts, say, write_output

    source = read_source(data)
    selection = Selection(
        utterances=None if utt_list is None else read_ids(utt_list, source.utt2spk, "utterance"),
        speakers=None if spk_list is None else read_ids(spk_list, source.spk2utt, "speaker"),
        exclude_utterances=frozenset() if exclude_utt_list is None else read_ids(exclude_utt_list, None, "utterance"),
        exclude_speakers=frozenset() if exclude_spk_list is None else read_ids(exclude_spk_list, None, "speaker"),
        min_per_speaker=min_per_speaker,
        num_speakers=speakers,
        max_per_speaker=per_speaker,
        num_utterances=utterances,
        seed=None if first else seed,
    )
    chosen = select(source, selection)
    tables = subset(source, chosen)
    tables = as_kaldi(tables) if for_kaldi else tables
    counts = counts_of(tables)
    job = {"command": "sv-subset-data", "from": str(data)}
    texts = {**as_texts(tables, skipped_of([source], chosen) if "feats.scp" in tables else ""), **carried([source], tables, out)}
    written = write_output(out, texts, job, counts, overwrite, [data])
    say(written, out, f"{counts['utterances']} of {len(source.utt2spk)} utterances, {counts['speakers']} of {len(source.spk2utt)} speakers")
