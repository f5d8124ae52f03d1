"""sv-train-backend: from labelled embeddings to a back end that scores."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SHARE, SvCommand, overwrite_option


@click.command(cls=SvCommand)
@click.argument("embeddings", type=FILE)
@click.argument("labels", type=FILE)
@click.argument("out", type=DIRECTORY)
@click.option("--config", type=FILE, help="TOML or JSON file with the options below, as keys: lda_dim = 100; the command line goes first.")
@click.option("--center/--no-center", default=None, help="Subtract the mean.  [default: yes]")
@click.option("--whiten", type=click.Choice(["none", "zca", "pca"]), help="Make the total covariance the identity.  [default: none]")
@click.option("--whiten-shrinkage", type=SHARE, help="Weight of the scaled identity in it.  [default: 0]")
@click.option(
    "--lda-dim", type=click.IntRange(min=0), help="Directions LDA keeps; 0: no LDA.  [default: what speakers differ in, at most 100]"
)
@click.option("--lda-shrinkage", type=SHARE, help="Of the within-speaker covariance.  [default: from the data]")
@click.option("--length-norm", type=click.Choice(["none", "unit", "sqrt-dim"]), help="Length of what comes out.  [default: sqrt-dim]")
@click.option("--plda", type=click.Choice(["two-covariance", "simplified", "none"]), help="none: cosines.  [default: two-covariance]")
@click.option("--plda-iterations", type=click.IntRange(min=0), help="Of EM.  [default: 10]")
@click.option("--speaker-dim", type=click.IntRange(min=1), help="Speaker subspace of simplified PLDA.  [default: as large as it can be]")
@click.option(
    "--plda-length", type=click.Choice(["none", "model", "sqrt-dim"]), help="Length of what PLDA projects, before scoring.  [default: none]"
)
@overwrite_option
def command(embeddings: Path, labels: Path, out: Path, config: Path | None, overwrite: bool, **options: str | float | None) -> None:
    """Train a back end on the embeddings of the scp file EMBEDDINGS: centering, whitening, LDA, length norm, PLDA.

    LABELS is a data directory or its utt2spk.  OUT becomes a folder with backend.json and backend.safetensors.
    Speakers must have several utterances, and be others than those of the trials.

    \b
    Example:
        sv-train-backend exp/ge2e/train/dvector.scp data/train exp/ge2e/backend --lda-dim 100
        sv-score data/test/trials --test exp/ge2e/test/dvector.scp --backend exp/ge2e/backend -o exp/ge2e/scores
    """
    from sv_toolkit.backends.backend import BackendConfig
    from sv_toolkit.backends.fitting import train_backend
    from sv_toolkit.config import build, read_config

    table = read_config(config) if config is not None else {}
    given = {name: value for name, value in options.items() if value is not None}
    chosen = build(BackendConfig, {**table, **given}, str(config) if config is not None else "options")
    backend = train_backend(embeddings, labels, out, chosen, overwrite)
    click.echo(f"sv-train-backend: {backend.summary()} in {out}; next: sv-score TRIALS --backend {out}", err=True)
