#!/usr/bin/env python3
"""Measure phonetic labels: on synthetic voices held out, and on real speech whose words are known; `--help` shows how."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand
from sv_toolkit.errors import DataError, SvError

SYNTHETIC = Path(__file__).resolve().parents[3] / "synthetic/v1/local"
NUM_OTHERS = 20  # transcripts of other utterances that every recording is aligned with
LINE = re.compile(r"^(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\((?:\w+-)?((?:an|cen)\d+-\w+-b)\)$", re.IGNORECASE)


def read_transcripts(path: Path) -> dict[str, list[str]]:
    """Words by utterance as prepare_an4 names it, SPEAKER-TAKE; of lines "<s> WORDS </s> (an406-fcaw-b)"."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = LINE.match(line.strip())
        if match is None:
            raise DataError(f"{path}:{number}: expected 'WORDS (an406-fcaw-b)'")
        take, speaker, _ = match[2].lower().split("-")
        found[f"{speaker}-{take}"] = match[1].split()
    return found


def spoken(transcripts: dict[str, list[str]], phones: list[str]) -> dict[str, list[int]]:
    """The phones of every transcript, without silence, as eSpeak NG's American English says them; places among `phones`."""
    import tempfile

    sys.path.insert(0, str(SYNTHETIC))
    from dictation import LETTER_A
    from espeak import Synthesizer, view_of_data
    from phones import SILENCE, segments

    result = {}
    with tempfile.TemporaryDirectory() as view:
        view_of_data(Path(view), {})
        synthesizer = Synthesizer(Path(view))
        for utterance, words in transcripts.items():
            text = " ".join(word if len(word) == 1 else word.lower() for word in words)
            text = re.sub(r"\bA\b", LETTER_A, text)
            samples, phonemes = synthesizer.speak_aligned(f"{text}.", "en-us", 175, 50, 50, 0)
            names = [phone for _, _, phone in segments(phonemes, len(samples)) if phone != SILENCE]
            result[utterance] = [phones.index(name) for name in names if name in phones]
    return result


def on_synthetic(model: Path, heldout: Path, posteriors: Path) -> dict[str, str]:
    """Frame accuracy and purity where the phone of every frame is known."""
    import numpy as np

    from sv_toolkit.data.feature_index import FeatureIndex
    from sv_toolkit.io.archives import ScpReader
    from sv_toolkit.phonetic.agreement import label_purity
    from sv_toolkit.phonetic.store import read_description
    from sv_toolkit.phonetic.train import read_aligned

    classes = read_description(model)[0].classes
    index, reader, phone_of = FeatureIndex(heldout, need_vad=False), ScpReader(posteriors), classes.phone_of
    found = np.concatenate([reader.read(key).argmax(axis=1) for key in index.utterances])
    phones = phone_of[np.concatenate([labels for _, labels in read_aligned(index, classes)])]
    speech = phones != classes.phones.index(classes.silence)
    accuracy = [(phone_of[found[own]] == phones[own]).mean() for own in (slice(None), speech)]
    purity, shuffled = (label_purity(phones[speech], other[speech]) for other in (found, np.random.default_rng(0).permutation(found)))
    return {
        "voices held out: frames right": f"{100 * accuracy[0]:.1f} % (speech alone {100 * accuracy[1]:.1f} %)",
        "purity of speech (shuffled)": f"{100 * purity:.1f} % ({100 * shuffled:.1f} %)",
    }


def on_real(model: Path, transcripts: Path, posteriors: Path) -> dict[str, str]:
    """How well recordings go with their own words, and with those of others."""
    import numpy as np

    from sv_toolkit.io.archives import ScpReader
    from sv_toolkit.phonetic.agreement import phone_posteriors, spoken_agreement
    from sv_toolkit.phonetic.store import read_description

    classes, reader = read_description(model)[0].classes, ScpReader(posteriors)
    silence = classes.phones.index(classes.silence)
    phones = {key: value for key, value in spoken(read_transcripts(transcripts), list(classes.phones)).items() if key in reader}
    if len(phones) <= NUM_OTHERS:
        raise DataError(f"{transcripts}: {len(phones)} utterances are among those of {posteriors}, more than {NUM_OTHERS} are needed")
    rng, own, control, wins = np.random.default_rng(0), [], [], []
    for key, sequence in phones.items():
        found = phone_posteriors(reader.read(key), classes.phone_of)
        score, agreement = spoken_agreement(found, sequence, silence)
        distinct = [other for other in phones if phones[other] != sequence]
        others = [spoken_agreement(found, phones[distinct[place]], silence) for place in rng.choice(len(distinct), NUM_OTHERS, False)]
        own.append(agreement)
        control.append(np.mean([other for _, other in others]))
        wins.append(np.mean([score > other for other, _ in others]))
    return {
        "real speech: frames agree with own words (with others')": f"{100 * np.mean(own):.1f} % ({100 * np.mean(control):.1f} %)",
        "own words win": f"{100 * np.mean(wins):.1f} % of {NUM_OTHERS * len(phones)}",
    }


@click.command(cls=SvCommand)
@click.argument("model", type=DIRECTORY)
@click.argument("heldout", type=DIRECTORY)
@click.argument("posteriors", type=FILE)
@click.argument("real", type=FILE)
@click.option("--transcripts", type=FILE, help="Words of the utterances of REAL.")
@click.option("--name", default="classifier", show_default=True, help="Of the row.")
@click.option("--append-to", type=click.Path(dir_okay=False, path_type=Path), help="File that the row is added to.")
def command(model: Path, heldout: Path, posteriors: Path, real: Path, transcripts: Path | None, name: str, append_to: Path | None) -> None:
    """Print how good the labels of MODEL are: POSTERIORS of HELDOUT, which has phones.ctm, and REAL, of recordings with transcripts.

    \b
    Example:
        local/measure_labels.py exp/phones data/phones/heldout exp/phones/heldout/posteriors.scp exp/phones/test/posteriors.scp
    """
    from sv_toolkit.reporting.provenance import commit

    if transcripts is not None and not (SYNTHETIC / "espeak.py").exists():
        raise SvError(f"{SYNTHETIC}: missing: eSpeak NG says the transcripts")
    values = {"labels of": name, **on_synthetic(model, heldout, posteriors)}
    if transcripts is not None:
        values |= on_real(model, transcripts, real)
    values["commit"] = commit()
    for key, value in values.items():
        click.echo(f"{key}: {value}")
    if append_to is not None:
        add_row(append_to, values)


def add_row(path: Path, values: dict[str, str]) -> None:
    """Add a row, and its head where the last line is no row of the same table."""
    from sv_toolkit.io.files import write_text

    text = path.read_text(encoding="utf-8") if path.exists() else ""
    head = f"| {' | '.join(values)} |\n|{' --- |' * len(values)}\n"
    row = f"| {' | '.join(values.values())} |\n"
    if head in text:
        rows = re.compile(re.escape(head) + r"(\|.*\n)*")
        text = rows.sub(lambda match: match[0] + row, text)
    else:
        text += ("\n" if text else "") + head + row
    write_text(path, text)


if __name__ == "__main__":
    command()
