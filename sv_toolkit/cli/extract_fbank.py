"""sv-extract-fbank: from recordings to filter banks."""

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
    FBANK_HELP,
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
@fbank_options(FBANK_HELP)
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
    """Write log-mel filter-bank features of every utterance of DATA to OUT/feats.scp.

    OUT (default: DATA) becomes a data directory.  The features are Kaldi's, and so are the names of the options.
    A finished run is not repeated unless options or tables change; for changed audio give --overwrite.

    \b
    Example:
        sv-extract-fbank --num-mel-bins 80 --snip-edges=false data/train
        sv-extract-fbank --config conf/fbank.toml --nj 8 data/train exp/fbank/train
    """
    prepare_process()
    from sv_toolkit.config import build
    from sv_toolkit.extraction.fbank import extract_fbank
    from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
    from sv_toolkit.features.fbank import FbankConfig

    out = out or data
    where = f"{config_file}: fbank" if config_file else "options"
    config = build(FbankConfig, override(read_tables(config_file)["fbank"], given), where)
    options = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="features"))
    count = extract_fbank(data, out, config, AudioOptions(channel, resample, allow_pipes), options, seed)
    click.echo(f"sv-extract-fbank: {count} matrices of {config.dim} columns in {out}/feats.scp", err=True)
