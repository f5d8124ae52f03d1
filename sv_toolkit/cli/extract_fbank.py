"""sv-extract-fbank: from recordings to filter banks."""

from __future__ import annotations

from typing import Any

import click

from sv_toolkit.cli.feature_options import FBANK_HELP, KaldiCommand, extraction_options, fbank_options, prepare_process, run_extraction


@click.command(cls=KaldiCommand)
@extraction_options(fbank_options(FBANK_HELP))
def command(**options: Any) -> None:
    """Write log-mel filter-bank features of every utterance of DATA to OUT/feats.scp.

    OUT (default: DATA) becomes a data directory.  The features are Kaldi's, and so are the names of the options.
    A finished run is not repeated unless options or tables change; for changed audio give --overwrite.

    \b
    Example:
        sv-extract-fbank --num-mel-bins 80 --snip-edges=false data/train
        sv-extract-fbank --config conf/fbank.toml --nj 8 data/train exp/fbank/train
    """
    prepare_process()
    run_extraction("fbank", **options)
