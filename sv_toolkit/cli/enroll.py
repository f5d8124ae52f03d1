"""sv-enroll: from d-vectors of utterances to models of speakers, or from recordings to a speaker store."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
    MODEL,
    Progress,
    SvCommand,
    allow_pipes_option,
    device_option,
    max_bad_option,
    overwrite_option,
    refuse_given,
)
from sv_toolkit.cli.decision_options import channel_option, resample_option


@click.command(cls=SvCommand)
@click.argument("files", type=FILE, nargs=-1, metavar="DVECTORS SPK2UTT OUT | DATA | RECORDING...")
@overwrite_option
@click.option("--store", type=DIRECTORY, help="Enroll into this speaker store, which is made where there is none.")
@click.option("--model", type=MODEL, help="--store: the model folder that makes the d-vectors.  [default: the ready model]")
@click.option("--speaker", help="--store: whose the RECORDINGs are; without it there is DATA, a data directory of speakers.")
@click.option("--update", is_flag=True, help="--store: add recordings to speakers that are enrolled already.")
@channel_option
@resample_option
@device_option
@max_bad_option
@allow_pipes_option
def command(
    files: tuple[Path, ...],
    overwrite: bool,
    store: Path | None,
    model: Path | None,
    speaker: str | None,
    update: bool,
    channel: int | None,
    resample: bool,
    device: str,
    max_bad: int,
    allow_pipes: bool,
) -> None:
    """Average the d-vectors in the scp file DVECTORS into one enrollment model per line of SPK2UTT.

    SPK2UTT holds lines 'model-id utterance utterance ...'.  A model is the mean of its length-normalised d-vectors,
    normalised again: OUT/dvector.scp.  OUT/num_utts says how many utterances each one was made of.

    With --store, speakers go into a folder for sv-verify and sv-identify instead: one --speaker with RECORDINGs, or all
    of the data directory DATA.  A recording that is in already is not counted again; sv-store lists and removes speakers.
    Voiceprints are biometric data: files of a store are readable for owner and group alone.

    \b
    Example:
        sv-enroll exp/ge2e/test/dvector.scp data/test/enroll_spk2utt exp/ge2e/enroll
        sv-score data/test/trials --enroll exp/ge2e/enroll/dvector.scp --test exp/ge2e/test/dvector.scp
        sv-enroll --store speakers --model exp/ge2e --speaker alice a1.wav a2.wav
        sv-enroll --store speakers --model exp/ge2e data/staff
    """
    if store is None:
        _to_directory(files, overwrite, model, speaker, update)
        return
    if model is None:
        model = MODEL.convert("default", None, click.get_current_context())
    if overwrite:
        raise click.UsageError("--overwrite belongs to the form with OUT; a store is changed by --update, and by sv-store --remove")
    if not files or (speaker is None and len(files) != 1):
        raise click.UsageError("Missing argument: --speaker ID with recordings, or one data directory")
    _to_store(store, model, device, speaker, files, update, (channel, resample, allow_pipes), max_bad)


def _to_directory(files: tuple[Path, ...], overwrite: bool, model: Path | None, speaker: str | None, update: bool) -> None:
    if model is not None or speaker is not None or update:
        raise click.UsageError("Missing option '--store': --model, --speaker and --update are about one")
    refuse_given("belongs to the form with --store, which reads recordings", "channel", "resample", "max_bad", "allow_pipes")
    if len(files) != 3:
        wanted = ("DVECTORS", "SPK2UTT", "OUT")
        raise click.UsageError(
            f"Missing argument '{wanted[len(files)]}'" if len(files) < 3 else f"Got unexpected extra argument ({files[3]})"
        )
    from sv_toolkit.embeddings.enrollment import enroll_to_directory

    dvectors, spk2utt, out = files
    count = enroll_to_directory(dvectors, spk2utt, out, overwrite)
    click.echo(
        f"sv-enroll: {count} models in {out}/dvector.scp; next: sv-score TRIALS --enroll {out}/dvector.scp --test {dvectors}", err=True
    )


def _to_store(
    store: Path,
    model: Path,
    device: str,
    speaker: str | None,
    files: tuple[Path, ...],
    update: bool,
    audio: tuple[int | None, bool, bool],
    max_bad: int,
) -> None:
    from sv_toolkit.cli.feature_options import prepare_process

    prepare_process()
    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.embeddings.waveform import Embedder
    from sv_toolkit.extraction.pipeline import AudioOptions
    from sv_toolkit.verification.decision import seen_seconds
    from sv_toolkit.verification.enrolling import enroll_data, enroll_files

    options, embedder = AudioOptions(*audio), Embedder(model, device)
    embedder.seen = seen_seconds(model)
    if speaker is not None:
        added = enroll_files(store, embedder, speaker, files, options, update)
    else:
        total = len(DataDir.read(files[0], allow_pipes=options.allow_pipes).utt2spk)
        with Progress(total, "recordings") as advance:
            added = enroll_data(store, embedder, files[0], options, update, max_bad, advance)
    click.echo(_summary(store, added), err=True)


def _summary(store: Path, added: dict[str, int]) -> str:
    total, changed = sum(added.values()), sum(count > 0 for count in added.values())
    if not total:
        return f"sv-enroll: {store}: these recordings are enrolled already; nothing to do"
    return f"sv-enroll: {total} recordings of {changed} speakers enrolled in {store}; next: sv-verify --store {store} --claim SPEAKER x.wav"
