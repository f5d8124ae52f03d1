"""sv-store: who is enrolled, and forgetting them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sv_toolkit.cli.common import SvCommand


@click.command(cls=SvCommand)
@click.argument("words", metavar="STORE", type=str, nargs=-1, required=True)
@click.option("--remove", "removed", metavar="SPEAKER", multiple=True, help="Forget this speaker; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(words: tuple[str, ...], removed: tuple[str, ...], as_json: bool) -> None:
    """List the speakers of a STORE that sv-enroll made: speaker, recordings, seconds of sound; or remove some.

    `sv-store list STORE` and `sv-store remove STORE SPEAKER...` are understood, too.

    A store holds voiceprints: biometric data of persons.  Its files are readable for their owner and group alone (0640, in
    a folder of 0750).  Removing takes the speaker out of the files here; copies and backups are yours to see to.

    \b
    Example:
        sv-store speakers
        sv-store speakers --remove alice
    """
    store, removed = _meant(words, removed)
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


def _meant(words: tuple[str, ...], removed: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The store, and whom to remove; a first word `list` or `remove` is what people type who know other programs."""
    if len(words) > 1 and words[0] == "list":
        words = words[1:]
    elif len(words) > 2 and words[0] == "remove":
        words, removed = words[1:2], (*words[2:], *removed)
    if len(words) > 1:
        raise click.UsageError(f"Got unexpected extra argument ({words[1]}); STORE alone lists it, --remove SPEAKER forgets one")
    return Path(words[0]), removed
