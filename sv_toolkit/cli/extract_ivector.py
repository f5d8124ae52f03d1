"""sv-extract-ivector: from features to i-vectors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
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
@click.option("--posteriors", type=FILE, help="scp of frame posteriors; where EXP was trained with such.")
@nj_option
@max_bad_option
@overwrite_option
@resume_option
@share_options
def command(
    exp: Path,
    data: Path,
    out: Path,
    posteriors: Path | None,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    share: Share,
) -> None:
    """Write the i-vector of every utterance of DATA, by the system EXP, to OUT/ivector.scp.

    They are as the model gives them, neither centred nor of unit length; the back end does that.

    \b
    Example:
        sv-extract-ivector exp/ivector data/test exp/ivector/test
        sv-score data/test/trials --test exp/ivector/test/ivector.scp
    """
    prepare_process()
    from sv_toolkit.extraction.pipeline import RunOptions
    from sv_toolkit.ivector.extract import extract_ivectors

    options = RunOptions(num_jobs, max_bad, overwrite, partial(Progress, what="i-vectors"), share)
    count = extract_ivectors(exp, data, out, options, posteriors)
    say_done(share, f"sv-extract-ivector: {count} i-vectors in {out}/ivector.scp; next: sv-score TRIALS --test {out}/ivector.scp")
