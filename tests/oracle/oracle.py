#!/usr/bin/env python3
"""The strategy and the paper fills once more, from the contract and not from `src/`.

    oracle.py DIR [--steps N] [--summary] [NAME=VALUE ...]

reads Binance dumps as `--candles DIR` does, steps through them as a replay does (one step a row
that both legs share), and prints one JSON line per fill and one for the summary. NAME=VALUE are
the environment variables of the program, so the same words go to both.

Written to be checked by reading, not to be fast: money is `Fraction` and is rounded only where the
contract says so, so no precision can run out. Only z is a float, as in the contract.
Needs nothing but Python's own library (3.9 or newer).
"""

import argparse
import csv
import io
import json
import math
import re
import sys
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

MINUTE = 60_000
DAY = 1_440 * MINUTE
INTERVALS = {
    "1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "30m": 30 * MINUTE,
    "1h": 60 * MINUTE, "2h": 120 * MINUTE, "4h": 240 * MINUTE, "6h": 360 * MINUTE,
    "8h": 480 * MINUTE, "12h": 720 * MINUTE, "1d": DAY,
}  # fmt: skip
UNIT = 10**8  # Quantities and amounts have 8 decimals.
# A deviation below this part of the mean is rounding noise: two prices and one division put at
# most three half-ulps (3.3e-16) on a spread, and a summed mean some more.
NOISE = 1e-12

DEFAULTS = {
    "SYMBOL_BASE": "BTC/USDT",
    "SYMBOL_QUOTE": "ETH/USDT",
    "TIMEFRAME": "15m",
    "ROLLING_WINDOW": "20",
    "ENTRY_THRESHOLD": "2.0",
    "EXIT_THRESHOLD": "0.0",
    "MIN_EDGE_BPS": "0",
    "TRADE_AMOUNT_USDT": "150",
    "PAPER_BALANCE_USDT": "1000",
    "STOP_Z": "0",
    "MAX_HOLD_CANDLES": "0",
    "MAX_ORDERS_PER_DAY": "0",
    "MAX_DAILY_LOSS_USDT": "0",
    "FEE_BPS": "10",
    "SLIPPAGE_BPS": "0",
}


class Refused(Exception):
    """Dumps that cannot be read: the program's exit 65."""


# --- dumps ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One candle; prices as the exact numbers that the text says."""

    open_time: int
    open: Fraction
    high: Fraction
    low: Fraction
    close: Fraction

    def sound(self, interval):
        """Fit for a window: on the grid, every price positive, no high below a low."""
        prices = (self.open, self.high, self.low, self.close)
        return self.open_time % interval == 0 and min(prices) > 0 and self.high >= self.low


def load(folder, symbol, timeframe):
    """All rows of one leg, oldest first."""
    name = re.compile(re.escape(f"{symbol}-{timeframe}-") + r".*\.(csv|zip)")
    files = sorted(path for path in Path(folder).iterdir() if name.fullmatch(path.name))
    if not files:
        raise Refused(f"{folder}: no {symbol}-{timeframe}-*.csv or .zip")
    rows, lines = {}, {}
    for path in files:
        for text in texts(path):
            before = None
            for number, line in enumerate(csv.reader(io.StringIO(text)), start=1):
                if number == 1 and line and line[0] == "open_time":
                    continue
                if len(line) != 12:
                    raise Refused(f"{path}:{number}: {len(line)} columns")
                row = Row(milliseconds(line[0]), *(Fraction(field) for field in line[1:5]))
                if before is not None and row.open_time < before:
                    raise Refused(f"{path}:{number}: not in order")
                before = row.open_time
                if lines.setdefault(row.open_time, line) != line and rows[row.open_time] != row:
                    raise Refused(f"{path}:{number}: another candle of the same time exists")
                rows[row.open_time] = row
    return [rows[time] for time in sorted(rows)]


def texts(path):
    if path.suffix == ".csv":
        yield path.read_text(encoding="ascii")
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            yield archive.read(member).decode("ascii")


def milliseconds(text):
    """Spot dumps have microseconds since 2025; magnitude tells them apart."""
    time = int(text)
    return time // 1_000 if time >= 10**14 else time


def join(numerator, denominator):
    """The rows that both legs have."""
    other = {row.open_time: row for row in denominator}
    return [(row, other[row.open_time]) for row in numerator if row.open_time in other]


# --- strategy ------------------------------------------------------------------------------------


def reading(spreads):
    """(z, spread, mean, std) of the newest of `spreads`, or None when they are flat.

    Two passes with plain left-to-right sums; Python's `sum` compensates since 3.12.
    """
    mean = plain_sum(spreads) / len(spreads)
    variance = plain_sum([(s - mean) * (s - mean) for s in spreads]) / (len(spreads) - 1)
    std = math.sqrt(variance)
    if std <= NOISE * abs(mean) or max(spreads) == min(spreads):
        return None
    return (spreads[-1] - mean) / std, spreads[-1], mean, std


