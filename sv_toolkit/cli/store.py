"""sv-store: who is enrolled, and forgetting them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand


@click.command(cls=SvCommand)
@click.argument("store", type=DIRECTORY)
@click.option("--remove", "removed", metavar="SPEAKER", multiple=True, help="Forget this speaker; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(store: Path, removed: tuple[str, ...], as_json: bool) -> None:
    """List the speakers of a STORE that sv-enroll made: speaker, recordings, seconds of sound; or remove some.

    A store holds voiceprints: biometric data of persons.  Its files are readable for their owner and group alone (0640, in
    a folder of 0750).  Removing takes the speaker out of the files here; copies and backups are yours to see to.

    \b
    Example:
        sv-store speakers
        sv-store speakers --remove alice
    """
    from sv_toolkit.verification.store import read_store, remove

    for speaker in removed:
        remove(store, speaker)
        click.echo(f"sv-store: removed {speaker}", err=True)
    if removed:
        return
    known = read_store(store)
    entries = {key: {"recordings": len(entry.utterances), "seconds": round(entry.duration, 2)} for key, entry in known.speakers.items()}
    if as_json:
        click.echo(json.dumps({"model": known.model, "embedding_dim": known.embedding_dim, "speakers": entries}, ensure_ascii=False))
        return
    for speaker, entry in entries.items():
        click.echo(f"{speaker} {entry['recordings']} {entry['seconds']:.2f}")
    click.echo(f"sv-store: {len(entries)} speakers of the model {known.model[:12]}, {known.embedding_dim} dimensions", err=True)
