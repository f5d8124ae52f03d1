#!/usr/bin/env python3
"""Verification behind the detector beside verification with whole recordings; `--help` shows how."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, SvCommand

NUM_REPLICATES = 300  # of the interval; each resamples all trials
HEADER = (
    "| verification | EER of whole recordings | EER behind the detector | ratio | difference [95 %] | trials | commit | date | hardware "
    "| wall time | command |\n" + "|---" * 11 + "|"
)


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.argument("whole", type=FILE)
@click.argument("behind", type=FILE)
@click.option("--utt2spk", type=FILE, required=True, help="Speakers of the recordings, for the interval.")
@click.option("--name", required=True, help="What the row calls it.")
@click.option("--results", type=FILE, required=True, help="File that the row is added to.")
@click.option("--wall-time", type=float, help="Seconds that the recipe took.")
@click.option("--command", "called", default="", help="How the recipe was called.")
def command(trials: Path, whole: Path, behind: Path, utt2spk: Path, name: str, results: Path, wall_time: float | None, called: str) -> None:
    """Compare the scores WHOLE and BEHIND of TRIALS; a pair without a score in BEHIND was missed: it is rejected.

    \b
    Example:
        local/behind.py --name test --results RESULTS.md --utt2spk data/test/utt2spk data/test/trials exp/whole exp/behind
    """
    import numpy as np

    from sv_toolkit.io.tables import read_table
    from sv_toolkit.metrics.detection import equal_error_rate
    from sv_toolkit.metrics.intervals import compare_systems
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.results import curve_statistics
    from sv_toolkit.reporting.rows import append_rows, cell_text, code_text

    pairs = [line.split() for line in trials.read_text(encoding="utf-8").splitlines()]
    is_target = np.array([pair[2] == "target" for pair in pairs])
    first, second = (_scores(path, pairs) for path in (whole, behind))
    owners = read_table(utt2spk)
    speakers = {speaker: number for number, speaker in enumerate(sorted(set(owners.values())))}
    sides = [np.array([speakers[owners[pair[side]]] for pair in pairs]) for side in (0, 1)]
    eers = [equal_error_rate(scores[is_target], scores[~is_target]) for scores in (first, second)]
    difference = compare_systems(second, first, is_target, *sides, curve_statistics(()), NUM_REPLICATES)["EER"]
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    ratio = eers[1] / eers[0] if eers[0] else float("nan")
    made = provenance(wall_time, called)
    cells = [
        name,
        *(f"{100 * eer:.2f} %" for eer in eers),
        f"{ratio:.3f}",
        f"{100 * (eers[1] - eers[0]):+.2f} [{low:+.2f}, {high:+.2f}]",
        f"{int(is_target.sum())} target / {int((~is_target).sum())} nontarget",
        *(made.commit, made.date, made.hardware, made.wall_time),
    ]
    append_rows(results, ["| " + " | ".join([*map(cell_text, cells), code_text(called)]) + " |"], HEADER)
    click.echo("  ".join(cells[:6]))


def _scores(path: Path, pairs: list[list[str]]):
    """Scores in the order of the pairs; where there is none, one below all others."""
    import numpy as np

    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    known = {(enroll, test): float(score) for enroll, test, score in lines}
    return np.array([known.get((pair[0], pair[1]), min(known.values()) - 1) for pair in pairs])


if __name__ == "__main__":
    command()
