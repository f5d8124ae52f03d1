"""sv-extract-dvector: from features to d-vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    MODEL,
    Progress,
    SvCommand,
    device_option,
    max_bad_option,
    nj_option,
    overwrite_option,
    resume_option,
    say_done,
    share_options,
)
from sv_toolkit.cli.missing_features import make_missing_features

if TYPE_CHECKING:
    from sv_toolkit.io.parts import Share


@click.command(cls=SvCommand)
@click.argument("folders", type=DIRECTORY, nargs=-1, metavar="[MODEL] DATA OUT")
@click.option("--window", type=click.IntRange(min=1), help="Frames per window.  [default: the model's]")
@click.option("--shift", type=click.IntRange(min=1), help="Frames between windows.  [default: the model's, or half of --window]")
@device_option
@click.option("--amp", type=click.Choice(["none", "bf16"]), default="none", show_default=True, help="Precision of the network.")
@nj_option
@max_bad_option
@overwrite_option
@resume_option
@share_options
def command(
    folders: tuple[Path, ...],
    window: int | None,
    shift: int | None,
    device: str,
    amp: str,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    share: Share,
) -> None:
    """Write the d-vector of every utterance of DATA to OUT/dvector.scp.

    Windows of the model's length slide over the voiced frames, half overlapping, the last one aligned to the
    end; their unit-length d-vectors are averaged and normalised again.  A shorter utterance is one window.
    Features that are not there yet are made, as for the training data of the model.  Without MODEL, the ready model
    that comes with the toolkit is used.

    \b
    Example:
        sv-extract-dvector exp/ge2e data/test exp/ge2e/test
    """
    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.embeddings.extract import Options, extract_dvectors
    from sv_toolkit.models.device import choose_device

    if not 2 <= len(folders) <= 3:
        raise click.UsageError(
            "Missing argument: [MODEL] DATA OUT are a data directory and where the d-vectors go, and before them the model"
        )
    model = MODEL.convert(folders[-3] if len(folders) == 3 else "default", None, click.get_current_context())
    data, out = folders[-2:]
    device = choose_device(device).type
    if share is None:  # parts would all make them at once
        make_missing_features([data], model, num_jobs, max_bad)
    total = len(DataDir.read(data, require=("utt2spk",)).utt2spk)
    with Progress(total, "d-vectors") as advance:
        count = extract_dvectors(model, data, out, Options(window, shift, num_jobs, max_bad, device, overwrite, advance, share, amp))
    say_done(share, f"sv-extract-dvector: {count} d-vectors in {out}/dvector.scp; next: sv-score TRIALS --enroll {out}/dvector.scp")
