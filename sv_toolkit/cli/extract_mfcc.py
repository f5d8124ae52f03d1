"""sv-extract-mfcc: from recordings to cepstra."""

from __future__ import annotations

from typing import Any

import click

from sv_toolkit.cli.feature_options import MFCC_HELP, KaldiCommand, extraction_options, fbank_options, prepare_process, run_extraction


@click.command(cls=KaldiCommand)
@extraction_options(fbank_options(MFCC_HELP))
def command(**options: Any) -> None:
    """Write mel-frequency cepstral coefficients of every utterance of DATA to OUT/feats.scp.

    OUT (default: DATA) becomes a data directory.  The features are Kaldi's, and so are the names of the options.
    A finished run is not repeated unless options or tables change; for changed audio give --overwrite.

    \b
    Example:
        sv-extract-mfcc --num-ceps 20 --num-mel-bins 30 data/train
        sv-extract-mfcc --config conf/mfcc.toml --nj 8 data/train exp/mfcc/train
    """
    prepare_process()
    run_extraction("mfcc", **options)
