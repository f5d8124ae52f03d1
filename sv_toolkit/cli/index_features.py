"""sv-index-features: what a training has to know of every utterance, computed before it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, Progress, SvCommand, max_bad_option, nj_option


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--all-frames", is_flag=True, help="For trainings without voice activity detection ([input] use_vad = false).")
@nj_option
@max_bad_option
def command(data: Path, all_frames: bool, nj: int | None, max_bad: int) -> None:
    """Read every feature matrix of DATA once and note what sv-train needs: selected frames, their mean and deviation.

    sv-train does this itself where it has not been done, with one process. For a large DATA, this command does it with
    many, and sv-train then begins at once.

    \b
    Example:
        sv-index-features data/train --nj 16
    """
    from sv_toolkit.data.feature_index import FeatureIndex
    from sv_toolkit.io.workers import available_cpus
    from sv_toolkit.training.index_store import ensure_index

    index = FeatureIndex(data, need_vad=not all_frames)
    progress = partial(Progress, what="training index")
    folder, was_there = ensure_index(index, not all_frames, max_bad, progress, num_jobs=nj or available_cpus())
    state = "is up to date" if was_there else f"of {index.num_utterances} utterances written"
    click.echo(f"sv-index-features: {folder} {state}; next: sv-train {data} EXP", err=True)
