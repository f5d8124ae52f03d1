#!/usr/bin/env python3
"""Data directories of whole calls of the WUW Corpus II, and how detections agree with its times; `--help` shows how."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, overwrite_option

HEADER = (
    "| keyword, telephone | found | segments that hold 90 % of the keyword | mean share of the keyword inside | middle of segment, median "
    "| its distance, median | calls | commit | date | hardware | wall time | command |\n" + "|---" * 12 + "|"
)


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("folder", type=DIRECTORY)
@click.option("--results", type=FILE, help="FOLDER holds detections: compare them with the times, and add rows to this file.")
@click.option("--wall-time", type=float, help="Seconds that the recipe took.")
@click.option("--command", "called", default="", help="How the recipe was called.")
@overwrite_option
def command(data: Path, folder: Path, results: Path | None, wall_time: float | None, called: str, overwrite: bool) -> None:
    """Make of DATA, whose segments are the keywords, the data directory FOLDER of whole calls; or judge FOLDER by these segments.

    \b
    Example:
        local/whole_calls.py data/wuw/test data/calls/test
        local/whole_calls.py data/wuw/test exp/wuw/test --results RESULTS.md
    """
    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.data.output import as_texts, say, write_output

    source = DataDir.read(data)
    if results is not None:
        _compare(source, folder, results, wall_time, called)
        return
    tables = {name: dict(source.table(name) or {}) for name in ("wav.scp", "utt2spk", "utt2keyword")}
    counts = {"utterances": len(source.utt2spk)}
    written = write_output(folder, as_texts(tables), {"command": "whole_calls"}, counts, overwrite, [data])
    say(written, folder, f"{counts['utterances']} whole calls")


def _compare(source, folder: Path, results: Path, wall_time: float | None, called: str) -> None:
    from sv_toolkit.keyword.corpus import words_of
    from sv_toolkit.keyword.measure import agreement
    from sv_toolkit.keyword.spotting import read_detections
    from sv_toolkit.reporting.provenance import provenance
    from sv_toolkit.reporting.rows import append_rows, cell_text, code_text

    said, made, rows = words_of(source), provenance(wall_time, called), []
    found = {row.utterance: row for row in read_detections(folder) if row.word == said[row.utterance]}
    for word in [*sorted(set(said.values())), "all"]:
        keys = [key for key, own in said.items() if word in (own, "all")]
        heard = [found[key] for key in keys if key in found]
        if not heard:
            continue
        times = [(source.segments[row.utterance].start, source.segments[row.utterance].end) for row in heard]
        agreed = agreement([(row.start, row.end) for row in heard], times)
        cells = [
            word,
            f"{len(heard)} ({100 * len(heard) / len(keys):.1f} %)",
            f"{100 * agreed.whole:.1f} %",
            f"{100 * agreed.covered:.1f} %",
            f"{1000 * agreed.offset:+.0f} ms",
            f"{1000 * agreed.spread:.0f} ms",
            str(len(keys)),
            *(made.commit, made.date, made.hardware, made.wall_time),
        ]
        rows.append("| " + " | ".join([*map(cell_text, cells), code_text(called)]) + " |")
        click.echo("  ".join(cells[:7]))
    append_rows(results, rows, HEADER)


if __name__ == "__main__":
    command()
