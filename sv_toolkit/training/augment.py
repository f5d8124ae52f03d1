"""What happens to crops on their way into a batch: reverberation, noise, lost bands, masks; in log-mel, for the whole batch at once.

Powers of independent signals add in every mel band, and a room smears power over time; both hold on average over the phase,
which the features do not have.  All random choices of a batch are drawn from one generator before anything is computed, so that
a resumed run, and any number of processes that share the batch, see the same.  The computation runs where the crops lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sv_toolkit.data.feature_index import FeatureIndex, read_all
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ConfigError, plain
from sv_toolkit.features.prepare import SMALLEST_DEVIATION
from sv_toolkit.features.registry import without_powers
from sv_toolkit.training.config import AugmentConfig
from sv_toolkit.training.examples import Examples

LONGEST_RESPONSE = 60  # frames of an impulse response that are kept: 0.6 s at the usual shift
NONE = -1  # in a plan: no noise, no room
DECIBEL = math.log(10) / 10  # in nats of log power


@dataclass(frozen=True)
class Plan:
    """The random choices of a batch, one row per crop.

    Attributes:
        noise, noise_start, snr: which noise (or NONE), its first frame, signal-to-noise ratio in dB.
        response: which impulse response, or NONE.
        band_first, band_stop, attenuation: bands that are kept, and attenuation of the others in nats.
        bands, frames: `(num_crops, num_masks, 2)` first and end of every mask.
    """

    noise: np.ndarray
    noise_start: np.ndarray
    snr: np.ndarray
    response: np.ndarray
    band_first: np.ndarray
    band_stop: np.ndarray
    attenuation: np.ndarray
    bands: np.ndarray
    frames: np.ndarray

    def rows(self, rows: range) -> Plan:
        """The plan of some of the crops."""
        return Plan(*(getattr(self, field.name)[rows.start : rows.stop] for field in fields(self)))

    def whole(self, dim: int) -> Plan:
        """The same noise and rooms, but every band and frame is kept."""
        no_spans = np.zeros((len(self.snr), 0, 2), np.int64)
        kept = np.zeros_like(self.band_first), np.full_like(self.band_stop, dim)
        return replace(self, band_first=kept[0], band_stop=kept[1], bands=no_spans, frames=no_spans)


class Augmentation:
    """Reverberation, then noise, then lost bands, then masks, as the configuration asks for.

    Args:
        noises: `(num_frames_i, dim)` log-mel matrices.
        responses: powers of impulse responses, as `response_powers` gives them.
    """

    def __init__(self, config: AugmentConfig, noises: list[np.ndarray] | None = None, responses: list[np.ndarray] | None = None) -> None:
        self.config = config
        self.noises, self.responses = noises or [], responses or []

    @cached_property
    def _noise_lengths(self) -> np.ndarray:
        return np.array([len(noise) for noise in self.noises])

    @cached_property
    def _response_powers(self) -> Tensor:
        """`(num_responses, longest, dim)`, zeros at the end."""
        longest = max(map(len, self.responses))
        return torch.from_numpy(np.stack([np.pad(own, ((0, longest - len(own)), (0, 0))) for own in self.responses]).astype(np.float32))

    def draw(self, num_crops: int, num_frames: int, dim: int, rng: np.random.Generator) -> Plan:
        """The random choices of a batch of crops of `num_frames` frames."""
        config, noise_start = self.config, np.zeros(num_crops, np.int64)
        noise = _chosen(num_crops, len(self.noises), config.noise_probability, rng)
        if self.noises:
            noise_start = rng.integers(self._noise_lengths[noise])
        response = _chosen(num_crops, len(self.responses), config.reverb_probability, rng)
        snr = rng.uniform(*config.noise_snr, num_crops)
        first, stop = _kept_bands(config, num_crops, dim, rng)
        attenuation = rng.uniform(*config.band_attenuation, num_crops) * DECIBEL
        bands = _spans(num_crops, config.frequency_masks, config.frequency_mask_bands, dim, dim, rng)
        frames = _spans(num_crops, config.time_masks, config.time_mask_frames, num_frames, num_frames // 2, rng)
        return Plan(noise, noise_start, snr, response, first, stop, attenuation, bands, frames)

    def inputs(
        self, examples: Examples, places: np.ndarray, starts: np.ndarray, num_frames: int, plan: Plan, device: torch.device
    ) -> Tensor:
        """Network input `(len(places), num_frames, dim)` of crops on `device`."""
        crops = examples.frames.crops(places, starts, num_frames).to(device, non_blocking=True)
        offset, gain = (torch.from_numpy(part).to(device, non_blocking=True) for part in examples.normalization(places))
        is_limited = (plan.band_first > 0) | (plan.band_stop < examples.dim)
        rows = np.flatnonzero((plan.noise != NONE) | (plan.response != NONE) | is_limited)
        if len(rows):
            index = torch.from_numpy(rows).to(device, non_blocking=True)
            clean = crops.index_select(0, index)
            changed = self._changed(examples, places, starts, clean, rows, plan)
            offset.index_add_(0, index, moved_offset(clean, changed, examples.input.cmvn))
            if examples.input.cmvn_variance:
                gain.index_copy_(0, index, gain.index_select(0, index) * moved_gain(clean, changed, examples.input.cmvn))
            crops.index_copy_(0, index, changed)
        crops.sub_(offset[:, None]).mul_(gain[:, None])
        return mask(crops, plan.bands, plan.frames)

    def originals(
        self, examples: Examples, places: np.ndarray, starts: np.ndarray, num_frames: int, plan: Plan, device: torch.device
    ) -> Tensor:
        """Network input `(len(places), num_frames, dim)` of the same crops, with the same noise and rooms, as they were before any codec, lost band or mask."""
        places = examples.originals[places]
        starts = np.minimum(starts, np.maximum(examples.num_frames[places] - num_frames, 0))  # a codec may have moved an end
        return self.inputs(examples, places, starts, num_frames, plan.whole(examples.dim), device)

    def _changed(self, examples: Examples, places: np.ndarray, starts: np.ndarray, clean: Tensor, rows: np.ndarray, plan: Plan) -> Tensor:
        changed, device = clean, clean.device
        own = np.flatnonzero(plan.response[rows] != NONE)
        if len(own):
            with_past = examples.frames.crops(places[rows[own]], starts[rows[own]], clean.shape[1], self._response_powers.shape[1] - 1)
            responses = self._response_powers[torch.from_numpy(plan.response[rows[own]])].to(device, non_blocking=True)
            reverberant = reverberate(with_past.to(device, non_blocking=True), responses)
            changed = changed.index_copy(0, torch.from_numpy(own).to(device), reverberant)
        own = np.flatnonzero(plan.noise[rows] != NONE)
        if len(own):
            noise = self._noise(plan.noise[rows[own]], plan.noise_start[rows[own]], clean.shape[1]).to(device, non_blocking=True)
            snr = torch.from_numpy(plan.snr[rows[own]].astype(np.float32)).to(device, non_blocking=True)
            index = torch.from_numpy(own).to(device, non_blocking=True)
            changed = changed.index_copy(0, index, mix_noise(changed.index_select(0, index), noise, snr))
        return limit_bands(changed, plan.band_first[rows], plan.band_stop[rows], plan.attenuation[rows])

    def _noise(self, chosen: np.ndarray, starts: np.ndarray, num_frames: int) -> Tensor:
        """`(len(chosen), num_frames, dim)` of the noises, each begun at its start and repeated."""
        batch = torch.empty(len(chosen), num_frames, self.noises[0].shape[1])
        for row, number, start in zip(batch.numpy(), chosen.tolist(), starts.tolist()):
            noise, filled = self.noises[number], 0
            while filled < num_frames:
                count = min(len(noise) - start, num_frames - filled)
                row[filled : filled + count] = noise[start : start + count]
                filled, start = filled + count, 0
        return batch


def _chosen(num_crops: int, num_choices: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Which of the choices each crop gets; NONE for those that get none."""
    is_chosen = rng.random(num_crops) < probability
    if not num_choices:
        return np.full(num_crops, NONE)
    return np.where(is_chosen, rng.integers(num_choices, size=num_crops), NONE)


