"""sv-adapt-backend: move the PLDA model of a back end to another domain."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, FINITE, SvCommand, overwrite_option


@click.command(cls=SvCommand)
@click.argument("backend", type=DIRECTORY)
@click.argument("embeddings", type=FILE)
@click.argument("out", type=DIRECTORY)
@click.option(
    "--mean-diff-scale", type=FINITE, default=1.0, show_default=True, help="How much of the shift of the mean counts as variance."
)
@click.option("--within-covar-scale", type=FINITE, default=0.3, show_default=True, help="Share of excess variance that is within speakers.")
@click.option("--between-covar-scale", type=FINITE, default=0.7, show_default=True, help="Share of it that is between speakers.")
@click.option("--recenter", is_flag=True, help="Take the mean that is subtracted first from EMBEDDINGS too.")
@overwrite_option
def command(
    backend: Path,
    embeddings: Path,
    out: Path,
    mean_diff_scale: float,
    within_covar_scale: float,
    between_covar_scale: float,
    recenter: bool,
    overwrite: bool,
) -> None:
    """Adapt the PLDA model of BACKEND to the unlabelled embeddings of the scp file EMBEDDINGS, as Kaldi's ivector-adapt-plda does.

    Where the new embeddings vary more than the model expects, the excess is shared out between its two covariances;
    its mean becomes theirs.  OUT becomes a back end like BACKEND.

    \b
    Example:
        sv-adapt-backend exp/ge2e/backend exp/ge2e/unlabelled/dvector.scp exp/ge2e/backend_adapted
    """
    from sv_toolkit.backends.fitting import adapt_backend
    from sv_toolkit.backends.plda_adaptation import AdaptationConfig

    config = AdaptationConfig(mean_diff_scale, within_covar_scale, between_covar_scale)
    adapted = adapt_backend(backend, embeddings, out, config, recenter, overwrite)
    click.echo(f"sv-adapt-backend: {adapted.summary()} in {out}; next: sv-score TRIALS --backend {out}", err=True)