def plain_sum(numbers):
    total = 0.0
    for number in numbers:
        total += number
    return total


def readings(pairs, window, interval):
    """For each row from the `window`-th on: its reading, or None where there is no decision."""
    spreads = [
        float(a.close) / float(b.close) if min(a.close, b.close) > 0 else math.nan for a, b in pairs
    ]
    sound = [a.sound(interval) and b.sound(interval) for a, b in pairs]
    run = 0  # Rows before and with this one that are sound and follow each other on the grid.
    for index, (a, _) in enumerate(pairs):
        follows = index > 0 and a.open_time - pairs[index - 1][0].open_time == interval
        run = (run + 1 if follows else 1) if sound[index] else 0
        if index >= window - 1:
            usable = run >= window
            yield index, reading(spreads[index - window + 1 : index + 1]) if usable else None


# --- paper account -------------------------------------------------------------------------------


def floor8(number):
    return Fraction(math.floor(number * UNIT), UNIT)


def ceil8(number):
    return Fraction(math.ceil(number * UNIT), UNIT)


@dataclass
class Position:
    leg: int  # 0 the numerator, 1 the denominator of the spread
    quantity: Fraction
    cost: Fraction
    index: int
    open_time: int


@dataclass
class Book:
    balance: Fraction
    position: Position = None
    realized: Fraction = Fraction(0)
    dust: dict = field(default_factory=lambda: defaultdict(Fraction))
    blocked: bool = False  # After a stop: no entry until |z| has been back inside.
    orders: dict = field(default_factory=lambda: defaultdict(int))  # by UTC day
    profit: dict = field(default_factory=lambda: defaultdict(Fraction))  # by UTC day
    entries: int = 0
    round_trips: int = 0
    refused: Counter = field(default_factory=Counter)  # entries, by what was against them
    stops: int = 0
    timeouts: int = 0
    no_z: int = 0
    closest_call: float = math.inf  # Least distance of a z from a threshold it was compared with.


def replay(pairs, settings, steps=None):
    """Step through `pairs`; returns (fills, book)."""
    of = {**DEFAULTS, **settings}
    unknown = set(of) - set(DEFAULTS)
    if unknown:
        raise SystemExit(f"not a setting of the strategy: {', '.join(sorted(unknown))}")
    symbols = [of["SYMBOL_BASE"], of["SYMBOL_QUOTE"]]
    interval = INTERVALS[of["TIMEFRAME"]]
    window = int(of["ROLLING_WINDOW"])
    entry, exit_, stop = (float(of[k]) for k in ("ENTRY_THRESHOLD", "EXIT_THRESHOLD", "STOP_Z"))
    edge_bps, max_hold = float(of["MIN_EDGE_BPS"]), int(of["MAX_HOLD_CANDLES"])
    max_orders, max_loss = int(of["MAX_ORDERS_PER_DAY"]), Fraction(of["MAX_DAILY_LOSS_USDT"])
    amount = Fraction(of["TRADE_AMOUNT_USDT"])
    fee = Fraction(of["FEE_BPS"]) / 10_000
    slippage = Fraction(of["SLIPPAGE_BPS"]) / 10_000

    book = Book(balance=Fraction(of["PAPER_BALANCE_USDT"]))
    fills = []

    def beyond(z, threshold):
        """z > threshold, noting how close it was."""
        book.closest_call = min(book.closest_call, abs(z - threshold))
        return z > threshold

    for step, (index, read) in enumerate(readings(pairs, window, interval)):
        if steps is not None and step >= steps:
            break
        if read is None:
            book.no_z += 1
            continue
        z, spread, mean, _ = read
        candle = pairs[index]
        # The clock of a replay: a candle is decided on when it closes.
        day = (candle[0].open_time + interval) // DAY
        position = book.position

        if position is None:
            if book.blocked:
                book.blocked = beyond(abs(z), entry)
            leg = 1 if beyond(z, entry) else 0 if beyond(-z, entry) else None
            if leg is None or abs(spread - mean) / mean * 10_000 < edge_bps:
                continue
            if book.blocked:
                book.refused["cooling"] += 1
                continue
            if 0 < max_orders <= book.orders[day]:
                book.refused["orders of the day"] += 1
                continue
            if 0 < max_loss <= -book.profit[day]:
                book.refused["loss of the day"] += 1
                continue
            price = candle[leg].close * (1 + slippage)
            quantity = floor8(amount / price)
            cost = ceil8(quantity * price)
            taken = ceil8(quantity * fee)
            # An entry asks for the whole amount, even where rounding would leave a little of it.
            if amount > book.balance or quantity == taken:
                book.refused["balance"] += 1
                continue
            book.balance -= cost
            book.position = Position(leg, quantity - taken, cost, index, candle[0].open_time)
            book.entries += 1
            side = "BUY"
            quote_quantity = cost
        else:
            against = z if position.leg == 1 else -z
            done = not beyond(against, exit_)
            stopped = not done and stop > 0 and beyond(against, stop)
            # Time and not rows: a gap in the rows does not make a position younger.
            held = (candle[0].open_time - position.open_time) // interval
            too_long = not done and not stopped and 0 < max_hold <= held
            if not (done or stopped or too_long):
                continue
            leg = position.leg
            price = candle[leg].close * (1 - slippage)
            whole = position.quantity + book.dust[leg]
            quantity = floor8(whole)
            book.dust[leg] = whole - quantity
            quote_quantity = floor8(quantity * price)
            taken = ceil8(quote_quantity * fee)
            profit = quote_quantity - taken - position.cost
            book.balance += quote_quantity - taken
            book.realized += profit
            book.profit[day] += profit
            book.position = None
            book.round_trips += 1
            book.stops += stopped
            book.timeouts += too_long
            # "Back inside" is a candle after the sale, even where z was inside at the sale.
            book.blocked = stopped or too_long
            side = "SELL"
        book.orders[day] += 1
        fills.append(
            {
                "step": step,
                "candle": utc(candle[0].open_time),
                "z": z,
                "side": side,
                "symbol": symbols[leg].replace("/", ""),
                "quantity": plain(quantity),
                "quote_quantity": plain(quote_quantity),
                "price": exact(price),
                "fee": plain(taken),
                "state": f"HOLDING_{asset(symbols[leg])}" if side == "BUY" else "NONE",
                "paper_balance": plain(book.balance),
                "realized_pnl": plain(book.realized),
            }
        )
    return fills, book


