"""sv-extract-posteriors: from filter banks to posteriors of phones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    Progress,
    SvCommand,
    max_bad_option,
    nj_option,
    overwrite_option,
    resume_option,
    say_done,
    share_options,
)
from sv_toolkit.cli.feature_options import prepare_process

if TYPE_CHECKING:
    from sv_toolkit.io.parts import Share


@click.command(cls=SvCommand)
@click.argument("exp", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY)
@click.option("--num-largest", type=click.IntRange(min=1), help="Keep so many posteriors of every frame.  [default: all]")
@nj_option
@max_bad_option
@overwrite_option
@resume_option
@share_options
def command(
    exp: Path,
    data: Path,
    out: Path,
    num_largest: int | None,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    share: Share,
) -> None:
    """Write the posteriors of every frame of DATA, by the classifier EXP, to OUT/posteriors.scp.

    All frames get them, voiced or not; i-vectors are trained and extracted with them.

    \b
    Example:
        sv-extract-posteriors exp/phones data/fbank/train exp/phones/train
        sv-train-ivector data/train exp/ivector --config conf/ivector.toml --posteriors exp/phones/train/posteriors.scp
    """
    prepare_process()
    from sv_toolkit.extraction.pipeline import RunOptions
    from sv_toolkit.phonetic.extract import extract_posteriors

    options = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="posteriors"), share)
    count = extract_posteriors(exp, data, out, options, num_largest)
    say_done(share, f"sv-extract-posteriors: {count} matrices in {out}/posteriors.scp; next: sv-train-ivector --posteriors")
