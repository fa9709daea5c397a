#!/usr/bin/env python3
"""Make the numbers of `tests/fixtures/` again; the same seeds give the same bytes.

    make_fixtures.py [zscore] [pandas] [dumps] [golden] [worth]      (no word: all of them)

`pandas` needs pandas and, like part of `golden`, the real candles in `../shared/data` beside the
project; the rest needs Python's own library only.
"""

import json
import random
import sys
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path

import oracle
import worth

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
DATA = ROOT.parent / "shared" / "data"
UNIT = 10**8

getcontext().prec = 60  # So that 40 digits survive a square root and a division.


# --- z by fractions ------------------------------------------------------------------------------


def exact_reading(numerators, denominators):
    """z, mean and std of the newest ratio as text of 40 digits; closes are whole 1e-8."""
    ratios = [Fraction(a, b) for a, b in zip(numerators, denominators)]
    count = len(ratios)
    mean = sum(ratios) / count
    variance = sum((ratio - mean) ** 2 for ratio in ratios) / (count - 1)
    if variance == 0:
        return None
    std = decimal(variance).sqrt()
    return [f"{number:.39e}" for number in (decimal(ratios[-1] - mean) / std, decimal(mean), std)]


def decimal(fraction):
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


def walk(rng, start, count, step):
    """A random walk of whole 1e-8 that never falls below one of them."""
    price, walked = start, []
    for _ in range(count):
        walked.append(price)
        price = max(1, round(price * (1 + rng.gauss(0, step))))
    return walked


