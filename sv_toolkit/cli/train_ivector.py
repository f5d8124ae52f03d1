"""sv-train-ivector: from cepstra to a background model and a total variability matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
    SvCommand,
    max_bad_option,
    nj_option,
    overwrite_option,
    resume_option,
    say_done,
    share_options,
)
from sv_toolkit.cli.feature_options import prepare_process
from sv_toolkit.cli.train import parse_settings

if TYPE_CHECKING:
    from sv_toolkit.io.parts import Share


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("exp", type=DIRECTORY)
@click.option("--config", type=FILE, required=True, help="Configuration (.toml or .json), such as conf/ivector.toml of a recipe.")
@click.option("--num-components", type=click.IntRange(min=1), help="Gaussians of the background model; overrides ubm.num_components.")
@click.option("--ivector-dim", type=click.IntRange(min=1), help="Overrides total_variability.ivector_dim.")
@click.option("--covariance", type=click.Choice(["full", "diagonal"]), help="Covariances of the Gaussians; overrides ubm.covariance.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of both; overrides ubm.seed and total_variability.seed.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Overrides any key, e.g. --set frames.cmvn=level.")
@click.option("--posteriors", type=FILE, help="scp of frame posteriors, of a network for example, in place of the background model's.")
@nj_option
@max_bad_option
@overwrite_option
@resume_option
@click.option("--only-background", is_flag=True, help="Stop after the background model; --part JOB/NJ then makes the statistics.")
@share_options
def command(
    data: Path,
    exp: Path,
    config: Path,
    num_components: int | None,
    ivector_dim: int | None,
    covariance: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    posteriors: Path | None,
    num_jobs: int | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
    only_background: bool,
    share: Share,
) -> None:
    """Train an i-vector system on the features of DATA; the model is EXP.

    First the background model, diagonal and then, unless these are to stay, full Gaussians, then the total variability matrix, both by EM.
    Started again after an interruption, the same command goes on from the last finished stage.

    \b
    Example:
        sv-train-ivector data/train exp/ivector --config conf/ivector.toml --num-components 128 --ivector-dim 100
    """
    if only_background and share is not None:
        raise click.UsageError("--only-background comes before every --part and --join")
    prepare_process()
    from sv_toolkit.ivector.config import read_ivector_config
    from sv_toolkit.ivector.train import Options, train_ivector

    given = {
        "ubm.num_components": num_components,
        "total_variability.ivector_dim": ivector_dim,
        "ubm.covariance": covariance,
        "ubm.seed": seed,
        "total_variability.seed": seed,
    }
    overrides = {**parse_settings(settings), **{key: value for key, value in given.items() if value is not None}}
    train_ivector(
        read_ivector_config(config, overrides), Options(data, exp, posteriors, num_jobs, max_bad, overwrite, only_background, share)
    )
    if only_background:
        say_done(share, f"sv-train-ivector: background model in {exp}; next: the same command without --only-background")
    else:
        say_done(share, f"sv-train-ivector: system in {exp}; next: sv-extract-ivector {exp} DATA OUT")
