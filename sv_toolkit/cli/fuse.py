"""sv-fuse: one score, or one embedding, from several systems."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import (
    DECIMALS,
    FILE,
    PRIOR,
    REPORTED_P_TARGETS,
    SvCommand,
    overwrite_option,
    refuse_given,
    trials_format_option,
    write_lines,
)

if TYPE_CHECKING:
    import numpy as np

    from sv_toolkit.backends.fusion import Fusion
    from sv_toolkit.data.trials import Trials

logger = logging.getLogger("sv_toolkit")


@click.command(cls=SvCommand)
@click.option("--scores", type=FILE, multiple=True, help="Scores of a system, again for each; joined by the pair.")
@click.option("--embeddings", type=FILE, multiple=True, help="Instead: scp of a system's embeddings, again for each; OUT is a directory.")
@click.option("-o", "--output", type=FILE, help="Where the scores go.  [default: stdout]")
@click.option(
    "--method", type=click.Choice(["logistic", "mean-variance"]), default="logistic", show_default=True, help="How to fuse scores."
)
@click.option("--weights-from", type=FILE, help="Labelled list of these very scores, to learn logistic weights from.")
@click.option("--prior", type=PRIOR, help="Where a logistic fit must be good: the prior of a target.  [default: 0.05]")
@click.option("--save", type=FILE, help="Where the learned weights go (*.json).  [default: OUTPUT.fusion.json]")
@click.option("--apply", "applied", type=FILE, help="Use these weights, learned on another list, instead of learning some.")
@trials_format_option
@overwrite_option
def command(
    scores: tuple[Path, ...],
    embeddings: tuple[Path, ...],
    output: Path | None,
    method: str,
    weights_from: Path | None,
    prior: float | None,
    save: Path | None,
    applied: Path | None,
    trials_format: str,
    overwrite: bool,
) -> None:
    """Fuse the scores, or the embeddings, of two or more systems.

    logistic learns weights that make log-likelihood ratios of the scores; learn them on a list of other speakers than those
    that you report.  mean-variance adds scores in deviations from their mean and needs no labels.  Embeddings of equal
    dimension are scaled to length 1, added, and scaled again (both as in Deep Speaker, Li et al. 2017).

    \b
    Example:
        sv-fuse --scores exp/a/dev_scores --scores exp/b/dev_scores --weights-from data/dev/trials -o exp/ab/dev_llrs
        sv-fuse --scores exp/a/scores --scores exp/b/scores --apply exp/ab/dev_llrs.fusion.json -o exp/ab/llrs
        sv-fuse --embeddings exp/a/test/dvector.scp --embeddings exp/b/test/dvector.scp -o exp/ab/test
    """
    if max(len(scores), len(embeddings)) < 2 or (scores and embeddings):
        raise click.UsageError("Missing option: --scores A --scores B, or --embeddings A.scp --embeddings B.scp; two or more of one kind")
    if embeddings:
        refuse_given("belongs to --scores", "method", "weights_from", "prior", "save", "applied", "trials_format")
        _fuse_embeddings(embeddings, output, overwrite)
        return
    if applied is not None:
        refuse_given("belongs to a fit, and --apply makes none", "method", "prior", "save")
    if applied is None and method == "logistic" and weights_from is None:
        raise click.UsageError(
            "Missing option: --weights-from TRIALS, --apply FUSION.json, or --method mean-variance, which needs no labels"
        )
    trials, values = _joined(scores, weights_from, trials_format)
    if applied is None:
        fusion = _fitted(trials, values, scores, method, prior)
        _keep(fusion, save, output)
    else:
        fusion = _read(applied)
    fused = fusion.fuse(values).round(DECIMALS)
    write_lines(trials.score_lines(fused, DECIMALS), output)
    _report(trials, [str(path) for path in scores], values, fused, fusion, to_stderr=output is None)


def _fuse_embeddings(embeddings: tuple[Path, ...], output: Path | None, overwrite: bool) -> None:
    from sv_toolkit.embeddings.fusion import fuse_to_directory

    if output is None:
        raise click.UsageError("Missing option: -o DIRECTORY for the fused embeddings")
    count = fuse_to_directory(embeddings, output, overwrite)
    click.echo(f"sv-fuse: {count} embeddings in {output}/dvector.scp; next: sv-score TRIALS --test {output}/dvector.scp", err=True)


def _joined(scores: tuple[Path, ...], listed: Path | None, trials_format: str) -> tuple[Trials, np.ndarray]:
    """The trials of the list, or else of the first file, and the scores `(num_trials, num_systems)`."""
    import numpy as np

    from sv_toolkit.data.trials import read_scored, read_scores, read_trials

    trials = read_scored(scores[0])[0] if listed is None else read_trials(listed, trials_format, need_keys=True)
    return trials, np.column_stack([read_scores(path, trials) for path in scores])


def _fitted(trials: Trials, values: np.ndarray, scores: tuple[Path, ...], method: str, prior: float | None) -> Fusion:
    from sv_toolkit.backends.calibration import DEFAULT_PRIOR, FitList
    from sv_toolkit.backends.fusion import fit_logistic, fit_mean_variance
    from sv_toolkit.backends.logistic import is_separated
    from sv_toolkit.errors import plain
    from sv_toolkit.reporting.results import both_kinds

    systems = [str(path) for path in scores]
    if method == "mean-variance":
        return fit_mean_variance(values, systems)
    made_of = FitList(trials.path.name, trials.short_hash, trials.num_targets, len(trials) - trials.num_targets)
    is_target = both_kinds(trials)
    found = fit_logistic(values, is_target, systems, made_of, DEFAULT_PRIOR if prior is None else prior)
    if is_separated(found.fuse(values), is_target):
        logger.warning("%s: the fused scores tell all targets from all nontargets: the size of the ratios is a guess", plain(trials.path))
    return found


def _keep(fusion: Fusion, save: Path | None, output: Path | None) -> None:
    from sv_toolkit.backends.fusion import write_fusion

    path = save or (output.with_name(f"{output.name}.fusion.json") if output is not None else None)
    if path is not None:
        write_fusion(path, fusion)
        click.echo(f"sv-fuse: wrote {path}", err=True)


def _read(applied: Path) -> Fusion:
    from sv_toolkit.backends.fusion import read_fusion

    return read_fusion(applied)


def _report(trials: Trials, names: list[str], values: np.ndarray, fused: np.ndarray, fusion: Fusion, to_stderr: bool) -> None:
    """Weights and costs under the names of the files at hand, with those of the fit where they are others."""
    from sv_toolkit.errors import plain
    from sv_toolkit.reporting.calibration import cost_table

    _warn_of_order(names, fusion.systems)
    for name, learned, weight in zip(names, fusion.systems, fusion.weights):
        click.echo(f"weight {weight:.4f} of {plain(name)}" + ("" if learned == name else f", learned for {plain(learned)}"), err=to_stderr)
        if weight <= 0:
            logger.warning("%s: its weight is not positive: beside the others it tells nothing", plain(name))
    if trials.is_target is None or trials.num_targets in (0, len(trials)):
        return
    systems = [(plain(name), values[:, column], trials.is_target) for column, name in enumerate(names)]
    click.echo("\n".join(cost_table([*systems, ("fused", fused, trials.is_target)], REPORTED_P_TARGETS)), err=to_stderr)


def _warn_of_order(names: list[str], learned: tuple[str, ...]) -> None:
    """Weights go by place: say where the names look as if the systems came in another order than in the fit."""
    here, there = ([set(Path(name).parts) for name in each] for each in (names, learned))
    likeness = [[len(own & other) for other in there] for own in here]
    if any(max(row) > row[place] for place, row in enumerate(likeness)):
        logger.warning("weights go by place, and these scores look like another order than that of the fit: %s", " ".join(learned))
