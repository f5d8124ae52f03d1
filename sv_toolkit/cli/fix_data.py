"""sv-fix-data."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--dry-run", is_flag=True, help="Print what would be dropped and change nothing.")
@click.option("--read-data", is_flag=True, help="Drop utterances whose audio is missing or unreadable, and segments past its end, too.")
def command(data: Path, dry_run: bool, read_data: bool) -> None:
    """Fix the data directory DATA in place: sort, drop what is wrong, and say what was dropped and why.

    An utterance stays if every table that is there has one good line for it; an id with contradicting lines
    is dropped, never picked from.  The originals go to DATA/.backup, the list of what was dropped to
    DATA/dropped.tsv (id, file:line, reason) and to stdout.

    \b
    Example:
        sv-fix-data --dry-run data/train
        sv-fix-data data/train
    """
    import logging

    from sv_toolkit.data.fixing import plan_fix
    from sv_toolkit.data.repair import fix
    from sv_toolkit.io.tables import place

    if read_data:
        from sv_toolkit.data.stored import useless_audio
    bad_audio = useless_audio if read_data else None
    if dry_run:
        plan = plan_fix(data, bad_audio)
        changed = sorted(plan.changes(data))
    else:
        plan, changed = fix(data, bad_audio)
    for drop in plan.drops:
        click.echo(str(drop))
    verb = "would be changed" if dry_run else "changed, the originals are in .backup"
    done = f"{', '.join(changed)} {verb}; {len(plan.drops)} lines or files dropped" if changed else "nothing to fix"
    logging.getLogger("sv_toolkit").info("%s: %s; %d utterances", place(data), done, plan.num_utterances)
