"""sv-eval-identification: from embeddings to identification accuracy."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, SHARE, SvCommand, seed_option

COUNT = click.IntRange(min=1)


@click.command(cls=SvCommand)
@click.argument("embeddings", type=FILE)
@click.argument("utt2spk", type=FILE)
@click.option("--num-candidates", type=click.IntRange(min=2), default=100, show_default=True, help="The own and others; all where fewer.")
@click.option(
    "--num-enroll", type=COUNT, multiple=True, help="Utterances per model; may be given several times.  [default: single utterances]"
)
@click.option("--top-k", type=COUNT, multiple=True, help="Print how often the own is among the first k; may be given several times.")
@click.option("--at-far", type=SHARE, multiple=True, help="Print the open-set rate where this fraction of strangers is accepted.")
@seed_option
@click.option("--json", "json_file", type=FILE, help="Write everything at full precision to this file too.")
def command(
    embeddings: Path,
    utt2spk: Path,
    num_candidates: int,
    num_enroll: tuple[int, ...],
    top_k: tuple[int, ...],
    at_far: tuple[float, ...],
    seed: int,
    json_file: Path | None,
) -> None:
    """Print how often the speaker is named right among many (ACC) by the cosines of EMBEDDINGS, an scp file.

    Every utterance is tested against one of its own speaker and one each of 99 other speakers, drawn at random (Deep Speaker,
    section 4.1).  With --num-enroll the candidates are models of so many utterances, kept out of the test.  Ties count
    as drawn at random.

    \b
    Example:
        sv-eval-identification exp/ge2e/test/dvector.scp data/test/utt2spk
        sv-eval-identification exp/ge2e/test/dvector.scp data/test/utt2spk --num-enroll 1 --num-enroll 2 --num-enroll 5
    """
    from sv_toolkit.io.files import write_lone_text
    from sv_toolkit.reporting.identification import IdentificationSettings, identification_lines, identify, labelled_embeddings
    from sv_toolkit.reporting.results import as_json

    settings = IdentificationSettings(num_candidates, num_enroll, top_k, at_far, seed)
    results = identify(*labelled_embeddings(embeddings, utt2spk), settings)
    click.echo("\n".join(identification_lines(results, settings)))
    if json_file is not None:
        records = {"single utterances" if found.num_enroll is None else f"{found.num_enroll} enrolled": found for found in results}
        write_lone_text(json_file, as_json(records))
