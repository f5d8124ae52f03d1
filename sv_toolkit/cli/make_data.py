"""sv-make-data: from a folder of recordings, or a table of them, to data directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import DIRECTORY, Progress, SvCommand, overwrite_option, seed_option

if TYPE_CHECKING:
    from sv_toolkit.data.layout import Found
    from sv_toolkit.data.making import Recording, Share

PATTERN = "{speaker}/**"
MAX_PAIRS = 2_000_000  # trials of all pairs up to here; beyond, so many of each utterance
PER_UTTERANCE = 20
MANY_SPEAKERS = 200  # from here on a training from nothing is worth it


class SpeakerShare(click.ParamType):
    """A number of speakers, or a share of them below 1."""

    name = "N|SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Share:
        """`Share` of the text."""
        from sv_toolkit.data.making import Share

        if not isinstance(value, str):
            return value
        if value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
            return Share(number=int(value))
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            self.fail(f"needs a number of speakers from 1, or a share between 0 and 1, got {value!r}", param, ctx)
        return Share(share=share)


@click.command(cls=SvCommand)
@click.argument("source", metavar="FOLDER|TABLE", type=DIRECTORY)
@click.argument("data", type=DIRECTORY)
@click.option(
    "--pattern",
    default=PATTERN,
    show_default=True,
    help="Paths below FOLDER; parts {speaker} {utterance} {session} {device} {date} {gender} {language} {keyword} {split}; * and **.",
)
@click.option("--root", type=DIRECTORY, help="Folder that relative paths of TABLE start from.  [default: that of TABLE]")
@click.option("--dev", type=SpeakerShare(), help="Hold out so many speakers, or such a share of them, for DATA/dev.")
@click.option("--test", type=SpeakerShare(), help="The same for DATA/test; everybody else is in DATA/train.")
@click.option("--channel", type=click.IntRange(min=0), help="Channel to take of recordings with several, from 0.")
@seed_option
@overwrite_option
def command(
    source: Path,
    data: Path,
    pattern: str,
    root: Path | None,
    dev: Share | None,
    test: Share | None,
    channel: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Make the data directory DATA of the recordings in FOLDER, one folder for each speaker, or of those in TABLE.

    TABLE is a .csv or .tsv file with a head line: path and speaker, and, if you have them, utterance, session, device, date,
    gender, language, keyword, split (train, dev, test), start and end in seconds.  WAV, FLAC, MP3, Ogg, Opus, AIFF, AU and
    SPHERE are read as they are; what is in M4A or video files is converted by ffmpeg to FLAC files beside DATA.  What
    cannot be used is counted here and listed in DATA/skipped.tsv.  With --dev or --test, trials of the held-out speakers
    are written, too.

    \b
    Example:
        sv-make-data recordings data --test 6
        sv-make-data recordings data --pattern '{speaker}/{session}/{utterance}.wav' --dev 0.1 --test 0.2 --seed 1
        sv-make-data validated.tsv data --root clips --test 50
    """
    from sv_toolkit.data.making import Share, read_recordings, split_speakers

    found = _find(source, data, pattern, root)
    converted = data.with_name(f"{data.name}_flac")
    with Progress(len(found.entries), "recordings") as advance:
        recordings, left_out = read_recordings(found, converted, channel, advance)
    _refuse_nothing(source, recordings, left_out)
    sets = split_speakers(recordings, dev or Share(), test or Share(), seed)
    _write(data, sets, left_out, channel, seed, overwrite, source)


def _find(source: Path, data: Path, pattern: str, root: Path | None) -> Found:
    from dataclasses import replace

    from sv_toolkit.data.layout import checked_parts, entries_of_folder, entries_of_table
    from sv_toolkit.errors import examples

    if source.suffix.lower() in (".csv", ".tsv") and not source.is_dir():
        if pattern != PATTERN:
            raise click.UsageError("--pattern belongs to a folder; a table has columns")
        found, unused = entries_of_table(source, root)
        if unused:
            click.echo(f"sv-make-data: columns that are not used: {examples(unused, 10)}", err=True)
    else:
        if root is not None:
            raise click.UsageError("--root belongs to a table (.csv, .tsv)")
        found = entries_of_folder(source, pattern, [data, data.with_name(f"{data.name}_flac")])
    return replace(found, entries=checked_parts(found.entries))


