#!/usr/bin/env python3
"""Make `tests/fixtures/health.json` and `overfit.json` again; the same seeds give the same series.

    python3 -m venv venv && venv/bin/pip install numpy statsmodels mpmath
    venv/bin/python tests/oracle/history.py

Last made with Python 3.11.7, numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0, mpmath 1.4.1. Series are
written as short decimals, so that both sides begin with the same doubles; another version may
change the last digits of what is computed from them. None of it uses code of `src/`.
"""

import itertools
import json
import math
import warnings
from pathlib import Path

import mpmath
import numpy as np
import statsmodels.api as sm
from statsmodels.tsa.adfvalues import mackinnoncrit, mackinnonp
from statsmodels.tsa.stattools import adfuller, coint

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
mpmath.mp.dps = 40


def short(values, digits):
    return [float(f"{value:.{digits}g}") for value in values]


def write(name, content):
    """One line a case."""
    lines = [json.dumps(case, separators=(",", ":"), allow_nan=False) for case in content]
    (FIXTURES / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")


# --- pairs -----------------------------------------------------------------------------------------


def walk(random, count, size):
    return np.cumsum(random.normal(0, size, count))


def autoregression(random, count, size, *weights):
    values = [0.0] * len(weights)
    for shock in random.normal(0, size, count + 50):
        values.append(sum(w * v for w, v in zip(weights, reversed(values))) + shock)
    return np.array(values[-count:])


def pairs():
    random = np.random.default_rng(20240101)
    n = 300
    base = walk(random, n, 0.01)
    yield "cointegrated", 42000 * np.exp(base + autoregression(random, n, 0.004, 0.8)), 2300 * np.exp(base), 7
    base = walk(random, n, 0.01)
    noise = autoregression(random, n, 0.006, 0.6)
    yield "hedged by 0.6", 5 * np.exp(0.6 * base + noise), 0.0123 * np.exp(base), 6
    yield "two walks", 100 * np.exp(walk(random, 400, 0.01)), 30 * np.exp(walk(random, 400, 0.02)), 6
    n = 250
    base = walk(random, n, 0.002)
    yield "a stationary ratio", 18 * np.exp(base + autoregression(random, n, 0.01, 0.5)), np.exp(base), 7
    n = 500
    base = walk(random, n, 0.01)
    slow = autoregression(random, n, 0.003, 0.5, 0, 0, 0, 0, 0, 0.3)
    yield "a weekly rhythm", 3000 * np.exp(base + slow), 150 * np.exp(base), 7
    n = 200
    base = walk(random, n, 0.01)
    yield "nearly constant", 18.4 * np.exp(base + autoregression(random, n, 1e-6, 0.7)), np.exp(base), 12
    base = walk(random, n, 0.0001)
    yield "a still denominator", 7 * np.exp(walk(random, n, 0.02)), 1.0001 * np.exp(base), 8
    yield "a trend", 10 * np.exp(0.01 * np.arange(n) + walk(random, n, 0.01)), 10 * np.exp(walk(random, n, 0.01)), 6
    yield "short", 10 * np.exp(walk(random, 25, 0.01)), 7 * np.exp(walk(random, 25, 0.01)), 6
    yield "very short", 10 * np.exp(walk(random, 15, 0.01)), 7 * np.exp(walk(random, 15, 0.01)), 6
    base = walk(random, n, 0.01)
    jumps = np.where(random.random(n) < 0.03, random.normal(0, 0.2, n), 0)
    yield "jumps", 1e-6 * np.exp(base + jumps + autoregression(random, n, 0.004, 0.9)), 9e7 * np.exp(base), 6


def test(statistic, p_value, critical, **more):
    one, five, ten = (float(value) for value in critical)
    return {"statistic": float(statistic), "p_value": float(p_value), "critical": [one, five, ten], **more}


def half_life(x):
    pull = sm.OLS(np.diff(x), sm.add_constant(x[:-1])).fit().params[1]
    return -math.log(2) / math.log1p(pull) if -1 < pull < 0 else None


def well_conditioned(function, x):
    """With a constant in the regression neither level nor scale of x are of account, but where x is
    1e-14, beside a column of ones, statsmodels takes it for zero, warns, and is wrong. Then x is
    standardised first."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return function(x)
        except sm.tools.sm_exceptions.SingularMatrixWarning:
            return function((x - x.mean()) / x.std())


def hurst(x):
    if len(x) < 40:
        return None
    lags = np.arange(2, min(100, len(x) // 4) + 1)
    spreads = [np.std(x[lag:] - x[:-lag]) for lag in lags]
    return float(np.polyfit(np.log(lags), np.log(spreads), 1)[0])


def health(name, numerator, denominator, digits):
    numerator, denominator = short(numerator, digits), short(denominator, digits)
    n, d = np.array(numerator), np.array(denominator)
    y, x, ratio = np.log(n), np.log(d), n / d
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Above all its CollinearityWarning.
        try:
            found = coint(y, x, trend="c", autolag="aic")
            engle_granger = test(*found)
        except sm.tools.sm_exceptions.CollinearityWarning:
            engle_granger = None
    adf = well_conditioned(lambda x: adfuller(x, regression="c", autolag="AIC", result_object=True), ratio)
    critical = [adf.critical_values[level] for level in ("1%", "5%", "10%")]
    adf = test(adf.statistic, adf.pvalue, critical, lag=int(adf.lags), observations=int(adf.nobs))
    return {
        "name": name,
        "correlation": float(np.corrcoef(np.diff(y), np.diff(x))[0, 1]),
        "hedge": [float(fit.params[1]), float(fit.params[0]), float(fit.rsquared)],
        "cointegration": engle_granger,
        "stationarity": adf,
        "half_life": well_conditioned(half_life, ratio),
        "hurst": hurst(ratio),
        "numerator": numerator,
        "denominator": denominator,
    }


def tables():
    """p-values over the whole range and at its joints, and critical values."""
    for series in (1, 2):
        statistics = [-30, -18.87, -18.85, -18.82, -12.5, -8, *np.arange(-6, 3.2, 0.3), -1.61, -1.6, -2.62, -2.6, 0.93, 2.75]
        statistics = [round(float(s), 4) for s in statistics]
        yield {
            "name": f"table {series}",
            "p_values": [[s, float(mackinnonp(s, "c", series))] for s in statistics],
            "critical": [[n, *map(float, mackinnoncrit(series, "c", n))] for n in (20, 100, 5000)],
        }


# --- overfitting -----------------------------------------------------------------------------------


def sharpe(returns):
    """Along the first axis."""
    deviation = returns.std(axis=0, ddof=1)
    mean = returns.mean(axis=0)
    return np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 1e-12 * abs(mean))


def logits(matrix, blocks):
    """As the paper tells it, step by step; `matrix` is T x N."""
    rows = len(matrix) // blocks
    parts = np.split(matrix[len(matrix) - rows * blocks :], blocks)
    found = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[k] for k in chosen])
        outside = np.concatenate([parts[k] for k in range(blocks) if k not in chosen])
        best = int(np.argmax(sharpe(inside)))
        performance = sharpe(outside)
        below, equal = (performance < performance[best]).sum(), (performance == performance[best]).sum()
        rank = float(below) + (float(equal) + 1) / 2
        relative = rank / (matrix.shape[1] + 1)
        found.append(math.log(relative / (1 - relative)))
    return found


def matrices():
    random = np.random.default_rng(20240102)
    yield "noise", random.normal(0, 0.01, (48, 7)), 8
    yield "noise, an even number", random.normal(0.001, 0.01, (61, 10)), 6
    good = random.normal(0, 0.01, (40, 5))
    good[:, 3] += 0.008
    yield "one that is good", good, 4
    idle = random.normal(0, 0.01, (36, 6))
    idle[:, [1, 4]] = 0
    yield "two that never trade", idle, 6
    alike = random.normal(0, 0.01, (36, 4))
    alike[:, 2] = alike[:, 0]
    yield "twins", alike, 4


def gumbel(trials, variance):
    quantile = lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)
    n, gamma = mpmath.mpf(trials), mpmath.euler
    return mpmath.sqrt(variance) * ((1 - gamma) * quantile(1 - 1 / n) + gamma * quantile(1 - 1 / (n * mpmath.e)))


def deflated(sharpe, observations, skewness, kurtosis, trials, variance):
    s, maximum = mpmath.mpf(sharpe), gumbel(trials, mpmath.mpf(variance))
    error = mpmath.sqrt(1 - skewness * s + (mpmath.mpf(kurtosis) - 1) / 4 * s * s)
    return maximum, mpmath.ncdf((s - maximum) * mpmath.sqrt(observations - 1) / error)


def deflation():
    cases = []
    annual = (2.5 / math.sqrt(250), 1250)
    for shape, trials in itertools.product([(-3, 10), (0, 3), (0.7, 4.5)], [2, 10, 46, 88, 100, 5000, 10**6]):
        given = (*annual, *shape, trials, 1 / (2 * 250))
        cases.append([*given, *map(float, deflated(*given))])
    return {"name": "deflated", "cases": cases}


def moments(name, matrix):
    from scipy.stats import kurtosis, skew

    shapes = [[float(skew(row)), float(kurtosis(row, fisher=False))] for row in matrix.T]
    variance = float(sharpe(matrix).var(ddof=1))
    whole = [deflated(s, len(matrix), *shape, matrix.shape[1], variance) for s, shape in zip(map(float, sharpe(matrix)), shapes)]
    return {"shapes": shapes, "deflated": [[float(part) for part in pair] for pair in whole]}


def normal():
    """Both ways, by 40 digits: of the doubles themselves, not of the decimals they stand for."""
    xs = [*np.arange(-37, 8.3, 0.373), -0.6629, -0.66292, 0.6629, 0.66292, -5.6568, -5.6569, 1e-9, 0.0]
    ps = [1e-300, 1e-100, 1e-20, 1e-12, 1e-11, 1e-5, 0.001, 0.025, 0.0749, 0.0751, 0.3, 0.5, 0.7, 0.9249, 0.9251, 0.99, 1 - 1e-10]
    root = lambda p: mpmath.findroot(lambda x: mpmath.log(mpmath.ncdf(x)) - mpmath.log(p), -mpmath.sqrt(-2 * mpmath.log(p)) if p < 0.01 else 0)
    upper = lambda p: -root(1 - mpmath.mpf(p)) if p > 0.9 else root(mpmath.mpf(p))
    return {
        "name": "normal",
        "cdf": [[float(x), float(mpmath.ncdf(mpmath.mpf(float(x))))] for x in xs],
        "quantile": [[p, float(upper(p))] for p in ps],
    }


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def below(self, end):
        mask = 2**64 - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        return ((mixed ^ (mixed >> 31)) * end) >> 64


def bootstrap():
    random = np.random.default_rng(20240103)
    values = short(random.normal(4, 30, 37) - random.exponential(10, 37), 5)
    draw = SplitMix64(42)
    means = [math.fsum(values[draw.below(len(values))] for _ in values) / len(values) for _ in range(10_000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {"name": "bootstrap", "values": values, "low": float(low), "high": float(high)}


def main():
    write("health.json", [*(health(*pair) for pair in pairs()), *tables()])
    cases = []
    for name, matrix, blocks in matrices():
        matrix = np.array([short(row, 4) for row in matrix])
        found = logits(matrix, blocks)
        case = {"name": name, "blocks": blocks, "strategies": matrix.T.tolist(), "logits": sorted(found)}
        case["probability"] = sum(logit <= 0 for logit in found) / len(found)
        if matrix.any(axis=0).all():
            case |= moments(name, matrix)
        cases.append(case)
    write("overfit.json", [*cases, deflation(), normal(), bootstrap()])


main()
