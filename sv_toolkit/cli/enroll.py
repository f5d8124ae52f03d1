"""sv-enroll: from d-vectors of utterances to models of speakers."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, overwrite_option


@click.command(cls=SvCommand)
@click.argument("dvectors", type=FILE)
@click.argument("spk2utt", type=FILE)
@click.argument("out", type=DIRECTORY)
@overwrite_option
def command(dvectors: Path, spk2utt: Path, out: Path, overwrite: bool) -> None:
    """Average the d-vectors in the scp file DVECTORS into one enrollment model per line of SPK2UTT.

    SPK2UTT holds lines 'model-id utterance utterance ...'.  A model is the mean of its length-normalised d-vectors,
    normalised again: OUT/dvector.scp.  OUT/num_utts says how many utterances each one was made of.

    \b
    Example:
        sv-enroll exp/ge2e/test/dvector.scp data/test/enroll_spk2utt exp/ge2e/enroll
        sv-score data/test/trials --enroll exp/ge2e/enroll/dvector.scp --test exp/ge2e/test/dvector.scp
    """
    from sv_toolkit.embeddings.enrollment import enroll_to_directory

    count = enroll_to_directory(dvectors, spk2utt, out, overwrite)
    click.echo(
        f"sv-enroll: {count} models in {out}/dvector.scp; next: sv-score TRIALS --enroll {out}/dvector.scp --test {dvectors}", err=True
    )
