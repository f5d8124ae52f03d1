"""sv-tabulate: from the scores of several systems and seeds to the table of a paper."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, seed_option


@click.command(cls=SvCommand)
@click.argument("experiment", type=FILE)
@click.option("--exp", type=DIRECTORY, default=Path("exp"), show_default=True, help="Where the paths of runs in EXPERIMENT begin.")
@click.option("--data", type=DIRECTORY, default=Path("data"), show_default=True, help="Where those of trial lists and maps begin.")
@click.option("-o", "--output", type=FILE, help="Replace the section of this title in RESULTS.md.  [default: print it]")
@click.option("--charts", type=DIRECTORY, help="Draw the dev EER against steps and seconds there, with the numbers as CSV.")
@click.option("--num-bootstrap", type=click.IntRange(min=2), default=1000, show_default=True, help="Replicates for intervals.")
@click.option("--allow-missing", is_flag=True, help="Leave cells empty where runs are missing, instead of an error.")
@click.option("--command", "command_line", default="", help="What was run, for the section.  [default: this command]")
@seed_option
def command(
    experiment: Path,
    exp: Path,
    data: Path,
    output: Path | None,
    charts: Path | None,
    num_bootstrap: int,
    allow_missing: bool,
    command_line: str,
    seed: int,
) -> None:
    """Print what the systems of EXPERIMENT (TOML) reach, in means over seeds, and whether its claims were reproduced.

    Every mean has a 95 % interval, found by resampling speakers, the same for all seeds and systems; a claim is
    reproduced where the interval of the difference leaves zero out on its side.

    \b
    Example:
        sv-tabulate conf/losses.toml --exp exp --data data -o RESULTS.md --charts exp/charts
    """
    from sv_toolkit.reporting.experiment_charts import write_learning_charts
    from sv_toolkit.reporting.experiment_table import markdown, replace_section
    from sv_toolkit.reporting.experiments import Folders, read_experiment
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.tabulation import tabulate

    read = read_experiment(experiment)
    table = tabulate(read, Folders(exp, data), num_bootstrap, seed)
    _report_missing(table.missing, allow_missing)
    section = markdown(table, provenance(None, command_line or _own_line(experiment, exp, data)))
    if charts is not None and not write_learning_charts(charts, table):
        logging.getLogger("sv_toolkit").warning("no timing log holds a dev EER: no charts")
    if output is None:
        click.echo(section, nl=False)
    else:
        replace_section(output, read.title, section)


def _report_missing(missing: Sequence[Path], allow_missing: bool) -> None:
    from sv_toolkit.errors import DataError, plain

    paths = [plain(path) for path in missing]
    if paths and not allow_missing:
        raise DataError(f"{', '.join(paths)}: no such file{'s' if len(paths) > 1 else ''}; run what makes them, or give --allow-missing")
    for path in paths:
        logging.getLogger("sv_toolkit").warning("%s: no such file: its place in the table stays empty", path)


def _own_line(experiment: Path, exp: Path, data: Path) -> str:
    import shlex

    return shlex.join(["sv-tabulate", str(experiment), "--exp", str(exp), "--data", str(data)])
