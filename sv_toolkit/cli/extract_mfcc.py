"""sv-extract-mfcc: from recordings to cepstra."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    Progress,
    allow_pipes_option,
    max_bad_option,
    nj_option,
    overwrite_option,
    resume_option,
    seed_option,
)
from sv_toolkit.cli.feature_options import (
    MFCC_HELP,
    KaldiCommand,
    channel_option,
    config_option,
    fbank_options,
    override,
    prepare_process,
    read_tables,
    resample_option,
)


@click.command(cls=KaldiCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY, required=False)
@config_option
@fbank_options(MFCC_HELP)
@channel_option
@resample_option
@seed_option
@nj_option
@max_bad_option
@overwrite_option
@resume_option
@allow_pipes_option
def command(
    data: Path,
    out: Path | None,
    config_file: Path | None,
    channel: int | None,
    resample: bool,
    seed: int,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    allow_pipes: bool,
    **given: Any,
) -> None:
    """Write mel-frequency cepstral coefficients of every utterance of DATA to OUT/feats.scp.

    OUT (default: DATA) becomes a data directory.  The features are Kaldi's, and so are the names of the options.
    A finished run is not repeated unless options or tables change; for changed audio give --overwrite.

    \b
    Example:
        sv-extract-mfcc --num-ceps 20 --num-mel-bins 30 data/train
        sv-extract-mfcc --config conf/mfcc.toml --nj 8 data/train exp/mfcc/train
    """
    prepare_process()
    from sv_toolkit.config import build
    from sv_toolkit.extraction.fbank import extract_mfcc
    from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
    from sv_toolkit.features.mfcc import MfccConfig

    out = out or data
    where = f"{config_file}: mfcc" if config_file else "options"
    config = build(MfccConfig, override(read_tables(config_file)["mfcc"], given), where)
    options = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="features"))
    count = extract_mfcc(data, out, config, AudioOptions(channel, resample, allow_pipes), options, seed)
    click.echo(f"sv-extract-mfcc: {count} matrices of {config.dim} columns in {out}/feats.scp", err=True)
