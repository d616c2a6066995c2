"""Estimates of totals from a stratified sample, with confidence intervals. Pure."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean, variance

import msgspec

# Sizes of rows are skewed, and for such values the normal interval is too narrow. The one for 98 %
# held 99 % of the true values on simulated projects, and 93 % if rows are log-normal within their strata.
_Z = NormalDist().inv_cdf((1 + 0.98) / 2)
# Rule of three: if none of n drawn rows has a property, at most 3 / n of all have it, at 95 % confidence.
_RULE_OF_THREE = 3.0


class Estimate(msgspec.Struct, frozen=True):
    """An estimate, and its interval at 95 % confidence."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, more: float) -> "Estimate":
        return Estimate(self.value + more, self.low + more, self.high + more)


def exactly(value: float) -> Estimate:
    """Return an estimate for a number that is known exactly."""
    return Estimate(value, value, value)


def total(strata: Iterable[tuple[int, Sequence[float]]]) -> Estimate:
    """Estimate the sum over all rows. Each stratum is its number of rows and the values of the drawn rows.

    The usual stratified estimate: each stratum's mean stands for its rows, and its spread for what is not
    known of them; rows that were drawn are known. Student's t makes up for small samples.
    """
    value = known = spread = freedom = 0.0
    unseen = drawn = 0
    for rows, values in strata:
        if not values:
            continue
        value += rows * fmean(values)
        known += sum(values)
        unseen += rows - len(values)
        drawn += len(values)
        if len(values) > 1:
            part = rows * (rows - len(values)) * variance(values) / len(values)
            spread += part
            freedom += part * part / (len(values) - 1)
    if not known:
        return Estimate(0.0, 0.0, math.ceil(unseen * min(1.0, _RULE_OF_THREE / drawn)) if drawn else 0.0)
    margin = _student(spread * spread / freedom) * math.sqrt(spread) if freedom else 0.0
    return Estimate(value, max(known, value - margin), value + margin)


def _student(freedom: float) -> float:
    """Return the quantile of Student's t, by the Cornish-Fisher expansion, for 3 degrees or more."""
    z, f = _Z, max(3.0, freedom)
    return z + (z**3 + z) / (4 * f) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
