#!/usr/bin/env python3
"""Make a corpus of synthetic speakers and its data directories; `--help` shows how."""

from __future__ import annotations

import importlib.util
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from sv_toolkit.cli.common import DIRECTORY, Progress, SvCommand, nj_option, seed_option
from sv_toolkit.errors import SvError

Result = TypeVar("Result")
SAMPLE_RATE = 16_000
SHORTEST, LONGEST = 2.0, 5.0  # seconds of an utterance, the silence around it included


@dataclass(frozen=True)
class Speaker:
    """One speaker to be spoken; chance depends on the corpus' seed and the speaker's number alone."""

    set_name: str
    number: int
    num_utterances: int
    seed: int

    @property
    def name(self) -> str:
        return f"spk{self.number:03d}"

    @property
    def gender(self) -> str:
        return ("female", "male")[self.number % 2]

    @property
    def utterances(self) -> list[str]:
        return [f"{self.name}-{take:02d}" for take in range(self.num_utterances)]


def voice_of(speaker: Speaker):
    """How the speaker sounds."""
    import numpy as np
    from voices import random_voice

    return random_voice(speaker.name, speaker.gender, np.random.default_rng([speaker.seed, speaker.number, 0]))


def speak(speaker: Speaker, corpus_dir: Path) -> None:
    """Write the recordings of one speaker.  Call it in a process of its own: see espeak.py."""
    import soundfile
    from espeak import Synthesizer, view_of_data

    from sv_toolkit.io.files import make_directory

    with tempfile.TemporaryDirectory() as view:  # of this voice alone: eSpeak NG lists at most some 350
        view_of_data(Path(view), {speaker.name: voice_of(speaker).variant})
        synthesizer = Synthesizer(Path(view))
        folder = make_directory(corpus_dir / speaker.name)
        for utterance, samples in zip(speaker.utterances, recordings(speaker, synthesizer)):
            # written in place: the manifest, written last, has the digest of each file, so that a torn one is found
            soundfile.write(folder / f"{utterance}.flac", samples, SAMPLE_RATE, "PCM_16")


def recordings(speaker: Speaker, synthesizer):
    """The recordings of a speaker, one after the other."""
    import numpy as np

    rng, voice = np.random.default_rng([speaker.seed, speaker.number, 1]), voice_of(speaker)
    for _ in speaker.utterances:
        yield new_recording(synthesizer, voice, rng)


def new_recording(synthesizer, voice, rng):
    """Sentences until one has the right length; pitch, rate and channel are new for each."""
    import soxr
    from channel import recorded
    from sentences import random_sentence

    while True:
        rate = round(voice.rate * rng.normal(1, 0.07))
        pitch, pitch_range = (int(value) for value in rng.normal(50, (5, 8)).clip(30, 70))
        speech = synthesizer.speak(random_sentence(rng), voice.name, rate, pitch, pitch_range, int(rng.integers(1 << 31)))
        samples = recorded(soxr.resample(speech, synthesizer.sample_rate, SAMPLE_RATE), SAMPLE_RATE, rng)
        if SHORTEST <= len(samples) / SAMPLE_RATE <= LONGEST:
            return samples