def summary(pairs, settings, book, steps=None):
    of = {**DEFAULTS, **settings}
    position = book.position
    return {
        "rows": len(pairs),
        "steps": min(max(len(pairs) - int(of["ROLLING_WINDOW"]) + 1, 0), steps or sys.maxsize),
        "entries": book.entries,
        "round_trips": book.round_trips,
        "refused": dict(book.refused),
        "stops": book.stops,
        "timeouts": book.timeouts,
        "no_z": book.no_z,
        "paper_balance": plain(book.balance),
        "realized_pnl": plain(book.realized),
        "held": plain(position.quantity) if position else None,
        "cost": plain(position.cost) if position else None,
        "closest_call": book.closest_call,
    }


# --- text ----------------------------------------------------------------------------------------


def plain(number):
    """A multiple of 1e-8 with its 8 decimals."""
    units = number * UNIT
    assert units.denominator == 1, number
    units = int(units)
    return f"{'-' if units < 0 else ''}{abs(units) // UNIT}.{abs(units) % UNIT:08}"


def exact(number):
    """A decimal fraction with all the decimals it has, and at least 8."""
    places = 8
    while (number * 10**places).denominator != 1:
        places += 1
    scaled = int(number * 10**places)
    return f"{scaled // 10**places}.{scaled % 10**places:0{places}}"


def asset(symbol):
    if "/" in symbol:
        return symbol.split("/")[0]
    return re.fullmatch(r"(.+?)(USDT|USDC|FDUSD|BUSD|TUSD|BTC|ETH|BNB|EUR|TRY)", symbol)[1]


def utc(time):
    return datetime.fromtimestamp(time / 1_000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def dumps(folder, settings):
    """The shared rows of the pair and timeframe that `settings` name."""
    of = {**DEFAULTS, **settings}
    legs = (of[name].replace("/", "") for name in ("SYMBOL_BASE", "SYMBOL_QUOTE"))
    return join(*(load(folder, leg, of["TIMEFRAME"]) for leg in legs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("folder")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--steps", type=int, help="stop after so many rows")
    parser.add_argument("--summary", action="store_true", help="only the summary")
    arguments = parser.parse_intermixed_args()
    settings = dict(word.split("=", 1) for word in arguments.settings)
    try:
        pairs = dumps(arguments.folder, settings)
    except (Refused, ValueError, ZeroDivisionError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(65)
    fills, book = replay(pairs, settings, arguments.steps)
    if not arguments.summary:
        for fill in fills:
            print(json.dumps(fill))
    print(json.dumps(summary(pairs, settings, book, arguments.steps)))


if __name__ == "__main__":
    main()
