"""sv-split-data."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, for_kaldi_option, overwrite_option


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("num_parts", type=click.IntRange(min=1))
@click.argument("out", type=DIRECTORY, required=False)
@click.option("--per-utt", is_flag=True, help="Cut between any two utterances, not only between speakers.")
@for_kaldi_option
@overwrite_option
def command(data: Path, num_parts: int, out: Path | None, per_utt: bool, for_kaldi: bool, overwrite: bool) -> None:
    """Split the data directory DATA into the directories OUT/1 to OUT/NUM_PARTS of about equal size.

    OUT is DATA/splitNUM_PARTS by default.  The commands of this toolkit share out work by themselves (--nj);
    this is for Kaldi's programs and for job arrays.

    \b
    Example:
        sv-split-data data/train 4
    """
    from sv_toolkit.data.described import carried
    from sv_toolkit.data.kaldi_pipes import for_kaldi as as_kaldi
    from sv_toolkit.data.operations import counts_of, read_source, skipped_of, split, subset
    from sv_toolkit.data.output import as_texts, say, write_output

    source = read_source(data)
    parts = split(source, num_parts, per_utt)
    target = out or data / f"split{num_parts}"
    texts = {}
    for number, utterances in enumerate(parts, 1):
        tables = subset(source, utterances)
        tables = as_kaldi(tables) if for_kaldi else tables
        part = as_texts(tables, skipped_of([source], utterances) if "feats.scp" in tables else "")
        part |= carried([source], tables, target / str(number))
        texts.update({f"{number}/{name}": text for name, text in part.items()})
    job = {"command": "sv-split-data", "from": str(data)}
    counts = {**counts_of({"utt2spk": dict(source.utt2spk)}), "parts": len(parts)}
    written = write_output(target, texts, job, counts, overwrite, [data])
    say(written, target, f"{counts['utterances']} utterances of {counts['speakers']} speakers in {len(parts)} parts")
