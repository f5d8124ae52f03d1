"""sv-index-features: what a training has to know of every utterance, computed before it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import DIRECTORY, Progress, SvCommand, max_bad_option, nj_option, share_options

if TYPE_CHECKING:
    from sv_toolkit.io.parts import Share


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--all-frames", is_flag=True, help="For trainings without voice activity detection ([input] use_vad = false).")
@nj_option
@max_bad_option
@share_options
def command(data: Path, all_frames: bool, num_jobs: int | None, max_bad: int, share: Share) -> None:
    """Read every feature matrix of DATA once and note what sv-train needs: selected frames, their mean and deviation.

    sv-train does this itself where it has not been done, with one process. For a large DATA, this command does it with
    many, on one machine (--nj) or on several (--part, --join), and sv-train then begins at once.

    \b
    Example:
        sv-index-features data/train --nj 16
        run_job JOB=1:8 exp/log/index.JOB.log sv-index-features data/train --part JOB/8 && sv-index-features data/train --join 8
    """
    from sv_toolkit.data.feature_index import FeatureIndex
    from sv_toolkit.io.parts import Join, Part
    from sv_toolkit.io.workers import available_cpus
    from sv_toolkit.training.index_store import ensure_index, join_index, write_index_part

    index = FeatureIndex(data, need_vad=not all_frames)
    progress, jobs = partial(Progress, what="training index"), num_jobs or available_cpus()
    if isinstance(share, Part):
        with progress(index.num_utterances // share.count) as advance:
            count = write_index_part(index, not all_frames, share, jobs, advance)
        click.echo(f"sv-index-features: part {share}: {count} utterances", err=True)
        return
    if isinstance(share, Join):
        folder, was_there = join_index(index, not all_frames, share, max_bad), False
    else:
        folder, was_there = ensure_index(index, not all_frames, max_bad, progress, num_jobs=jobs)
    state = "is up to date" if was_there else f"of {index.num_utterances} utterances written"
    click.echo(f"sv-index-features: {folder} {state}; next: sv-train {data} EXP", err=True)
