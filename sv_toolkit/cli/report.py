"""sv-report: results, error curves, training and embeddings as one page."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
    WALL_TIME,
    SvCommand,
    cost_options,
    num_bootstrap_option,
    seed_option,
    trials_format_option,
)
from sv_toolkit.cli.named_paths import by_system, named_once, parse_system, refuse_unknown, split_name, two_paths

KINDS = (".html", ".htm", ".csv")


@click.command(cls=SvCommand)
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...")
@click.option("-o", "--output", type=FILE, help="The page (.html), or its numbers for a spreadsheet (.csv).")
@click.option("--charts", type=DIRECTORY, help="Write each chart as an SVG file into this directory.")
@click.option("--png", is_flag=True, help="Write the charts as PNG, too; needs the package resvg-py.")
@click.option(
    "--data", multiple=True, metavar="[NAME=]DATA", help="Data directory with speakers and conditions.  [default: that of TRIALS]"
)
@click.option(
    "--enroll-spk2utt", multiple=True, metavar="[NAME=]FILE", help="Lines 'model utterance ...', where the left of a trial is a model."
)
@click.option("--model", "models", multiple=True, metavar="[NAME=]EXP", help="Model folder: training curves, description, speaker bases.")
@click.option(
    "--timing-log", multiple=True, metavar="[NAME=]FILE", help="What sv-train --timing-log wrote for the model: curves against seconds."
)
@click.option("--embeddings", multiple=True, metavar="[NAME=]SCP[,DATA]", help="Embeddings to map; utt2spk of DATA.  [default: beside SCP]")
@click.option("--identification", multiple=True, metavar="[NAME=]JSON", help="What sv-eval-identification --json wrote.")
@click.option("--map", "map_kind", type=click.Choice(["pca", "tsne"]), default="pca", show_default=True, help="How embeddings are mapped.")
@click.option("--map-speakers", type=click.IntRange(2, 30), default=5, show_default=True, help="Speakers on a map.")
@click.option("--calibrated", multiple=True, metavar="NAME", help="The scores of this system are log-likelihood ratios (natural).")
@cost_options
@num_bootstrap_option
@seed_option
@trials_format_option
@click.option("--title", default="Speaker verification report", show_default=True, help="Heading of the page.")
@click.option("--wall-time", type=WALL_TIME, help="Seconds that the whole run took.")
@click.option("--command", "command_line", default="", help="What was run.")
def command(
    systems: tuple[str, ...],
    output: Path | None,
    charts: Path | None,
    png: bool,
    data: tuple[str, ...],
    enroll_spk2utt: tuple[str, ...],
    models: tuple[str, ...],
    timing_log: tuple[str, ...],
    embeddings: tuple[str, ...],
    identification: tuple[str, ...],
    map_kind: str,
    map_speakers: int,
    calibrated: tuple[str, ...],
    p_target: tuple[float, ...],
    cost: tuple[str, ...],
    num_bootstrap: int,
    seed: int,
    trials_format: str,
    title: str,
    wall_time: float | None,
    command_line: str,
) -> None:
    """Show systems side by side on one page that needs no network, and print their rows for RESULTS.md.

    A SYSTEM is NAME=TRIALS,SCORES, or [NAME=]FOLDER with files trials and scores.  An option that takes NAME= is for
    the system or model of that name, and without it for all (--data, --enroll-spk2utt) or for the only one.

    \b
    Example:
        sv-report "GE2E=data/test/trials,exp/ge2e/scores" "control=data/test/trials,exp/control/scores" \\
          --model GE2E=exp/ge2e --embeddings GE2E=exp/ge2e/test/dvector.scp -o report.html --charts exp/charts
    """
    if not (systems or models or embeddings or identification):
        raise click.UsageError("missing argument SYSTEM, or --model, --embeddings, --identification: nothing to report on")
    if output is None and charts is None:
        raise click.UsageError("say what to write: -o FILE or --charts DIR")
    if output is not None and output.suffix.lower() not in KINDS:
        raise click.BadParameter(f"the name must end in .html or .csv, got {str(output)!r}", param_hint="--output")
    if png and charts is None:
        raise click.UsageError("--png needs --charts DIR")
    from sv_toolkit.io.files import write_lone_text
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.report import Inputs, csv_table, html_page, make_report, results_rows, write_charts
    from sv_toolkit.reporting.results import Settings, chosen_costs
    from sv_toolkit.reporting.systems import TrialLists, read_embedded, read_identified, read_model, read_system

    named = dict(named_once([parse_system(text) for text in systems], "SYSTEM"))
    only = next(iter(named)) if len(named) == 1 else None
    folders = dict(named_once([split_name(text, only) for text in models], "--model"))
    timings = dict(
        named_once([split_name(text, next(iter(folders)) if len(folders) == 1 else None) for text in timing_log], "--timing-log")
    )
    scps = dict(named_once([split_name(text, only) for text in embeddings], "--embeddings"))
    results = dict(named_once([split_name(text, only) for text in identification], "--identification"))
    refuse_unknown(calibrated, named, "--calibrated")
    refuse_unknown(timings, folders, "--timing-log")
    of_data, of_enroll = by_system(data, named, "--data"), by_system(enroll_spk2utt, named, "--enroll-spk2utt")
    lists = TrialLists(trials_format)
    read_systems = [
        read_system(name, *files, lists, of_data.get(name), of_enroll.get(name), name in calibrated) for name, files in named.items()
    ]
    read_models = [read_model(name, Path(path), Path(timings[name]) if name in timings else None) for name, path in folders.items()]
    bases = {model.name: model.bases for model in read_models}
    embedded = [read_embedded(name, *two_paths(path), bases.get(name, {})) for name, path in scps.items()]
    identified = [read_identified(name, Path(path)) for name, path in results.items()]
    settings = Settings(chosen_costs(p_target, cost), num_bootstrap, seed)
    report = make_report(
        Inputs(read_systems, read_models, embedded, settings, identified, map_kind, map_speakers), provenance(wall_time, command_line)
    )
    if charts is not None:
        write_charts(charts, report.charts, png)
    if output is not None:
        text = csv_table(report) if output.suffix.lower() == ".csv" else html_page(report, title)
        write_lone_text(output, text)
    if report.inputs.systems:
        click.echo("\n".join(results_rows(report)))
