"""Training of an i-vector system in stages: background model, statistics, total variability; finished stages are kept."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.config import as_table
from sv_toolkit.data.digests import STORED, tables_digest
from sv_toolkit.data.skipped import write_skipped
from sv_toolkit.errors import MALFORMED, DataError, OutputError, plain
from sv_toolkit.io.files import make_directory, read_json, write_text
from sv_toolkit.io.manifest import Manifest, describe_file, digest_of, is_finished, manifest_path, read_manifest, write_manifest
from sv_toolkit.io.parts import Join, Part, Share, refuse_missing
from sv_toolkit.io.shards import cut_shards, refuse_too_many
from sv_toolkit.io.work import Work
from sv_toolkit.io.workers import available_cpus
from sv_toolkit.ivector.config import IvectorConfig
from sv_toolkit.ivector.frames import Frames, opened, over_shards, posteriors_digest, survey
from sv_toolkit.ivector.gmm import FullGmm
from sv_toolkit.ivector.statistics import Align, Source, alignment, utterance_statistics
from sv_toolkit.ivector.store import (
    DESCRIPTION,
    UBM,
    WEIGHTS,
    Description,
    gmm_arrays,
    gmm_shapes,
    make_gmm,
    read_arrays,
    save_system,
    write_arrays,
)
from sv_toolkit.ivector.total_variability import Expectations, TotalVariability, expectations, gram, initial, maximization, whiten
from sv_toolkit.ivector.ubm import train_ubm, ubm_of_posteriors

logger = logging.getLogger("sv_toolkit")
COMMAND, NAME, UBM_NAME, WORK = "sv-train-ivector", "ivector", "ubm", ".statistics"
UTTERANCES = 128  # in one E-step: what it holds stays small


@dataclass(frozen=True)
class Options:
    """What a training is given besides its configuration.

    Attributes:
        posteriors: scp of frame posteriors that take the place of the background model's.
        num_jobs: processes; None: one for each processor.  The result does not depend on it.
        max_bad: how many utterances may be skipped.
        only_background: stop after the background model.
        share: a part of the statistics that follow it, or the run that goes on from all parts (`io.parts`).
    """

    data: Path
    folder: Path
    posteriors: Path | None = None
    num_jobs: int | None = None
    max_bad: int = 0
    overwrite: bool = False
    only_background: bool = False
    share: Share = None


def train_ivector(config: IvectorConfig, options: Options) -> bool:
    """Train in `options.folder`, or go on there; False where everything was done already.

    Raises:
        SvError: data, configuration or folder are wrong, in one line.
    """
    folder, job = options.folder, describe_job(config, options)
    background = _background_job(job)
    overwrite = options.overwrite and options.share is None  # what parts and their join find was begun anew before them
    with Work(
        folder, NAME, job, share=options.share, overwrite=overwrite, is_open=lambda: is_finished(folder, UBM_NAME, background)
    ) as work:
        if work.is_done():
            return False
        if not overwrite:
            _refuse_other_job(folder, job)
        opened.cache_clear()
        frames = opened(options.data, config.frames, options.posteriors)
        num_jobs = options.num_jobs or available_cpus()
        if options.share is not None:
            _refuse_without_background(folder, background)
        lengths, skipped = _surveyed(frames, num_jobs, folder / WORK, background, options)
        refuse_too_many(skipped, len(lengths) + len(skipped), options.max_bad)
        logger.info("%d utterances, %d frames of %d columns", len(lengths), sum(lengths.values()), frames.dim)
        source = Source(frames, list(lengths), num_jobs, config.ubm.subsample)
        gmm = _background(source, config, options, job)
        if options.only_background:
            _write_survey(folder / WORK, background, lengths, skipped)
            return True
        files = _statistics(source, alignment(gmm, config.ubm, options.posteriors is not None), gmm, work, job)
        if work.is_part:
            return True
        total, log_marginals = _total_variability(files, gmm, config, num_jobs)
        description = Description(
            config,
            "ubm" if options.posteriors is None else "posteriors",
            frames.index.dim,
            frames.index.made_by(),
            {
                "data": job["data"],
                "posteriors": job["posteriors"],
                "log_marginals_per_utterance": log_marginals,
                "utterances": len(lengths),
            },
        )
        _finish(work, gmm, total, description, skipped)
    return True


def describe_job(config: IvectorConfig, options: Options) -> dict[str, Any]:
    """What was asked for: a run with an equal job goes on, any other is refused."""
    return {
        "command": COMMAND,
        "version": __version__,
        "config": as_table(config),
        "data": tables_digest(options.data, STORED),
        "posteriors": posteriors_digest(options.posteriors),
    }


def _refuse_other_job(folder: Path, job: dict[str, Any]) -> None:
    manifest, background = read_manifest(folder, NAME), read_manifest(folder, UBM_NAME)
    if manifest is not None and manifest.job != job:
        raise OutputError(f"{plain(folder)}: holds a system of other data or options; give --overwrite, or another folder")
    if background is not None and background.job != _background_job(job):
        raise OutputError(f"{plain(folder)}: holds a background model of other data or options; give --overwrite, or another folder")
    if background is None and (folder / DESCRIPTION).exists():
        raise OutputError(f"{plain(folder)}: holds a system that this training did not make; give --overwrite, or another folder")


def _clear(folder: Path) -> None:
    for path in (manifest_path(folder, NAME), manifest_path(folder, UBM_NAME), folder / DESCRIPTION, folder / WEIGHTS, folder / UBM):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / WORK, ignore_errors=True)


def _background_job(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "config": {name: job["config"][name] for name in ("frames", "ubm")}}


def _refuse_without_background(folder: Path, job: dict[str, Any]) -> None:
    if not is_finished(folder, UBM_NAME, job):
        raise OutputError(f"{plain(folder)}: the background model of this work is not there; run --only-background first")


def _survey_path(work: Path, job: dict[str, Any]) -> Path:
    return work / f"{digest_of(job)[:16]}.json"


def _surveyed(frames: Frames, num_jobs: int, work: Path, job: dict[str, Any], options: Options) -> tuple[dict[str, int], dict[str, str]]:
    """The survey, for parts and their join that of the run before them: each would read all features for it."""
    path = _survey_path(work, job)
    if options.share is None or not path.exists():
        return survey(frames, num_jobs)
    try:
        content = read_json(path)
        lengths, skipped = dict(content["lengths"]), dict(content["skipped"])
    except MALFORMED:
        raise DataError(f"{plain(path)}: damaged; delete it") from None
    if not {*lengths, *skipped} <= set(frames.index.utterances):
        raise DataError(f"{plain(path)}: lists utterances that the data directory has not; delete it")
    return lengths, skipped


def _write_survey(work: Path, job: dict[str, Any], lengths: dict[str, int], skipped: dict[str, str]) -> None:
    make_directory(work)
    write_text(_survey_path(work, job), json.dumps({"lengths": lengths, "skipped": skipped}, ensure_ascii=False))


def _background(source: Source, config: IvectorConfig, options: Options, job: dict[str, Any]) -> FullGmm:
    path, own = options.folder / UBM, _background_job(job)
    if (options.share is not None or not options.overwrite) and is_finished(options.folder, UBM_NAME, own):
        logger.info("%s: background model already there", plain(path))
        return make_gmm(read_arrays(path, gmm_shapes(config.ubm.num_components, source.frames.dim)), path)
    gmm = train_ubm(source, config.ubm) if options.posteriors is None else ubm_of_posteriors(source, config.ubm)
    if options.overwrite:  # only now: data or options that cannot be used leave what was there
        _clear(options.folder)
    write_arrays(path, gmm_arrays(gmm))
    write_manifest(options.folder, Manifest(UBM_NAME, own, {"components": len(gmm.weights)}, {UBM: describe_file(path)}))
    return gmm


def _statistics(source: Source, align: Align, gmm: FullGmm, work: Work, job: dict[str, Any]) -> list[Path]:
    """Files of whitened statistics, one for each shard or shard of the part; those that are there already are not made again.

    Raises:
        OutputError: the join finds some missing.
    """
    own = {**job, "config": {**job["config"], "total_variability": None}}
    place = make_directory(work.out / WORK / digest_of(own)[:16])
    shards = cut_shards(source.utterances)
    if isinstance(work.share, Join):
        missing = [index for index, shard in enumerate(shards) if not _is_whole(_statistics_path(place, shard), len(shard), gmm)]
        refuse_missing(work.out, "statistics", missing, len(shards), work.share)
    if isinstance(work.share, Part):
        work.let_others_in()
        shards = [shards[index] for index in work.share.own(len(shards))]
    return over_shards(partial(_shard_statistics, source.key, align, gmm, place), shards, source.num_jobs)


def _statistics_path(place: Path, utterances: list[str]) -> Path:
    return place / f"{digest_of(utterances)[:16]}.safetensors"


def _shard_statistics(key: tuple[Any, ...], align: Align, gmm: FullGmm, place: Path, utterances: list[str]) -> Path:
    path = _statistics_path(place, utterances)
    if not _is_whole(path, len(utterances), gmm):
        counts, sums = utterance_statistics(opened(*key), utterances, align)
        write_arrays(path, {"counts": counts, "sums": whiten(counts, sums, gmm)})
    return path


def _is_whole(path: Path, num_utterances: int, gmm: FullGmm) -> bool:
    """Whether statistics lie there that can be used; what a full or failing disk left of them is made again."""
    from safetensors import SafetensorError, safe_open

    shapes = {"counts": [num_utterances, len(gmm.weights)], "sums": [num_utterances, *gmm.means.shape]}
    try:
        with safe_open(path, framework="np") as stream:  # compares the size of the file with its header
            return all(stream.get_slice(name).get_shape() == shape for name, shape in shapes.items())
    except (SafetensorError, OSError):
        return False


def _total_variability(files: list[Path], gmm: FullGmm, config: IvectorConfig, num_jobs: int) -> tuple[TotalVariability, list[float]]:
    options = config.total_variability
    num_components, dim = gmm.means.shape
    model = initial(num_components, dim, options.ivector_dim, np.random.default_rng(options.seed))
    log_marginals = []
    for iteration in range(options.num_iterations):
        parts = over_shards(partial(_expect, model, gram(model)), [[str(file)] for file in files], num_jobs)
        expected = reduce(Expectations.__add__, parts)
        log_marginals.append(expected.log_marginal / expected.num_utterances)
        logger.info(
            "total variability, iteration %d: log-likelihood %.3f per utterance above the background model's",
            iteration + 1,
            log_marginals[-1],
        )
        model = maximization(expected, model, options.minimum_divergence)
    return model, log_marginals


def _expect(model: TotalVariability, squares: np.ndarray, files: list[str]) -> Expectations:
    """The E-step over the utterances of some files, a few at a time, in order."""
    parts = []
    for file in files:
        num_components, dim, _ = model.matrix.shape
        counts, sums = _read_statistics(Path(file), num_components, dim)
        for start in range(0, len(counts), UTTERANCES):
            parts.append(expectations(counts[start : start + UTTERANCES], sums[start : start + UTTERANCES], model, squares))
    return reduce(Expectations.__add__, parts)


def _read_statistics(path: Path, num_components: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    from safetensors.numpy import load_file

    arrays = load_file(path)
    if arrays["counts"].shape[1:] != (num_components,) or arrays["sums"].shape[1:] != (num_components, dim):
        raise DataError(f"{plain(path)}: statistics of another background model; remove the folder {WORK}")
    return arrays["counts"], arrays["sums"]


def _finish(work: Work, gmm: FullGmm, total: TotalVariability, description: Description, skipped: dict[str, str]) -> None:
    save_system(work.out, gmm, total, description)
    write_skipped(work.out, COMMAND, skipped)
    for name in (WEIGHTS, DESCRIPTION, "skipped.tsv"):
        work.add(name)
    work.finish({"utterances": description.provenance["utterances"], "skipped": len(skipped)})
    shutil.rmtree(work.out / WORK, ignore_errors=True)
