"""One object from recordings to decisions: what `sv_toolkit.load()` gives."""

from __future__ import annotations

from pathlib import Path

from sv_toolkit.embeddings.waveform import Embedded, Embedder
from sv_toolkit.errors import plain
from sv_toolkit.verification.decision import Decision, Purpose, cosine, read_judge, warn_of_self


class Verifier(Embedder):
    """A model that takes recordings, compares them, and decides by its calibration.

    `embed_file` and `embed` give vectors; a path, or what they gave, can be compared.
    """

    def score(self, enrolled: Path | str | Embedded, test: Path | str | Embedded) -> float:
        """Cosine of the d-vectors of two recordings, in [-1, 1].

        Raises:
            AudioError: a recording cannot be used; names the file.
        """
        return cosine(self._embedded(enrolled).vector, self._embedded(test).vector)

    def verify(
        self,
        enrolled: Path | str | Embedded,
        test: Path | str | Embedded,
        prior: float | None = None,
        cost_miss: float = 1.0,
        cost_fa: float = 1.0,
        threshold: float | None = None,
    ) -> Decision:
        """Whether one person speaks in both recordings.

        Args:
            prior: probability of that before anything is heard; None: the calibration's.
            cost_miss, cost_fa: what the two errors cost.
            threshold: accept from this cosine on, instead of by prior and costs.

        Raises:
            AudioError: a recording cannot be used; ConfigError: options out of range, or prior or costs without a calibration.
        """
        judge = read_judge(self.path, self.digest, Purpose(prior, cost_miss, cost_fa, threshold))
        first, second = self._embedded(enrolled), self._embedded(test)
        warn_of_self(first, second, plain(test) if isinstance(test, (str, Path)) else "the second recording")
        return judge.decide(cosine(first.vector, second.vector), first, second)

    def _embedded(self, recording: Path | str | Embedded) -> Embedded:
        return recording if isinstance(recording, Embedded) else self.embed_file(recording)