def _kept_bands(config: AugmentConfig, num_crops: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """First band that is kept, and the one after the last."""
    is_limited = rng.random(num_crops) < config.band_probability
    stop = np.where(is_limited, np.rint(rng.uniform(*config.band_kept, num_crops) * dim).astype(np.int64), dim)
    stop = np.maximum(stop, 1)
    is_low = rng.random(num_crops) < 0.5
    first = rng.integers(0, round(config.band_low * dim), num_crops, endpoint=True)
    return np.where(is_limited & is_low, np.minimum(first, stop - 1), 0), stop


def _spans(num_crops: int, num_masks: int, longest: int, total: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """`(num_crops, num_masks, 2)` first and end of stretches of at most `longest` and `most`, within `total`."""
    width = np.minimum(rng.integers(longest + 1, size=(num_crops, num_masks)), most)
    first = rng.integers(0, total - width, endpoint=True)
    return np.stack([first, first + width], axis=-1)


def mix_noise(speech: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
    """Log-mel energies of speech plus noise at a signal-to-noise ratio.

    The spectrum of a sum has a cross term of zero mean; what is added here is its expectation, the powers.

    Args:
        speech, noise: `(num_crops, num_frames, dim)` natural-log mel energies.
        snr: `(num_crops,)` mean power of the speech over mean power of the scaled noise, dB.
    """
    gain = _log_power(speech) - _log_power(noise) - snr * DECIBEL  # of sums: both have as many numbers
    return torch.logaddexp(speech, noise + gain[:, None, None])


def _log_power(frames: Tensor) -> Tensor:
    return frames.flatten(1).logsumexp(dim=1)


def reverberate(speech: Tensor, responses: Tensor) -> Tensor:
    """Log-mel energies of speech in a room: in every band the power is spread over the frames that follow.

    The magnitude-domain model of reverberation (Lebart et al. 2001): the power at frame t is the sum over tau of
    the response's power at tau times the speech's power at t - tau.

    Args:
        speech: `(num_crops, num_past + num_frames, dim)` natural-log mel energies; -inf before the utterance begins.
        responses: `(num_crops, num_past + 1, dim)` powers of impulse responses.

    Returns:
        `(num_crops, num_frames, dim)`.
    """
    num_crops, num_taps, dim = responses.shape
    peak = speech.flatten(1).amax(dim=1)[:, None, None]
    power = (speech - peak).exp().transpose(1, 2).reshape(1, num_crops * dim, -1)
    kernels = responses.flip(1).transpose(1, 2).reshape(num_crops * dim, 1, num_taps)
    spread = F.conv1d(power, kernels, groups=num_crops * dim).view(num_crops, dim, -1).transpose(1, 2)
    return spread.clamp(min=1e-30).log() + peak


def response_powers(features: np.ndarray) -> np.ndarray:
    """Powers `(at most LONGEST_RESPONSE, dim)` of an impulse response from its log-mel features, from its loudest frame on.

    Their sum over time is 1 in every band: the room smears speech, but neither colours it nor makes it louder.  (The
    features of the response hold the pre-emphasis and the widths of the mel filters a second time; this takes them out.)
    """
    power = np.exp(features - features.max())
    power = power[int(power.sum(axis=1).argmax()) :][:LONGEST_RESPONSE]
    return power / power.sum(axis=0)


def limit_bands(frames: Tensor, first: np.ndarray, stop: np.ndarray, attenuation: np.ndarray) -> Tensor:
    """Crops whose bands before `first` and from `stop` on are attenuated, each by its own number of nats."""
    if not first.any() and (stop >= frames.shape[2]).all():
        return frames
    band = np.arange(frames.shape[2])
    is_lost = (band < first[:, None]) | (band >= stop[:, None])
    loss = torch.from_numpy(np.where(is_lost, attenuation[:, None], 0).astype(np.float32))
    return frames - loss.to(frames.device, non_blocking=True)[:, None]


def moved_offset(clean: Tensor, changed: Tensor, cmvn: str) -> Tensor:
    """By how much the change moves the mean that normalisation subtracts, judged by the crop: `(num_crops, dim)`."""
    moved = changed.mean(dim=1) - clean.mean(dim=1)
    if cmvn == "utterance":
        return moved
    return moved.mean(dim=1, keepdim=True).expand_as(moved) if cmvn == "level" else torch.zeros_like(moved)


def moved_gain(clean: Tensor, changed: Tensor, cmvn: str) -> Tensor:
    """By what factor the change moves the gain of a normalised variance, judged by the crop: `(num_crops, dim)`."""
    if cmvn == "level":
        ratio = clean.flatten(1).std(dim=1, correction=0) / changed.flatten(1).std(dim=1, correction=0).clamp(min=SMALLEST_DEVIATION)
        return ratio[:, None].expand(-1, clean.shape[2])
    return clean.std(dim=1, correction=0) / changed.std(dim=1, correction=0).clamp(min=SMALLEST_DEVIATION)


def mask(frames: Tensor, bands: np.ndarray, times: np.ndarray) -> Tensor:
    """SpecAugment (Park et al. 2019, section 2) without time warping: bands and stretches of frames set to 0, the mean; in place.

    Args:
        frames: `(num_crops, num_frames, dim)` network input.
        bands, times: `(num_crops, num_masks, 2)` first and end of every mask.
    """
    if bands.shape[1]:
        frames.mul_(_kept(bands, frames.shape[2]).to(frames.device, non_blocking=True)[:, None])
    if times.shape[1]:
        frames.mul_(_kept(times, frames.shape[1]).to(frames.device, non_blocking=True)[:, :, None])
    return frames


def _kept(spans: np.ndarray, length: int) -> Tensor:
    """`(num_crops, length)`: 0 inside of any span, else 1."""
    place = np.arange(length)
    is_masked = ((place >= spans[:, :, :1]) & (place < spans[:, :, 1:])).any(axis=1)
    return torch.from_numpy((~is_masked).astype(np.float32))


def load_log_mel(index: FeatureIndex, training: FeatureIndex, cmvn: str) -> list[np.ndarray]:
    """Log-mel matrices of a data directory of noises or impulse responses, for the features of the training data.

    Raises:
        ModelError: they were not made as the training data.
        ConfigError: features in which powers do not add, or a normalisation that comes before augmentation.
    """
    refuse_unlike(index, training.dim, training.made_by(), False, "the training data")
    refuse_other_than_log_mel(training, cmvn)
    found: list[np.ndarray] = []
    read_all(index, lambda _, features, __: found.append(features), max_bad=0)
    return found


def refuse_other_than_log_mel(training: FeatureIndex, cmvn: str) -> None:
    """Stop where augmentation cannot work on the powers of mel bands.

    Raises:
        ConfigError: features in which powers do not add, or a normalisation that comes before augmentation.
    """
    if (kind := without_powers(training.made_by())) is not None:
        raise ConfigError(
            f"{plain(training.path)}: features are {kind}; noise, rooms and lost bands need the mel powers of sv-extract-fbank"
        )
    if cmvn == "sliding":
        raise ConfigError(
            "noise, rooms and lost bands need cmvn = 'none', 'level' or 'utterance': they come before normalisation, a sliding one is applied earlier"
        )