def _refuse_nothing(source: Path, recordings: list[Recording], left_out: dict[str, str]) -> None:
    from sv_toolkit.data.making import summary_of
    from sv_toolkit.errors import DataError, plain

    if not recordings:
        first = next(iter(sorted(left_out.items())), ("", ""))
        raise DataError(f"{plain(source)}: no recording can be used ({summary_of(left_out)}): {plain(first[0])}: {first[1]}")


def _write(
    data: Path, sets: dict[str, list[Recording]], left_out: dict[str, str], channel: int | None, seed: int, overwrite: bool, source: Path
) -> None:
    from sv_toolkit.data.making import skipped_text, tables_of
    from sv_toolkit.data.output import as_texts, say, write_output

    texts, lines = {}, []
    for name, recordings in sets.items():
        tables = tables_of(recordings, channel)
        prefix = f"{name}/" if name else ""
        texts.update({f"{prefix}{table}": text for table, text in as_texts(tables).items()})
        line = f"{len(tables['utt2spk'])} utterances of {len(set(tables['utt2spk'].values()))} speakers"
        if name in ("dev", "test"):
            trials, described = _trials(data / name, tables, seed)
            texts.update({f"{name}/trials": trials} if trials else {})
            line += f", {described}"
        lines.append(f"{name}: {line}" if name else line)
    if left_out:
        texts["skipped.tsv"] = skipped_text(left_out)
    everything = [recording for own in sets.values() for recording in own]
    job = {"command": "sv-make-data", "from": str(source)}
    counts = {"utterances": len(everything), "speakers": len({recording.speaker_id for recording in everything})}
    written = write_output(data, texts, job, counts, overwrite, [source])
    _tell(everything, left_out, data)
    say(written, data, "; ".join(lines))
    _advise(data, sets, counts["speakers"])


def _trials(path: Path, tables: dict[str, dict[str, str]], seed: int) -> tuple[str, str]:
    """The list of all pairs, of different sessions where there are such, and a few words about it; both empty if there is none."""
    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.data.trial_making import TrialConfig, make_trials
    from sv_toolkit.data.trials import trials_bytes
    from sv_toolkit.errors import DataError
    from sv_toolkit.io.tables import Table

    held = {name: Table(path / name, table) for name, table in tables.items()}
    source = DataDir(path, held["utt2spk"], held["wav.scp"], {}, dict(held))
    count = len(held["utt2spk"])
    few = None if count * (count - 1) // 2 <= MAX_PAIRS else PER_UTTERANCE
    sessions = ("different", "any") if "utt2session" in held else ("any",)
    for session in sessions:
        try:
            trials = make_trials(source, TrialConfig(few, few, session=session, seed=seed), path / "trials")
        except DataError:
            continue
        num_targets = int(trials.is_target.sum()) if trials.is_target is not None else 0
        across = " across sessions" if session == "different" else ""
        return trials_bytes(trials).decode(), f"{num_targets} target{across} and {len(trials) - num_targets} nontarget trials"
    return "", "no trials: two speakers, one of them with two utterances, are needed"


def _tell(recordings: list[Recording], left_out: dict[str, str], data: Path) -> None:
    """What was found, and what was not taken."""
    from collections import Counter
    from math import isfinite

    from sv_toolkit.data.making import summary_of
    from sv_toolkit.errors import plain

    minutes = sum(recording.duration for recording in recordings if isfinite(recording.duration)) / 60
    rates = Counter(recording.header.sample_rate for recording in recordings)
    said = ", ".join(f"{rate} Hz" + (f" ({count})" if len(rates) > 1 else "") for rate, count in rates.most_common())
    click.echo(f"sv-make-data: {len(recordings)} usable recordings, {minutes:.1f} minutes, {said}", err=True)
    if left_out:
        click.echo(f"sv-make-data: left out {len(left_out)} ({summary_of(left_out)}); reasons in {plain(data)}/skipped.tsv", err=True)
    if min(rates) < 16_000 and len(rates) > 1:
        click.echo("sv-make-data: warning: rates differ: what has 8 kHz has no sound above 4 kHz, and a model hears that", err=True)


def _advise(data: Path, sets: dict[str, list[Recording]], num_speakers: int) -> None:
    from sv_toolkit.errors import plain

    where = plain(data)
    if "" in sets and num_speakers > 3:
        click.echo("sv-make-data: nobody is held out: --test N keeps N speakers for trials and a calibration", err=True)
    train = f"{where}/train" if "train" in sets else where
    start = " --init default (few speakers: from the ready model)" if num_speakers < MANY_SPEAKERS else ""
    click.echo(f"sv-make-data: next: sv-train {train} EXP{start}", err=True)
