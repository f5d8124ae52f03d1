"""sv-perturb-speed."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FiniteRange, SvCommand, for_kaldi_option, overwrite_option


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY)
@click.option(
    "--factor",
    "factors",
    type=FiniteRange(0.1, 10.0),
    multiple=True,
    required=True,
    help="How many times as fast; may be given again.",
)
@click.option("--include-original", is_flag=True, help="Write the utterances as they are, too.")
@click.option("--same-speakers", is_flag=True, help="Copies keep their speakers; ids get the suffix -sp0.9 instead.")
@for_kaldi_option
@overwrite_option
def command(
    data: Path, out: Path, factors: tuple[float, ...], include_original: bool, same_speakers: bool, for_kaldi: bool, overwrite: bool
) -> None:
    """Write sped-up copies of the data directory DATA to OUT, as utterances of new speakers.

    Ids of copies get the prefix sp0.9-.  Only text files are written: utt2speed tells the commands that read
    audio how fast to play it; Kaldi's programs do not know it (--for-kaldi).

    \b
    Example:
        sv-perturb-speed --factor 0.9 --factor 1.1 --include-original data/train data/train_sp
    """
    from sv_toolkit.data.kaldi_pipes import for_kaldi as as_kaldi
    from sv_toolkit.data.operations import counts_of, perturb_speed, read_source
    from sv_toolkit.data.output import as_texts, say, write_output

    names = [f"{factor:g}" for factor in factors]
    if {"1", "nan"} & set(names) or len(set(names)) < len(names):
        raise click.UsageError(
            "--factor must be a number other than 1 (--include-original adds the utterances as they are), each given once"
        )
    tables = perturb_speed(read_source(data), factors, include_original, same_speakers)
    tables = as_kaldi(tables) if for_kaldi else tables
    counts = counts_of(tables)
    job = {"command": "sv-perturb-speed", "from": str(data), "factors": names, "same_speakers": same_speakers}
    written = write_output(out, as_texts(tables), job, counts, overwrite, [data])
    say(
        written,
        out,
        f"{counts['utterances']} utterances of {counts['speakers']} speakers at the speeds {', '.join(names)}{' and 1' if include_original else ''}",
    )
