#!/usr/bin/env python3
"""Make a corpus of synthetic speakers whose phones are known to the sample; `--help` shows how."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import click
from make_corpus import SAMPLE_RATE, Speaker, refuse_missing_synthesizer, speak_all, voice_of, write_data_dir

from sv_toolkit.cli.common import DIRECTORY, SvCommand, nj_option, seed_option

ALIGNMENTS = "alignments.ctm"
SHORTEST, LONGEST = 0.8, 7.0  # seconds of an utterance, the silence around it included
QUIETEST, LOUDEST = 5, 40  # decibels of signal to noise
IN_A_ROOM = 0.5  # probability


def speak(speaker: Speaker, corpus_dir: Path) -> list[str]:
    """Write the recordings of one speaker; the lines of their alignments.  Call it in a process of its own: see espeak.py."""
    import numpy as np
    import soundfile
    from espeak import Synthesizer, view_of_data

    from sv_toolkit.io.files import make_directory

    lines: list[str] = []
    rng, voice = np.random.default_rng([speaker.seed, speaker.number, 2]), voice_of(speaker)
    with tempfile.TemporaryDirectory() as view:
        view_of_data(Path(view), {speaker.name: voice.variant})
        synthesizer = Synthesizer(Path(view))
        folder = make_directory(corpus_dir / speaker.name)
        for utterance in speaker.utterances:
            samples, phones = new_recording(synthesizer, voice, rng)
            soundfile.write(folder / f"{utterance}.flac", samples, SAMPLE_RATE, "PCM_16")  # a torn one is found by its digest
            lines += [f"{utterance} 1 {start:.4f} {end - start:.4f} {phone}" for start, end, phone in phones]
    return lines


def new_recording(synthesizer, voice, rng):
    """Samples, and `(start, end, phone)` in seconds: texts until one has the right length, in a new room and channel."""
    import soxr
    from channel import placed, reverberant
    from dictation import random_dictation
    from phones import segments

    while True:
        rate = round(voice.rate * min(max(rng.normal(0.9, 0.15), 0.5), 1.4))
        pitch, pitch_range = (int(value) for value in rng.normal(50, (5, 8)).clip(30, 70))
        how = (random_dictation(rng), voice.name, rate, pitch, pitch_range, int(rng.integers(1 << 31)))
        speech, phonemes = synthesizer.speak_aligned(*how)
        own = segments(phonemes, len(speech))
        speech = soxr.resample(speech, synthesizer.sample_rate, SAMPLE_RATE)
        if rng.random() < IN_A_ROOM:
            speech = reverberant(speech, SAMPLE_RATE, rng)
        samples, before = placed(speech, SAMPLE_RATE, rng, QUIETEST, LOUDEST)
        if SHORTEST <= len(samples) / SAMPLE_RATE <= LONGEST:
            shift = before / SAMPLE_RATE
            return samples, [
                (shift + start / synthesizer.sample_rate, shift + end / synthesizer.sample_rate, phone) for start, end, phone in own
            ]


def write_all_alignments(lines: dict[str, list[str]], corpus_dir: Path) -> list[str]:
    """alignments.ctm of the whole corpus, from the lines of every speaker; its name."""
    from sv_toolkit.io.files import write_text

    write_text(corpus_dir / ALIGNMENTS, "".join(f"{line}\n" for name in sorted(lines) for line in lines[name]))
    return [ALIGNMENTS]


def write_alignments(speakers: list[Speaker], corpus_dir: Path, data_dir: Path) -> None:
    """phones.ctm of one set: utterance, channel 1, start and duration in seconds, phone."""
    from sv_toolkit.io.files import write_text

    own = {utterance for speaker in speakers for utterance in speaker.utterances}
    lines = (corpus_dir / ALIGNMENTS).read_text(encoding="ascii").splitlines()
    write_text(data_dir / "phones.ctm", "".join(f"{line}\n" for line in lines if line.split(" ", 1)[0] in own))


@click.command(cls=SvCommand)
@click.option("--corpus-dir", type=DIRECTORY, required=True, help="Where the recordings go.")
@click.option("--data-dir", type=DIRECTORY, required=True, help="Where train and heldout go.")
@click.option("--num-train", type=click.IntRange(min=1), default=160, show_default=True, help="Voices to train with.")
@click.option("--num-heldout", type=click.IntRange(min=1), default=16, show_default=True, help="Voices to measure the labels on.")
@click.option("--num-utterances", type=click.IntRange(1, 99), default=16, show_default=True, help="Utterances of each voice.")
@nj_option
@seed_option
def command(
    corpus_dir: Path, data_dir: Path, num_train: int, num_heldout: int, num_utterances: int, num_jobs: int | None, seed: int
) -> None:
    """Make a corpus of synthetic speech, and data directories train and heldout with phones.ctm that share no voice.

    The phones are those of the CMU dictionary and SIL; eSpeak NG says when each one begins.

    \b
    Example:
        local/make_phone_corpus.py --corpus-dir data/phones/corpus --data-dir data/phones
    """
    refuse_missing_synthesizer()
    sets = ["train"] * num_train + ["heldout"] * num_heldout
    speakers = [Speaker(name, number, num_utterances, seed) for number, name in enumerate(sets)]
    write_more = partial(write_all_alignments, corpus_dir=corpus_dir)
    speak_all(speak, speakers, corpus_dir, num_jobs, "make_phone_corpus", write_more)
    for name in ("train", "heldout"):
        own = [speaker for speaker in speakers if speaker.set_name == name]
        write_data_dir(own, corpus_dir, data_dir / name)
        write_alignments(own, corpus_dir, data_dir / name)


if __name__ == "__main__":
    command()
