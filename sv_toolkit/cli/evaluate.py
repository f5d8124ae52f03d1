"""sv-eval: from scores to error rates with their intervals."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, seed_option

PRIOR = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.argument("scores", type=FILE)
@click.option("--data", type=DIRECTORY, help="Data directory with utt2spk and the maps of --by.  [default: that of TRIALS]")
@click.option("--enroll-spk2utt", type=FILE, help="Lines 'model utterance ...', where the left of a trial is a model.")
@click.option("--p-target", type=PRIOR, multiple=True, help="Prior of a target for minDCF, again for more.  [default: 0.01 and 0.05]")
@click.option(
    "--cost", type=click.Choice(["voxceleb", "voxsrc", "sre08", "sre10", "sre16"]), multiple=True, help="minDCF of an evaluation."
)
@click.option("--calibrated", is_flag=True, help="The scores are log-likelihood ratios (natural): print the actual costs too.")
@click.option("--num-bootstrap", type=click.IntRange(min=0), default=1000, show_default=True, help="Replicates for intervals; 0 for none.")
@seed_option
@click.option(
    "--by",
    type=click.Choice(["keyword", "session", "device", "days", "gender"]),
    help="A result per condition besides: same or different keyword, session, device; days between the sides; genders.",
)
@click.option("--trials-format", type=click.Choice(["auto", "kaldi", "voxceleb"]), default="auto", show_default=True, help="Column order.")
@click.option("--json", "json_file", type=FILE, help="Write everything at full precision to this file too.")
@click.option("--det", is_flag=True, help="Print points of the DET curve: threshold, miss rate, false-alarm rate.")
@click.option("--results-row", metavar="NAME", help="Print a row for RESULTS.md instead, under this name.")
@click.option("--wall-time", type=click.FloatRange(min=0), help="Seconds that the whole run took, for the row.")
@click.option("--command", "command_line", default="", help="What was run, for the row.")
def command(
    trials: Path,
    scores: Path,
    data: Path | None,
    enroll_spk2utt: Path | None,
    p_target: tuple[float, ...],
    cost: tuple[str, ...],
    calibrated: bool,
    num_bootstrap: int,
    seed: int,
    by: str | None,
    trials_format: str,
    json_file: Path | None,
    det: bool,
    results_row: str | None,
    wall_time: float | None,
    command_line: str,
) -> None:
    """Print the EER and the detection costs of SCORES for the labelled list TRIALS.

    Where the speakers are known, every number has a 95 % interval, found by resampling speakers.  The EER joins
    neighbouring operating points by a straight line; equal scores move together; costs are over the blind system's.

    \b
    Example:
        sv-eval data/test/trials exp/ge2e/scores
        sv-eval data/test/trials exp/ge2e/scores --results-row "GE2E LSTM" --wall-time 412 --command "./run.sh" >> RESULTS.md
    """
    from sv_toolkit.data.trials import read_scores, read_trials
    from sv_toolkit.io.files import make_directory, write_text
    from sv_toolkit.metrics.detection import det_points
    from sv_toolkit.reporting.conditions import Origin
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.results import Settings, as_json, both_kinds, chosen_costs, evaluate_by, markdown_rows, text_lines, warn

    listed = read_trials(trials, trials_format, need_keys=True)
    values = read_scores(scores, listed)
    settings = Settings(chosen_costs(p_target, cost), num_bootstrap, seed, calibrated)
    results = evaluate_by(listed, values, Origin.find(trials, data, enroll_spk2utt), settings, by)
    warn(listed, values, results)
    if results_row is None:
        lines = text_lines(results, settings)
    else:
        lines = markdown_rows(results_row, results, provenance(wall_time, command_line))
    click.echo("\n".join(lines))
    if det:
        is_target = both_kinds(listed)
        points = zip(*det_points(values[is_target], values[~is_target]))
        click.echo("# threshold miss_rate false_alarm_rate\n" + "\n".join(f"{a:.6g} {b:.6g} {c:.6g}" for a, b, c in points))
    if json_file is not None:
        write_text(make_directory(json_file.parent) / json_file.name, as_json(results))
