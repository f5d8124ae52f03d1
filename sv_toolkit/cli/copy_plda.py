"""sv-copy-plda: PLDA models between back ends and Kaldi's files."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, SvCommand, overwrite_option, refuse_given


@click.command(cls=SvCommand)
@click.argument("source", type=FILE)
@click.argument("out", type=FILE)
@click.option("--text", is_flag=True, help="Write Kaldi's file as text.")
@click.option(
    "--plda-length",
    type=click.Choice(["none", "model", "sqrt-dim"]),
    default="none",
    show_default=True,
    help="Of a back end made of Kaldi's file: length before scoring; Kaldi's --normalize-length=true is 'model'.",
)
@overwrite_option
def command(source: Path, out: Path, text: bool, plda_length: str, overwrite: bool) -> None:
    """Copy the PLDA model of a back end into Kaldi's file OUT, or Kaldi's file into a back end, the folder OUT.

    SOURCE is a back end (a folder) or Kaldi's file, binary or text.  Kaldi's file holds the PLDA model alone: what a back
    end does before PLDA (centering, LDA, length) is not in it, and a back end made of it does nothing before PLDA.

    \b
    Example:
        sv-copy-plda exp/ge2e/backend exp/ge2e/plda
        sv-copy-plda exp/kaldi/plda exp/kaldi/backend --plda-length model
    """
    from sv_toolkit.backends.copying import copy_plda

    if source.is_dir():
        refuse_given("belongs to Kaldi's file that becomes a back end; a back end has its own", "plda_length")
    else:
        refuse_given("belongs to a back end that becomes Kaldi's file", "text")
    click.echo(f"sv-copy-plda: {copy_plda(source, out, not text, plda_length, overwrite)}", err=True)