def zscore_windows():
    rng = random.Random(20240301)
    btc, eth = 61_432_17000000, 3_402_51000000

    def tick(prices, size):
        return [max(size, price // size * size) for price in prices]

    def pair(count, step, a=btc, b=eth, size=1_000_000):
        return tick(walk(rng, a, count, step), size), tick(walk(rng, b, count, step), size)

    for number in range(48):
        yield f"ordinary {number}", *pair(20, rng.choice((5e-4, 2e-3, 8e-3)))
    for size in (2, 3, 4, 5, 7, 10, 14, 19, 21, 30, 50):
        for number in range(3):
            yield f"size {size} {number}", *pair(size, 2e-3)
    for size in (100, 100, 200, 500):
        yield f"size {size}", *pair(size, 1e-3)

    # Prices at both ends of what 8 decimals and 53 bits can say, and ratios far from one.
    for number in range(12):
        huge = rng.randrange(10**15, 9 * 10**15)
        yield f"huge prices {number}", *pair(20, 3e-3, huge, rng.randrange(10**15, 9 * 10**15), 1)
        yield (
            f"tiny prices {number}",
            *pair(20, 0.2, rng.randrange(20, 90), rng.randrange(20, 90), 1),
        )
        tiny = rng.randrange(800, 3_000)
        yield f"huge over tiny {number}", *pair(20, 1e-2, huge, tiny, 1)
        yield f"tiny over huge {number}", *pair(20, 1e-2, tiny, huge, 1)

    # One candle against all others: the largest z a window can have, (n - 1) / sqrt(n).
    for size in (3, 20, 60):
        yield f"jump at the end {size}", [btc] * (size - 1) + [btc * 2], [eth] * size
        yield f"jump at the start {size}", [btc * 2] + [btc] * (size - 1), [eth] * size
    yield "crash of the denominator", [btc] * 20, [eth] * 19 + [eth // 100]
    yield "one tick at the end", [btc] * 19 + [btc + 1_000_000], [eth] * 20
    yield "one tick inside", [btc] * 9 + [btc - 1_000_000] + [btc] * 10, [eth] * 20
    yield "newest at the mean", [btc - 10**9, btc + 10**9] * 10 + [btc], [eth] * 21
    yield "loud, then quiet", [btc * 3, btc // 3] + walk(rng, btc, 18, 1e-6), [eth] * 20

    # Nearly flat, but far above rounding noise.
    for number, scale in enumerate((1e-6, 1e-6, 1e-7, 1e-7, 1e-8, 1e-8, 1e-9, 1e-9)):
        a = [5 * 10**15 + round(rng.gauss(0, 5e15 * scale)) for _ in range(20)]
        yield f"nearly flat {number}", a, [10**15] * 20

    # Flat: the same prices, or moving ones whose ratio stays. Ratios of the second kind differ in
    # the last bits once they are floats.
    yield "flat", [btc] * 20, [eth] * 20
    yield "flat, size 2", [btc] * 2, [eth] * 2
    yield "flat, size 100", [btc] * 100, [eth] * 100
    yield "flat, a tenth", [10_000_000] * 20, [100_000_000] * 20
    yield "flat, one unit", [1] * 20, [1] * 20
    for number, times in enumerate((3, 7, 10, 11, 13, 17, 19, 23, 29, 31)):
        b = tick(walk(rng, eth, 20, 5e-3), 1_000_000)
        yield f"flat by ratio {number}", [price * times for price in b], b
        yield f"flat by inverse ratio {number}", b, [price * times for price in b]


def closes_of(a, b):
    """Whole hundredths where they say it all, else whole 1e-8; `per` of them make one."""
    per = 100 if all(price % (UNIT // 100) == 0 for price in a + b) else UNIT
    shrunk = ([price // (UNIT // per) for price in leg] for leg in (a, b))
    return {"per": per, **dict(zip(("numerator", "denominator"), shrunk))}


def make_zscore():
    windows = []
    for name, a, b in zscore_windows():
        z, mean, std = exact_reading(a, b) or (None, None, None)
        windows.append({"name": name, "z": z, "mean": mean, "std": std, **closes_of(a, b)})
    write_lines("zscore.json", windows)
    print(len(windows), "windows,", sum(w["z"] is None for w in windows), "of them flat")


# --- pandas --------------------------------------------------------------------------------------


def pandas_views():
    """50 views of 100 closes a leg: half of them made, half cut from the real 15m candles."""
    rng = random.Random(7)
    for number in range(25):
        step = rng.choice((5e-4, 1e-3, 3e-3))
        market = walk(rng, 30_000 * UNIT, 100, step)
        own = walk(rng, UNIT // 15, 100, step / 3)
        cents = UNIT // 100
        a = [price // cents * cents for price in market]
        b = [price * share // UNIT // cents * cents for price, share in zip(market, own)]
        yield f"made {number}", a, b
    btc, eth = (oracle.load(DATA, symbol, "15m") for symbol in ("BTCUSDT", "ETHUSDT"))
    pairs = oracle.join(btc, eth)
    for number in range(25):
        last = rng.randrange(99, len(pairs))
        view = pairs[last - 99 : last + 1]
        legs = ([int(row.close * UNIT) for row in leg] for leg in zip(*view))
        yield f"real, last candle {oracle.utc(view[-1][0].open_time)}", *legs


def make_pandas():
    import pandas

    rng = random.Random(8)
    views = []
    for name, a, b in pandas_views():
        window = rng.choice((10, 20, 20, 20, 50))
        spreads = pandas.Series([p / UNIT for p in a]) / pandas.Series([p / UNIT for p in b])
        rolling = spreads.rolling(window)
        mean, std = rolling.mean().iloc[-1], rolling.std().iloc[-1]
        z = (spreads.iloc[-1] - mean) / std
        views.append(
            {"name": name, "z": float(z), "mean": float(mean), "std": float(std)}
            # What came before the window is in pandas' running sums, but not in z.
            | closes_of(a[-window:], b[-window:])
        )
    write_lines("pandas.json", views)
    print(len(views), "views, pandas", pandas.__version__)


# --- a small dump --------------------------------------------------------------------------------

START = 1_709_251_200_000  # 2024-03-01T00:00:00Z
STEP = 15 * oracle.MINUTE
COUNT = 400
# Places of the odd things, each seen in real dumps (../shared/data/README.md).
EARLY_CLOSE, CLOSE_BEFORE_OPEN = 40, 90
NO_TRADE = range(70, 73)
MISSING_IN_DENOMINATOR, MISSING_IN_NUMERATOR = 120, 330
FLAT = range(170, 201)
FLAT_BY_RATIO = range(201, 226)
GAP = range(260, 265)


def closes():
    """Closes in cents: a mean-reverting ratio near 18 with now and then a trend."""
    rng = random.Random(DUMP_SEED)
    market, ratio, drift = 62_000_00.0, 0.0, 0.0
    a, b = [], []
    for index in range(COUNT):
        market *= 1 + rng.gauss(0, 2.5e-3)
        if rng.random() < 0.03:
            drift = rng.choice((-1, 0, 0, 1)) * 1.2e-3
        ratio = 0.9 * ratio + drift + rng.gauss(0, 2e-3)
        if index in FLAT[1:]:
            a.append(a[-1])
            b.append(b[-1])
        elif index in FLAT_BY_RATIO:
            b.append(round(market / 18))
            a.append(b[-1] * 18)
        elif index in NO_TRADE:
            a.append(a[-1])
            b.append(b[-1])
        else:
            a.append(round(market))
            b.append(round(market / (18 * (1 + ratio))))
    return a, b


DUMP_SEED = 146


def dump_lines(prices, rng, missing):
    previous = prices[0]
    for index, close in enumerate(prices):
        still = index in NO_TRADE or index in FLAT[1:]
        high, low = max(previous, close), min(previous, close)
        if not still:
            high += rng.randrange(0, max(2, close // 500))
            low -= rng.randrange(0, max(2, close // 500))
        cells = [f"{cents // 100}.{cents % 100:02}000000" for cents in (previous, high, low, close)]
        previous = close
        if index in GAP or index == missing:
            continue
        open_time = START + index * STEP
        close_time = open_time + STEP - 1
        if index == EARLY_CLOSE:
            close_time -= 190_417
        if index == CLOSE_BEFORE_OPEN:
            close_time = open_time - 759_479
        volume = "0.00000000" if still else f"{rng.randrange(1, 900)}.{rng.randrange(10**5):05}000"
        yield f"{open_time},{','.join(cells)},{volume},{close_time},0,0,0,0,0\n"


def make_dumps():
    rng = random.Random(13)
    (FIXTURES / "dumps").mkdir(exist_ok=True)
    legs = ("BTCUSDT", MISSING_IN_NUMERATOR), ("ETHUSDT", MISSING_IN_DENOMINATOR)
    for (symbol, missing), prices in zip(legs, closes()):
        path = FIXTURES / "dumps" / f"{symbol}-15m-2024-03-01..2024-03-05.csv"
        path.write_text("".join(dump_lines(prices, rng, missing)), encoding="ascii")


# --- golden fills --------------------------------------------------------------------------------

SETS = {
    "defaults": {},
    "costs": {"FEE_BPS": "7.5", "SLIPPAGE_BPS": "3"},
    "thresholds": {"ENTRY_THRESHOLD": "1.5", "EXIT_THRESHOLD": "0.5"},
    "stop": {"STOP_Z": "3", "MAX_HOLD_CANDLES": "10"},
    "edge": {"MIN_EDGE_BPS": "60"},
    "limits": {
        "ENTRY_THRESHOLD": "1.5",
        "MAX_ORDERS_PER_DAY": "6",
        "MAX_DAILY_LOSS_USDT": "0.4",
    },
    "poor": {"PAPER_BALANCE_USDT": "151", "SLIPPAGE_BPS": "0.25", "ROLLING_WINDOW": "12"},
}


REAL = (
    ("BTC/USDT", "ETH/USDT", "1h"),
    ("BTC/USDT", "ETH/USDT", "15m"),
    ("BTC/USDT", "ETH/USDT", "1m"),
    ("LTC/USDT", "BCH/USDT", "15m"),
    ("BTC/USDC", "ETH/USDC", "1h"),
)


def make_worth():
    histories = []
    for name, settings in SETS.items():
        figures = worth.worth(oracle.dumps(FIXTURES / "dumps", settings), settings)
        histories.append({"settings": settings, "is_real": False, "figures": figures})
    for base, quote, timeframe in REAL:
        names = {"SYMBOL_BASE": base, "SYMBOL_QUOTE": quote, "TIMEFRAME": timeframe}
        for more in ({}, {"FEE_BPS": "7.5", "SLIPPAGE_BPS": "3", "STOP_Z": "3"}):
            settings = {**names, **more}
            figures = worth.worth(oracle.dumps(DATA, settings), settings)
            # A thousand lines of round trips say no more than the first and the last of them.
            figures["trips"] = figures["trips"][:3] + figures["trips"][-3:]
            histories.append({"settings": settings, "is_real": True, "figures": figures})
    write_lines("golden/worth.json", histories)


def make_golden():
    (FIXTURES / "golden").mkdir(exist_ok=True)
    for name, settings in SETS.items():
        golden(f"dumps-{name}", oracle.dumps(FIXTURES / "dumps", settings), settings)
    hours = {"TIMEFRAME": "1h"}
    golden("real-1h-200", oracle.dumps(DATA, hours), hours, steps=200)

    # The whole of the real sets; entries and round trips stand in ../shared/data/README.md as well.
    totals = []
    for base, quote, timeframe in REAL:
        names = {"SYMBOL_BASE": base, "SYMBOL_QUOTE": quote, "TIMEFRAME": timeframe}
        pairs = oracle.dumps(DATA, names)
        for threshold in ("0.0", "0.5"):
            settings = {**names, "EXIT_THRESHOLD": threshold}
            _, book = oracle.replay(pairs, settings)
            whole = oracle.summary(pairs, settings, book)
            kept = "rows steps entries round_trips paper_balance realized_pnl".split()
            totals.append({"settings": settings, **{key: whole[key] for key in kept}})
    write_lines("golden/real-totals.json", totals)


def golden(name, pairs, settings, steps=None):
    fills, book = oracle.replay(pairs, settings, steps)
    totals = oracle.summary(pairs, settings, book, steps)
    # A threshold this near to a z would make the fills a matter of the last bits.
    assert totals.pop("closest_call") > 1e-9, name
    lines = ",\n".join(json.dumps(fill) for fill in fills)
    (FIXTURES / "golden" / f"{name}.json").write_text(
        f'{{"settings": {json.dumps(settings)},\n"summary": {json.dumps(totals)},\n'
        f'"fills": [\n{lines}\n]}}\n',
        encoding="ascii",
    )
    print(name, json.dumps(totals))


def write_lines(name, items):
    """A JSON array with one item a line, so that a change shows as the lines it touches."""
    lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
    (FIXTURES / name).write_text(f"[\n{lines}\n]\n", encoding="ascii")


def main():
    parts = {
        "zscore": make_zscore, "pandas": make_pandas, "dumps": make_dumps, "golden": make_golden,
        "worth": make_worth,
    }  # fmt: skip
    for word in sys.argv[1:] or parts:
        parts[word]()


if __name__ == "__main__":
    main()
