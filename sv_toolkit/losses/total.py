"""One loss out of one or more terms: what the trainer calls."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sv_toolkit.losses.output import LossOutput
from sv_toolkit.losses.term import LossSize, LossTerm
from sv_toolkit.losses.vectors import at_least_single


class TotalLoss(nn.Module):
    """The weighted sum of terms, and the speaker bases that they share.

    Args:
        terms: weight and term by name; the logged cosines are those of the first.
        size: `num_speakers` may be 0 where no term needs labels or bases.
    """

    def __init__(self, terms: dict[str, tuple[float, LossTerm]], size: LossSize) -> None:
        super().__init__()
        self.weights = {name: weight for name, (weight, _) in terms.items()}
        self.terms = nn.ModuleDict({name: term for name, (_, term) in terms.items()})
        self.needs_labels = any(term.needs_labels for _, term in terms.values())
        uses_bases = any(term.uses_bases for _, term in terms.values())
        if size.num_speakers < 1 and (self.needs_labels or uses_bases):
            raise ValueError(f"{', '.join(terms)}: the number of training speakers is needed")
        self.bases = new_bases(size) if uses_bases else None

    def forward(self, embeddings: Tensor, speakers: Tensor | None = None) -> LossOutput:
        """The loss of a batch, in at least float32.

        Args:
            embeddings: `(num_speakers, num_utterances, dim)`, not normalised.
            speakers: `(num_speakers, num_utterances)` class indices, in rows as the terms' sampler makes them; may be left out
                where no term needs labels.
        """
        if speakers is None and self.needs_labels:
            raise ValueError(f"{', '.join(self.terms)}: class indices of the speakers are needed")
        embeddings = at_least_single(embeddings)
        outputs = {name: term(embeddings, speakers, self.bases) for name, term in self.terms.items()}
        first = next(iter(outputs.values()))
        loss = torch.stack([self.weights[name] * output.loss for name, output in outputs.items()]).sum()
        parts = {name: output.extras | {"loss": output.loss.detach()} for name, output in outputs.items()}
        extras = self._prefixed(parts) if len(outputs) > 1 else first.extras
        return LossOutput(loss, first.target_cosine, first.nontarget_cosine, extras)

    @property
    def losses(self) -> Iterable[LossTerm]:
        """The terms."""
        return self.terms.values()  # type: ignore[return-value]

    def summary(self) -> dict[str, float]:
        """Learned numbers of all terms for the log line."""
        return self._prefixed({name: term.summary() for name, term in self.terms.items()})  # type: ignore[operator]

    def scalar_parameters(self) -> list[nn.Parameter]:
        """Single numbers such as w and b: they learn at the loss's own rate."""
        return [parameter for parameter in self.parameters() if parameter.dim() == 0]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Bases and biases: they learn at the network's rate."""
        return [parameter for parameter in self.parameters() if parameter.dim() > 0]

    def _prefixed(self, numbers: dict[str, dict]) -> dict:
        if len(numbers) == 1:
            return dict(*numbers.values())
        return {f"{name}.{key}": value for name, own in numbers.items() for key, value in own.items()}


def new_bases(size: LossSize) -> nn.Parameter:
    """`(num_speakers, embedding_dim)` speaker bases, drawn as `nn.Linear` draws its weights: their length does not depend on the number."""
    bound = size.embedding_dim**-0.5
    return nn.Parameter(torch.empty(size.num_speakers, size.embedding_dim).uniform_(-bound, bound))
