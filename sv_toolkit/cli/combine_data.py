"""sv-combine-data."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, for_kaldi_option, overwrite_option


@click.command(cls=SvCommand)
@click.argument("out", type=DIRECTORY)
@click.argument("sources", metavar="IN...", type=DIRECTORY, nargs=-1, required=True)
@for_kaldi_option
@overwrite_option
def command(out: Path, sources: tuple[Path, ...], for_kaldi: bool, overwrite: bool) -> None:
    """Join the data directories IN... into the data directory OUT.

    An id that stands for different things in two of them is refused, as are features made with different
    options.  An optional table that only some of them have is left out, with a warning.

    \b
    Example:
        sv-combine-data data/train_all data/train data/train_sp
    """
    from sv_toolkit.data.described import carried
    from sv_toolkit.data.kaldi_pipes import for_kaldi as as_kaldi
    from sv_toolkit.data.operations import combine, counts_of, read_source, skipped_of
    from sv_toolkit.data.output import as_texts, say, write_output

    inputs = [read_source(path) for path in sources]
    tables = combine(inputs)
    tables = as_kaldi(tables) if for_kaldi else tables
    counts = counts_of(tables)
    job = {"command": "sv-combine-data", "from": [str(path) for path in sources]}
    texts = {**as_texts(tables, skipped_of(inputs) if "feats.scp" in tables else ""), **carried(inputs, tables, out)}
    written = write_output(out, texts, job, counts, overwrite, sources)
    say(written, out, f"{counts['utterances']} utterances of {counts['speakers']} speakers from {len(sources)} directories")
