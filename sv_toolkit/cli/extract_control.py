"""sv-extract-control: how much the background alone gives away."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, Progress, SvCommand, max_bad_option, overwrite_option, resume_option
from sv_toolkit.cli.feature_options import prepare_process


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("out", type=DIRECTORY)
@max_bad_option
@overwrite_option
@resume_option
def command(data: Path, out: Path, max_bad: int, overwrite: bool, resume: bool) -> None:
    """Write an untrained vector of every utterance of DATA, the mean of its quietest frames, to OUT/dvector.scp.

    Nothing is learned from it and little voice is in it.  Where speakers were recorded once, its equal error rate
    shows how much of a result is owed to channel and background; it belongs beside that result.

    \b
    Example:
        sv-extract-control data/test exp/control
        sv-score data/test/trials --test exp/control/dvector.scp
    """
    prepare_process()
    from sv_toolkit.extraction.control import extract_control
    from sv_toolkit.extraction.pipeline import RunOptions

    options = RunOptions(1, max_bad, overwrite, partial(Progress, what="control vectors"))
    count = extract_control(data, out, options)
    click.echo(f"sv-extract-control: {count} vectors in {out}/dvector.scp", err=True)
