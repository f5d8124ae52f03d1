"""sv-calibrate: from scores to log-likelihood ratios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import (
    DECIMALS,
    DIRECTORY,
    FILE,
    PRIOR,
    REPORTED_P_TARGETS,
    SvCommand,
    is_given,
    refuse_given,
    trials_format_option,
    write_lines,
)

if TYPE_CHECKING:
    import numpy as np

    from sv_toolkit.backends.calibration import Calibration
    from sv_toolkit.data.trials import Trials
    from sv_toolkit.reporting.conditions import TrialSpeakers


@click.command(cls=SvCommand)
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="[TRIALS] SCORES")
@click.option("-o", "--output", type=FILE, help="The calibration (*.json) of a fit; with --apply the ratios.  [default there: stdout]")
@click.option(
    "--apply", "applied", type=FILE, help="Do not fit: put SCORES through this calibration (a file, or the model folder it is in)."
)
@click.option("--model", type=DIRECTORY, help="The model behind the scores: recorded, and MODEL/calibration.json is written too.")
@click.option("--prior", type=PRIOR, help="Where the fit must be good: the prior of a target.  [default: 0.05]")
@click.option("--scoring", default="cosine", show_default=True, help="What made the scores (plda, as-norm, ...): recorded.")
@click.option(
    "--bend", is_flag=True, help="Give low and high scores slopes of their own: nearer to the least costs from some 50 speakers on."
)
@click.option("--utt2dur", type=FILE, help="Seconds of every utterance: the duration of both sides counts too.")
@click.option("--utt2num-frames", type=FILE, help="Frames of every utterance, instead of --utt2dur.")
@click.option("--enroll-spk2utt", type=FILE, help="Lines 'model utterance ...', where the left of a trial is a model.")
@click.option("--folds", type=click.IntRange(min=2), help="Also print what fits on other speakers reach, by so many folds of speakers.")
@click.option("--data", type=DIRECTORY, help="Data directory whose utt2spk --folds needs.  [default: that of TRIALS]")
@trials_format_option
def command(files: tuple[Path, ...], applied: Path | None, trials_format: str, **options: Any) -> None:
    """Fit the map of SCORES to log-likelihood ratios on the labelled list TRIALS, or put SCORES through one.

    A calibrated score is the natural logarithm of a likelihood ratio: its threshold follows from prior and costs alone,
    4.595 for a prior of 0.01 and equal costs.  The fit is a logistic regression weighted by --prior; the default of 0.05
    comes nearest to the lowest costs over all of the priors 0.01, 0.05 and 0.5.  The costs before and after are printed.

    \b
    Example:
        sv-calibrate data/dev/trials exp/ge2e/dev_scores --model exp/ge2e --folds 2
        sv-calibrate --apply exp/ge2e data/test/trials exp/ge2e/scores -o exp/ge2e/llrs
    """
    if len(files) > 2 or (applied is None and len(files) < 2):
        raise click.UsageError("Missing argument: TRIALS SCORES to fit, or --apply CALIBRATION [TRIALS] SCORES")
    if applied is None and options["output"] is None and options["model"] is None:
        raise click.UsageError("Missing option: where the calibration goes: -o calibration.json, --model MODEL, or both")
    if options["utt2dur"] and options["utt2num_frames"]:
        raise click.UsageError("--utt2dur and --utt2num-frames say the same; give one")
    if applied is None:
        _fit(files, trials_format, **options)
    else:
        refuse_given("belongs to a fit, and --apply makes none", "prior", "bend", "folds", "data")
        _apply(files, trials_format, applied, **options)


def _fit(
    files: tuple[Path, ...],
    trials_format: str,
    output: Path | None,
    model: Path | None,
    prior: float | None,
    scoring: str,
    bend: bool,
    folds: int | None,
    data: Path | None,
    **sides: Path | None,
) -> None:
    from sv_toolkit.backends import calibration as library
    from sv_toolkit.data.quality import seconds_of
    from sv_toolkit.data.trials import read_scores, read_trials
    from sv_toolkit.reporting.conditions import Origin
    from sv_toolkit.reporting.results import both_kinds

    trials = read_trials(files[0], trials_format, need_keys=True)
    scores, is_target = read_scores(files[1], trials), both_kinds(trials)
    if scoring == "cosine":
        library.refuse_no_cosines(scores, files[1], "say what made the scores with --scoring (plda, as-norm, ...)")
    prior = library.DEFAULT_PRIOR if prior is None else prior
    quality = _quality(trials, **sides)
    made_of = library.FitList(files[0].name, trials.short_hash, trials.num_targets, len(trials) - trials.num_targets)
    origin = Origin.find(files[0], data, sides["enroll_spk2utt"])
    seconds = seconds_of(trials, sides["utt2dur"] or origin.data / "utt2dur", origin.models)
    found = library.calibrate(scores, is_target, made_of, prior, quality, scoring, _digest(model), bend, seconds)
    speakers, missing = origin.speakers(trials)
    held_out = _held_out(scores, is_target, speakers, missing, folds, prior, quality, bend) if folds else {}
    for path in (output, None if model is None else model / library.NAME):
        if path is not None:
            library.write_calibration(path, found)
            click.echo(f"sv-calibrate: wrote {path}", err=True)
    library.warn_of_weak_evidence(scores, is_target, None if speakers is None else speakers.num_speakers, files[0])
    llrs = found.llr(scores, quality)
    _print_costs(trials, scores, llrs, held_out)
    _print_thresholds(found, llrs, is_target)
    sentence = library.unreachable(found, found.threshold(prior))
    if sentence is not None:
        click.echo(f"warning: at prior {prior:g} {sentence}: sv-verify --prior", err=True)


def _apply(files: tuple[Path, ...], trials_format: str, applied: Path, output: Path | None, model: Path | None, **options: Any) -> None:
    from sv_toolkit.backends import calibration as library
    from sv_toolkit.data.trials import read_scored, read_scores, read_trials

    found = library.read_calibration(applied)
    scoring = options["scoring"] if is_given("scoring") else found.scoring
    library.refuse_other_origin(found, applied, scoring, _digest(model))
    if len(files) == 2:
        trials = read_trials(files[0], trials_format)
        scores = read_scores(files[1], trials)
    else:
        trials, scores = read_scored(files[0])
    if found.scoring == "cosine":
        library.refuse_no_cosines(scores, files[-1], f"{applied} was fitted on cosine scores")
    sides = {name: options[name] for name in ("utt2dur", "utt2num_frames", "enroll_spk2utt")}
    llrs = found.llr(scores, _needed(found, _quality(trials, **sides), applied)).round(DECIMALS)
    write_lines(trials.score_lines(llrs, DECIMALS), output)
    if trials.is_target is not None and 0 < trials.num_targets < len(trials):
        _print_costs(trials, scores, llrs, {}, err=output is None)


def _digest(model: Path | None) -> str | None:
    if model is None:
        return None
    from sv_toolkit.models.store import model_digest

    return model_digest(model)


def _quality(trials: Trials, utt2dur: Path | None, utt2num_frames: Path | None, enroll_spk2utt: Path | None) -> dict[str, np.ndarray]:
    from sv_toolkit.data.enrollment import read_enrollment
    from sv_toolkit.data.quality import MEASURES, log_lengths, read_lengths

    path = utt2dur or utt2num_frames
    if path is None:
        return {}
    models = None if enroll_spk2utt is None else read_enrollment(enroll_spk2utt)
    return log_lengths(trials, read_lengths(path), MEASURES["utt2dur" if utt2dur else "utt2num_frames"], models)


def _needed(found: Calibration, quality: dict[str, np.ndarray], where: Path) -> dict[str, np.ndarray]:
    from sv_toolkit.data.quality import MEASURES
    from sv_toolkit.errors import DataError, plain

    missing = [name for name in found.quality_names if name not in quality]
    if missing:
        option = next(
            (f"--{key.replace('_', '-')}" for key, measure in MEASURES.items() if missing[0].startswith(measure)), "another version"
        )
        raise DataError(f"{plain(where)}: needs {' and '.join(map(plain, missing))}; give {option}")
    return quality


def _held_out(
    scores: np.ndarray,
    is_target: np.ndarray,
    speakers: TrialSpeakers | None,
    missing: str,
    folds: int,
    prior: float,
    quality: dict[str, np.ndarray],
    bend: bool,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from sv_toolkit.backends.calibration import held_out_llr
    from sv_toolkit.errors import DataError

    if speakers is None:
        raise DataError(f"--folds {folds}: {missing}")
    positions, llrs = held_out_llr(scores, is_target, (speakers.enroll, speakers.test), folds, prior, quality, bend)
    if is_target[positions].all() or not is_target[positions].any():
        raise DataError(f"--folds {folds}: the trials within folds are of one kind only; fewer folds leave more trials")
    return {f"on other speakers ({folds} folds, {len(positions)} trials)": (llrs, is_target[positions])}


def _print_costs(
    trials: Trials, scores: np.ndarray, llrs: np.ndarray, more: dict[str, tuple[np.ndarray, np.ndarray]], err: bool = False
) -> None:
    from sv_toolkit.reporting.calibration import cost_table
    from sv_toolkit.reporting.results import both_kinds

    is_target = both_kinds(trials)
    systems = [("scores as they are", scores, is_target), ("calibrated", llrs, is_target), *((name, *own) for name, own in more.items())]
    click.echo("\n".join(cost_table(systems, REPORTED_P_TARGETS)), err=err)


def _print_thresholds(found: Calibration, llrs: np.ndarray, is_target: np.ndarray) -> None:
    made_of = found.list
    for p_target in REPORTED_P_TARGETS:
        threshold = found.threshold(p_target)
        accepted = llrs >= threshold
        click.echo(
            f"threshold {threshold:.4f} at p_target {p_target:g}:"
            f" false alarms {100 * accepted[~is_target].mean():.3f} % of {made_of.num_nontargets},"
            f" misses {100 * (~accepted[is_target]).mean():.3f} % of {made_of.num_targets}"
        )
    click.echo(f"fitted on {made_of.num_targets} target, {made_of.num_nontargets} nontarget, list {made_of.hash}")
