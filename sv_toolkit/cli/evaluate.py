"""sv-eval: from scores to error rates with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
    SHARE,
    WALL_TIME,
    SvCommand,
    cost_options,
    num_bootstrap_option,
    refuse_given,
    seed_option,
    trials_format_option,
)

if TYPE_CHECKING:
    import numpy as np

    from sv_toolkit.data.trials import Trials
    from sv_toolkit.reporting.comparison import Comparison
    from sv_toolkit.reporting.conditions import Origin
    from sv_toolkit.reporting.results import Results, Settings


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.argument("scores", type=FILE)
@click.option("--data", type=DIRECTORY, help="Data directory with utt2spk and the maps of --by.  [default: that of TRIALS]")
@click.option("--enroll-spk2utt", type=FILE, help="Lines 'model utterance ...', where the left of a trial is a model.")
@cost_options
@click.option("--calibrated", is_flag=True, help="The scores are log-likelihood ratios (natural): print actual costs and Cllr too.")
@click.option("--hull", is_flag=True, help="Print the EER of the ROC convex hull and the lowest Cllr (PAV) too.")
@click.option(
    "--at-far", type=SHARE, multiple=True, help="Print the miss rate at this false-alarm rate (a fraction); may be given several times."
)
@click.option(
    "--at-frr", type=SHARE, multiple=True, help="Print the false-alarm rate at this miss rate (a fraction); may be given several times."
)
@click.option("--compare", type=FILE, metavar="SCORES", help="Scores of another system on TRIALS: difference, interval and p-value.")
@click.option("--streaming", is_flag=True, help="For files that do not fit in memory: both in one order; bounds instead of intervals.")
@num_bootstrap_option
@seed_option
@click.option(
    "--by",
    type=click.Choice(["keyword", "session", "device", "days", "gender"]),
    multiple=True,
    help="A result per condition besides; may be given several times: same or different keyword, session, device; days between the sides; genders.",
)
@trials_format_option
@click.option("--json", "json_file", type=FILE, help="Write everything at full precision to this file too.")
@click.option("--det", is_flag=True, help="Print points of the DET curve: threshold, miss rate, false-alarm rate.")
@click.option("--results-row", metavar="NAME", help="Print a row for RESULTS.md instead, under this name.")
@click.option("--append-to", type=FILE, help="With --results-row: add the row to this file, and also print the results.")
@click.option("--wall-time", type=WALL_TIME, help="Seconds that the whole run took, for the row.")
@click.option("--command", "command_line", default="", help="What was run, for the row.")
def command(
    trials: Path,
    scores: Path,
    data: Path | None,
    enroll_spk2utt: Path | None,
    p_target: tuple[float, ...],
    cost: tuple[str, ...],
    calibrated: bool,
    hull: bool,
    at_far: tuple[float, ...],
    at_frr: tuple[float, ...],
    compare: Path | None,
    streaming: bool,
    num_bootstrap: int,
    seed: int,
    by: tuple[str, ...],
    trials_format: str,
    json_file: Path | None,
    det: bool,
    results_row: str | None,
    append_to: Path | None,
    wall_time: float | None,
    command_line: str,
) -> None:
    """Print the EER and the detection costs of SCORES for the labelled list TRIALS.

    Where the speakers are known, every number has a 95 % interval, found by resampling speakers.  The EER is linear between
    the two neighbouring operating points; trials with equal scores are accepted or rejected together; costs are divided by
    that of always deciding alike, without listening.

    \b
    Example:
        sv-eval data/test/trials exp/ge2e/scores
        sv-eval data/test/trials exp/ge2e/scores --operating-point sre16 --compare exp/ivector/scores
        sv-eval data/test/trials exp/ge2e/scores --results-row "GE2E LSTM" --append-to RESULTS.md
    """
    from sv_toolkit.data.trials import read_scores, read_trials
    from sv_toolkit.reporting.conditions import Origin
    from sv_toolkit.reporting.results import Settings, chosen_costs, evaluate_by, warn

    settings = Settings(chosen_costs(p_target, cost), num_bootstrap, seed, calibrated, hull, at_far, at_frr)
    if streaming:
        refuse_given("cannot be kept with --streaming, which gives no row", "append_to")
        _refuse_with_streaming(data, enroll_spk2utt, by, compare, det, results_row, calibrated, hull, at_far, at_frr)
        _print_streamed(trials, scores, trials_format, settings, json_file)
        return
    _refuse_odd_rows(compare, results_row, append_to)
    listed = read_trials(trials, trials_format, need_keys=True)
    values = read_scores(scores, listed)
    origin = Origin.find(trials, data, enroll_spk2utt)
    results = evaluate_by(listed, values, origin, settings, *by)
    warn(listed, values, results)
    click.echo("\n".join(_result_lines(results, settings, results_row, append_to, wall_time, command_line)))
    records: dict[str, Any] = dict(results)
    if compare is not None:
        records["comparison"] = _print_comparison(listed, values, (scores, compare), origin, settings)
    if det:
        _print_det(listed, values)
    if json_file is not None:
        _write_json(json_file, records)


def _refuse_odd_rows(compare: Path | None, results_row: str | None, append_to: Path | None) -> None:
    if append_to is not None and results_row is None:
        raise click.UsageError("--append-to needs --results-row NAME: what the row is called")
    if compare is not None and results_row is not None and append_to is None:
        raise click.UsageError("--compare prints a block and --results-row a row: give one of them, or --append-to FILE for the row")


def _result_lines(
    results: Results, settings: Settings, results_row: str | None, append_to: Path | None, wall_time: float | None, command_line: str
) -> list[str]:
    """What is printed; the rows go to `append_to` where that is given."""
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.results import text_lines
    from sv_toolkit.reporting.rows import append_rows, markdown_rows

    if results_row is None:
        return text_lines(results, settings)
    rows = markdown_rows(results_row, results, provenance(wall_time, command_line))
    if append_to is None:
        return rows
    append_rows(append_to, rows)
    return text_lines(results, settings)


def _print_comparison(trials: Trials, values: np.ndarray, files: tuple[Path, Path], origin: Origin, settings: Settings) -> Comparison:
    from sv_toolkit.data.trials import read_scores
    from sv_toolkit.errors import plain
    from sv_toolkit.reporting.comparison import compare, comparison_lines

    found = compare(trials, values, read_scores(files[1], trials), origin, settings)
    click.echo("\n" + "\n".join(comparison_lines(found, (plain(files[0]), plain(files[1])), settings)))
    return found


def _print_det(trials: Trials, values: np.ndarray) -> None:
    from sv_toolkit.metrics.detection import det_points
    from sv_toolkit.reporting.results import both_kinds

    is_target = both_kinds(trials)
    points = zip(*det_points(values[is_target], values[~is_target]))
    click.echo("# threshold miss_rate false_alarm_rate\n" + "\n".join(f"{a:.6g} {b:.6g} {c:.6g}" for a, b, c in points))


def _refuse_with_streaming(*wanted: object) -> None:
    if any(wanted):
        raise click.UsageError(
            "--streaming gives EER and minDCF alone: leave out --by, --compare, --det, --results-row and what needs all scores"
        )


def _print_streamed(trials: Path, scores: Path, trials_format: str, settings: Settings, json_file: Path | None) -> None:
    from sv_toolkit.reporting.streamed import evaluate_streamed, streamed_lines

    found = evaluate_streamed(trials, scores, trials_format, settings)
    click.echo("\n".join(streamed_lines(found)))
    if json_file is not None:
        _write_json(json_file, {"all trials": found})


def _write_json(path: Path, records: Mapping[str, Any]) -> None:
    from sv_toolkit.io.files import write_lone_text
    from sv_toolkit.reporting.results import as_json

    write_lone_text(path, as_json(records))