def speak_apart(speak: Callable[[Speaker, Path], Result], task: tuple[Speaker, Path]) -> tuple[str, Result]:
    """`speak` in a new process: the name of the speaker, and what it returns."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as process:
        return task[0].name, process.submit(speak, *task).result()


def speak_all(
    speak: Callable[[Speaker, Path], Result],
    speakers: list[Speaker],
    corpus_dir: Path,
    num_jobs: int | None,
    name: str = "make_corpus",
    write_more: Callable[[dict[str, Result]], list[str]] = lambda results: [],
) -> None:
    """Write all recordings, or find them there.

    Args:
        speak: writes the recordings of one speaker.
        name: of the manifest, and in messages.
        write_more: further files, of what `speak` returned by speaker; gives their names.
    """
    from dataclasses import asdict

    import soundfile  # noqa: F401 - loaded here once, not again in the process of every speaker
    import soxr  # noqa: F401

    from sv_toolkit.io.files import locked
    from sv_toolkit.io.manifest import Manifest, describe_file, is_finished, write_manifest
    from sv_toolkit.io.workers import available_cpus, run_tasks

    job = {"speakers": [asdict(speaker) for speaker in speakers]}
    with locked(corpus_dir):
        if is_finished(corpus_dir, name, job):
            click.echo(f"{name}: {corpus_dir} holds this corpus already", err=True)
            return
        results: dict[str, Result] = {}
        with Progress(sum(speaker.num_utterances for speaker in speakers), "synthetic utterances") as advance:
            tasks = [(speaker, corpus_dir) for speaker in speakers]
            for key, result in run_tasks(partial(speak_apart, speak), tasks, num_jobs or available_cpus(), lambda task: task[0].name):
                results[key] = result
                advance(speakers[0].num_utterances)
        names = [f"{speaker.name}/{utterance}.flac" for speaker in speakers for utterance in speaker.utterances]
        files = {path: describe_file(corpus_dir / path) for path in [*names, *write_more(results)]}
        write_manifest(corpus_dir, Manifest(name, job, {"speakers": len(speakers), "utterances": len(names)}, files))


def refuse_missing_synthesizer() -> None:
    """Stop where eSpeak NG is not installed.

    Raises:
        SvError: with the line that installs it.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise SvError("the package espeakng-loader is missing: pip install -e '.[synthetic]' in the top folder brings it")


def write_data_dir(speakers: list[Speaker], corpus_dir: Path, data_dir: Path) -> None:
    """wav.scp, utt2spk, spk2utt and spk2gender of one set."""
    from sv_toolkit.io.files import make_directory
    from sv_toolkit.io.tables import write_table

    make_directory(data_dir)
    speaker_of = {utterance: speaker.name for speaker in speakers for utterance in speaker.utterances}
    write_table(data_dir / "wav.scp", {u: str(corpus_dir.resolve() / s / f"{u}.flac") for u, s in speaker_of.items()})
    write_table(data_dir / "utt2spk", speaker_of)
    write_table(data_dir / "spk2utt", {speaker.name: " ".join(speaker.utterances) for speaker in speakers})
    write_table(data_dir / "spk2gender", {speaker.name: speaker.gender[0] for speaker in speakers})


@click.command(cls=SvCommand)
@click.option("--corpus-dir", type=DIRECTORY, required=True, help="Where the recordings go.")
@click.option("--data-dir", type=DIRECTORY, required=True, help="Where train, dev and test go.")
@click.option("--num-train", type=click.IntRange(min=2), default=80, show_default=True, help="Speakers to train with.")
@click.option("--num-dev", type=click.IntRange(min=2), default=10, show_default=True, help="Speakers to tune with.")
@click.option("--num-test", type=click.IntRange(min=2), default=20, show_default=True, help="Speakers to test with.")
@click.option("--num-utterances", type=click.IntRange(1, 99), default=12, show_default=True, help="Utterances of each speaker.")
@nj_option
@seed_option
def command(
    corpus_dir: Path, data_dir: Path, num_train: int, num_dev: int, num_test: int, num_utterances: int, num_jobs: int | None, seed: int
) -> None:
    """Make a corpus of synthetic speakers, and data directories train, dev and test that share no speaker.

    \b
    Example:
        local/make_corpus.py --corpus-dir data/corpus --data-dir data
    """
    refuse_missing_synthesizer()
    sets = ["train"] * num_train + ["dev"] * num_dev + ["test"] * num_test
    speakers = [Speaker(name, number, num_utterances, seed) for number, name in enumerate(sets)]
    speak_all(speak, speakers, corpus_dir, num_jobs)
    for name in ("train", "dev", "test"):
        write_data_dir([speaker for speaker in speakers if speaker.set_name == name], corpus_dir, data_dir / name)


if __name__ == "__main__":
    command()
