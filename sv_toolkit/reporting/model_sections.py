"""Parts of a report that models give: training curves, maps of embeddings, cosines between speakers, where all came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from sv_toolkit.errors import DataError, plain
from sv_toolkit.reporting.axes import Labels
from sv_toolkit.reporting.charts import Bars, Cloud, Line, histogram, line_chart, scatter
from sv_toolkit.reporting.page import Chart, Grid, Section, folded, identifier, joined, table
from sv_toolkit.reporting.projection import centroids, impostor_cosines, principal_axes, tsne, unit_rows
from sv_toolkit.reporting.provenance import Provenance
from sv_toolkit.reporting.svg import cut
from sv_toolkit.reporting.systems import Embedded, Identified, Model, System

TABLE_POINTS = 25  # of a curve, in the table under its chart
MAP_UTTERANCES = 40  # of a speaker on a map
MAP_SHAPES = ("circle", "square", "diamond", "down", "plus")  # triangles are centroids, crosses bases: Heo et al. 2019, figure 1
COSINE_BINS = {20_000: 100, 1_000: 50, 0: 20}  # from so many pairs of speakers on: so many bins from -1 to 1
MAX_SETTINGS = 400  # lines of a model's description that a page shows

CURVES = {"loss": ("Training loss", "Loss", 1.0), "dev_eer": ("EER of held-out speakers", "EER (%)", 100.0)}
SET_PREFIX = "dev_eer."  # of the name of a set, where several were held out
AXES = {"step": "Step", "seconds": "Seconds"}


def training_section(models: Sequence[Model]) -> Section | None:
    """Loss and EER of held-out speakers against steps and against seconds; None without a training log.

    Where several sets were held out, each has its curves; so has every accuracy that was logged.
    """
    names = dict.fromkeys(name for model in models if model.training for name in model.training.curves)
    curves = {name: (name, *words) for name, words in CURVES.items()}
    for number, name in enumerate((name for name in names if name.startswith(SET_PREFIX) or "accuracy" in name), 1):
        title = f"EER of held-out speakers, {name.removeprefix(SET_PREFIX)}" if name.startswith(SET_PREFIX) else name.replace("_", " ")
        curves[name] = (f"more-{number}", cut(title, 80), "EER (%)" if name.startswith(SET_PREFIX) else "Share (%)", 100.0)
    charts = [chart for name in curves for axis in AXES if (chart := _training_chart(models, name, axis, *curves[name]))]
    return Section("training", "Training", charts=charts) if charts else None


def _training_chart(models: Sequence[Model], name: str, axis: str, file: str, title: str, y_label: str, factor: float) -> Chart | None:
    lines = []
    for model in models:
        if model.training is None:
            continue
        x, y = model.training.curves.get(name, (np.zeros(0), np.zeros(0))) if axis == "step" else model.training.against_time(name)
        if np.isfinite(y).any():
            lines.append(Line(model.name, x, factor * y))
    if not lines:
        return None
    labels = Labels(
        f"{file.replace('_', '-')}-by-{axis}",
        f"{title} against {AXES[axis].lower() + ('s' if axis == 'step' else '')}",
        f"{title} of {', '.join(cut(line.name, 80) for line in lines)}; " + "; ".join(_course(line, axis) for line in lines) + ".",
        AXES[axis],
        y_label,
    )
    return Chart(labels, line_chart(labels, lines, y_from_zero=name != "loss"), _curve_table(labels, lines))


def _course(line: Line, axis: str) -> str:
    good = np.flatnonzero(np.isfinite(line.y))
    best = good[np.argmin(line.y[good])]
    return (
        f"{cut(line.name, 80)} from {line.y[good[0]]:.4g} to {line.y[good[-1]]:.4g}, lowest {line.y[best]:.4g} at {axis} {line.x[best]:.6g}"
    )


def _curve_table(labels: Labels, lines: Sequence[Line]) -> Grid:
    rows = []
    for line in lines:
        chosen = np.unique(np.linspace(0, len(line.x) - 1, min(TABLE_POINTS, len(line.x))).round().astype(np.int64))
        rows += [[line.name, f"{line.x[at]:.6g}", f"{line.y[at]:.4g}"] for at in chosen]
    return Grid(labels.title, ["Model", labels.x, labels.y], rows, frozenset({1, 2}))


def embedding_section(embedded: Sequence[Embedded], kind: str, num_speakers: int, seed: int) -> Section | None:
    """A map of some speakers for each set of embeddings, and the cosines between all speakers of all sets.

    Args:
        kind: "pca" or "tsne".

    Raises:
        DataError: fewer than two speakers, or embeddings of one dimension.
    """
    if not embedded:
        return None
    for each in embedded:
        if len(set(each.speakers)) < 2 or each.vectors.shape[1] < 2:
            raise DataError(f"embeddings of {plain(each.name)}: a map needs two speakers and two dimensions")
    with_basis = {speaker for each in embedded for speaker in each.bases}  # of any, so that maps of one set of speakers show the same
    maps = []
    for place, each in enumerate(embedded, 1):
        maps.append(_map_chart(place, each, shown_speakers(each.speakers, with_basis, num_speakers, seed), kind, seed))
    return Section("embeddings", "Embeddings", charts=[*maps, _cosine_chart(embedded)])


def shown_speakers(speakers: Sequence[str], with_basis: Collection[str], count: int, seed: int) -> list[str]:
    """Speakers for a map, drawn at random from those with the most to show: with a basis, with two embeddings.

    Args:
        speakers: of every embedding.
    """
    names, sizes = np.unique(np.array(speakers, dtype=object), return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    ranked = sorted(order.tolist(), key=lambda at: (names[at] in with_basis, sizes[at] > 1), reverse=True)
    return sorted(str(names[at]) for at in ranked[:count])


def _map_chart(place: int, embedded: Embedded, speakers: Sequence[str], kind: str, seed: int) -> Chart:
    rows = [np.flatnonzero(np.array([name == speaker for name in embedded.speakers]))[:MAP_UTTERANCES] for speaker in speakers]
    own = [unit_rows(embedded.vectors[each]) for each in rows]
    centres = centroids(np.concatenate(own), [speaker for speaker, each in zip(speakers, own) for _ in each]).vectors
    with_basis = [speaker for speaker in speakers if speaker in embedded.bases]
    bases = unit_rows(np.array([embedded.bases[speaker] for speaker in with_basis])) if with_basis else np.zeros((0, centres.shape[1]))
    places, axes = _on_map(np.concatenate(own), np.concatenate([*own, centres, bases]), kind)
    borders = np.cumsum([0, *(len(each) for each in own)])
    triangles, crosses = places[borders[-1] : borders[-1] + len(speakers)], places[borders[-1] + len(speakers) :]
    clouds = [Cloud(speaker, places[borders[i] : borders[i + 1]], i, MAP_SHAPES[i % len(MAP_SHAPES)]) for i, speaker in enumerate(speakers)]
    marks = [Cloud(speaker, triangles[i : i + 1], i, "triangle", 5.5) for i, speaker in enumerate(speakers)]
    marks += [
        Cloud(speaker, crosses[[with_basis.index(speaker)]], i, "cross", 5.5) for i, speaker in enumerate(speakers) if speaker in with_basis
    ]
    method = "principal components" if kind == "pca" else "t-SNE"
    labels = Labels(
        f"map-{place}",
        f"Embeddings of {cut(embedded.name, 80)}",
        f"Map by {method} of the embeddings of {len(speakers)} speakers; triangles are their centroids"
        + (", crosses their bases." if with_basis else "."),
        *axes,
    )
    numbers = Grid("Places of the centroids", ["Speaker", "Embeddings", labels.x, labels.y],
                   [[identifier(s), len(o), f"{t[0]:.3f}", f"{t[1]:.3f}"] for s, o, t in zip(speakers, own, triangles)], frozenset({1, 2, 3}))  # fmt: skip
    note = (
        "All scaled to unit length. Triangles: centroids of the speakers."
        + (" Crosses: speaker bases." if with_basis else "")
        + f" {len(speakers)} speakers drawn at random, seed {seed}."
    )
    return Chart(labels, scatter(labels, [*clouds, *marks], clouds), numbers, note)


def _on_map(embeddings: np.ndarray, everything: np.ndarray, kind: str) -> tuple[np.ndarray, tuple[str, str]]:
    """Places `(num_points, 2)` of everything, and the names of the axes; the embeddings alone decide principal axes."""
    if kind == "tsne" and len(everything) >= 4:
        return tsne(everything), ("t-SNE 1", "t-SNE 2")
    mean, axes, shares = principal_axes(embeddings)
    if len(axes) < 2:
        axes, shares = np.concatenate([axes, np.zeros_like(axes)]), np.append(shares, 0.0)
    names = (f"First component ({100 * shares[0]:.0f} % of variance)", f"Second ({100 * shares[1]:.0f} %)")
    return (everything - mean) @ axes.T, names


def _cosine_chart(embedded: Sequence[Embedded]) -> Chart:
    """Cosines between the centroids of different speakers: Heo et al. 2019, figure 2."""
    centres = [centroids(each.vectors, each.speakers).vectors for each in embedded]
    fewest = min(len(vectors) * (len(vectors) - 1) // 2 for vectors in centres)
    all_edges = np.linspace(-1.0, 1.0, 1 + next(bins for pairs, bins in COSINE_BINS.items() if fewest >= pairs))
    found = [impostor_cosines(vectors, all_edges) for vectors in centres]
    used = np.flatnonzero(np.any([density > 0 for density, _, _ in found], axis=0))
    inside = slice(max(int(used[0]) - 1, 0), int(used[-1]) + 2)
    edges = all_edges[inside.start : inside.stop + 1]
    labels = Labels(
        "impostor-cosines",
        "Cosines between speakers",
        "Histograms of the cosines between the centroids of different speakers; mean "
        + ", ".join(f"{mean:.3f} for {cut(each.name, 80)}" for each, (_, mean, _) in zip(embedded, found))
        + "; further left is better.",
        "Cosine between centroids",
        "Density",
    )
    bars = [Bars(f"{each.name}: mean {mean:.3f}", density[inside]) for each, (density, mean, _) in zip(embedded, found)]
    heads = ["Cosine", *(each.name for each in embedded)]
    rows = [
        [f"{low:.2f} to {high:.2f}", *(f"{bar.heights[at]:.3f}" for bar in bars)] for at, (low, high) in enumerate(zip(edges, edges[1:]))
    ]
    pairs = "; ".join(f"{cut(each.name, 80)}: {count} pairs of speakers" for each, (_, _, count) in zip(embedded, found))
    return Chart(
        labels, histogram(labels, edges, bars), Grid("Density by cosine", heads, rows, frozenset(range(1, len(heads)))), pairs + "."
    )


def identification_section(identified: Sequence[Identified]) -> Section | None:
    """How often a speaker is named right among candidates, against the number of enrollment utterances; None without results."""
    if not identified:
        return None
    found = [(each.name, record) for each in identified for record in each.records]
    rows = [
        [name, record.num_enroll or "single utterances", f"{100 * record.accuracy:.2f}", f"{100 * record.eer:.2f}",
         record.num_candidates, record.num_anchors, record.num_speakers]
        for name, record in found
    ]  # fmt: skip
    head = ["System", "Enrolled with", "ACC (%)", "EER (%)", "Candidates", "Tests", "Speakers"]
    numbers = Grid("Identification accuracy (ACC): how often the own speaker scores highest", head, rows, frozenset(range(1, 7)))
    lines = [_accuracy_line(each) for each in identified]
    lines = [line for line in lines if len(line.x) > 1]
    if not lines:
        return Section("identification", "Identification", table(numbers))
    labels = Labels(
        "accuracy-by-enrollment",
        "Identification accuracy",
        "Identification accuracy in percent against the number of enrollment utterances: " + "; ".join(_course(line, "n =") for line in lines) + ".",
        "Enrollment utterances",
        "ACC (%)",
    )  # fmt: skip
    return Section("identification", "Identification", charts=[Chart(labels, line_chart(labels, lines), numbers)])


def _accuracy_line(identified: Identified) -> Line:
    points = sorted((float(record.num_enroll), 100 * record.accuracy) for record in identified.records if record.num_enroll)
    x, y = np.array(points).reshape(-1, 2).T
    return Line(identified.name, x, y)


def provenance_section(systems: Sequence[System], models: Sequence[Model], origin: Provenance) -> Section:
    """Commit, machine, command, lists, score files, models."""
    facts = [["Toolkit", origin.commit], ["Date", origin.date], ["Hardware", origin.hardware]]
    facts += [[name, value] for name, value in (("Wall time", origin.wall_time), ("Command", origin.command)) if value]
    tables = [table(Grid("This report", ["What", "Value"], facts))]
    if systems:
        rows = [
            [s.name, identifier(s.trials.path), identifier(s.trials.hash), identifier(s.scores_path), identifier(s.scores_sha256)]
            for s in systems
        ]
        tables.append(
            table(Grid("Trials and scores", ["System", "Trial list", "SHA-256 of the sorted list", "Scores", "SHA-256 of the file"], rows))
        )
    return Section("provenance", "Where it comes from", joined(*tables, *(_model_facts(model) for model in models if model.description)))


def _model_facts(model: Model) -> Any:
    rows = flattened(model.description)
    more = [["…", f"{len(rows) - MAX_SETTINGS} more"]] if len(rows) > MAX_SETTINGS else []
    cells = [[identifier(key), cut(value)] for key, value in rows[:MAX_SETTINGS]]
    return folded(
        f"Model {cut(model.name, 60)}: {cut(model.path, 80)}",
        table(Grid(f"Description of {model.name}", ["Setting", "Value"], [*cells, *more])),
    )


def flattened(content: Mapping[str, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Nested settings as `section.key`, value, sorted by key; what lies deeper than ten levels is one value."""
    rows: list[tuple[str, str]] = []
    for key in sorted(content, key=str):
        value = content[key]
        if isinstance(value, Mapping) and value and depth < 10:
            rows += flattened(value, f"{prefix}{key}.", depth + 1)
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
