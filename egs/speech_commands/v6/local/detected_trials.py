#!/usr/bin/env python3
"""The trials whose two recordings both passed the detector; `--help` shows how."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, overwrite_option


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.argument("data", type=DIRECTORY)
@click.argument("segments", type=DIRECTORY)
@click.argument("thresholds", type=FILE)
@click.argument("out", type=FILE)
@overwrite_option
def command(trials: Path, data: Path, segments: Path, thresholds: Path, out: Path, overwrite: bool) -> None:
    """Write to OUT the lines of TRIALS of whose recordings in DATA the right word was heard, beyond its threshold.

    \b
    Example:
        local/detected_trials.py data/test/trials data/test exp/segments exp/thresholds.json exp/trials
    """
    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.data.output import write_new_files
    from sv_toolkit.io.files import read_json
    from sv_toolkit.keyword.corpus import words_of
    from sv_toolkit.keyword.spotting import read_detections

    said, least = words_of(DataDir.read(data)), read_json(thresholds)
    passed = {
        row.utterance for row in read_detections(segments) if row.word == said[row.utterance] and row.confidence > float(least[row.word])
    }
    lines = trials.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if set(line.split()[:2]) <= passed]
    write_new_files({out: "".join(kept).encode()}, overwrite)
    click.echo(f"{len(passed)} of {len(said)} recordings passed the detector, and {len(kept)} of {len(lines)} trials", err=True)
    click.echo(json.dumps({"recordings": len(said), "passed": len(passed)}))


if __name__ == "__main__":
    command()
