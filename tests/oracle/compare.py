#!/usr/bin/env python3
"""Run the program beside the oracle, one start a candle, and show the first difference.

    compare.py BINARY DIR [--steps N] [--first ROW] [--rows N] [NAME=VALUE ...]
    compare.py BINARY DIR --random COUNT [--seed S] [--damage] [--rows N]

The first form compares one set of values over the dumps in DIR, or over a cut of them. The second
draws pair, cut and values by itself, COUNT times; the same seed draws the same again.
`--damage` also spoils the cut in ways that a replay must take calmly: gaps, rows that one leg
lacks, prices of zero, a high below its low, flat stretches, jumps.

Exit code: 0 no difference, 1 a difference.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import oracle


class Difference(Exception):
    """What the program said and what the oracle says."""


# --- one comparison ------------------------------------------------------------------------------


class Program:
    """The real binary over a folder of dumps, with a state directory of its own."""

    def __init__(self, binary, folder, settings, state):
        binary, folder = (str(Path(path).resolve()) for path in (binary, folder))
        self.start = [binary, "--candles", folder, "--state-dir", state]
        self.settings, self.state = settings, state

    def ask(self, *words):
        """(exit code, JSON, standard error) of one start."""
        # An environment of nothing but the settings, in a folder without a `.env`.
        done = subprocess.run(
            [*self.start, "--json", *words],
            env=self.settings, cwd=self.state, capture_output=True, text=True, check=False,
        )  # fmt: skip
        try:
            return done.returncode, json.loads(done.stdout), done.stderr
        except json.JSONDecodeError:
            return done.returncode, {"not JSON": done.stdout}, done.stderr


def compare(binary, folder, settings, steps=None):
    """Raises the first Difference; returns the oracle's summary, or None when 78 was the answer."""
    pairs = oracle.dumps(folder, settings)
    of = {**oracle.DEFAULTS, **settings}
    window, interval = int(of["ROLLING_WINDOW"]), oracle.INTERVALS[of["TIMEFRAME"]]
    fills, book = oracle.replay(pairs, settings, steps)
    expected = {fill["step"]: fill for fill in fills}
    quote_asset = of["SYMBOL_BASE"].split("/")[1]
    state = "NONE"
    with tempfile.TemporaryDirectory() as folder_of_state:
        program = Program(binary, folder, settings, folder_of_state)
        for step, (index, read) in enumerate(oracle.readings(pairs, window, interval)):
            if steps is not None and step >= steps:
                break
            code, said, problems = program.ask()
            if code == 78 and step == 0:
                print("   78:", said.get("error", said)["message"])
                return None
            where = f"step {step}, {oracle.utc(pairs[index][0].open_time)}"
            same(where, "exit code", code, 0, said, problems)
            same(where, "candle", said["candle"], oracle.utc(pairs[index][0].open_time), said)
            compare_reading(where, said, read, window)
            fill = expected.get(step)
            same(where, "from", said["from"], state, said)
            state = fill["state"] if fill else state
            same(where, "to", said["to"], state, said)
            same(where, "action", said["action"], fill["side"].lower() if fill else "hold", said)
            if fill is None:
                same(where, "order", said["order"], None, said)
                continue
            compare_order(where, said["order"], fill, quote_asset)
            compare_status(where, program.ask("status"), fill)
        else:
            code, said, problems = program.ask()
            same("after the last row", "exit code", code, 0, said, problems)
            same("after the last row", "action", said["action"], "end-of-data", said)
        last = {
            "state": state,
            "paper_balance": oracle.plain(book.balance),
            "realized_pnl": oracle.plain(book.realized),
        }
        status = program.ask("status")
        compare_status("at the end", status, last)
        same("at the end", "trades", status[1]["trades"], book.round_trips, status[1])
        position = status[1]["position"]
        if book.position is None:
            same("at the end", "position", position, None)
        else:
            same(
                "at the end", "quantity", position["quantity"], oracle.plain(book.position.quantity)
            )
            same("at the end", "cost", position["cost"], oracle.plain(book.position.cost))
    return oracle.summary(pairs, settings, book, steps)


def compare_reading(where, said, read, window):
    """z within 1e-11, or within what the rounding of the inputs allows in a quiet window."""
    if said["z"] is None or read is None:
        # A refused entry may be told without its z (contract, "In a replay ...").
        if read is None or said["action"] != "hold" or said["signal"] == "HOLD":
            same(where, "z", said["z"], read and read[0], said)
        return
    z, spread, mean, std = read
    allowed = max(1e-11, (window + 4) * 2.0**-52 * mean / std * (1 + abs(z)))
    if abs(said["z"] - z) > allowed:
        raise Difference(f"{where}: z is {said['z']}, expected {z}: {json.dumps(said)}")
    for name, number in (("spread", spread), ("mean", mean), ("std", std)):
        if abs(said[name] / number - 1) > allowed:
            raise Difference(f"{where}: {name} is {said[name]}, expected {number}")


def compare_order(where, order, fill, quote_asset):
    same(where, "symbol", order["symbol"], fill["symbol"], order)
    same(where, "side", order["side"], fill["side"], order)
    same(where, "executed_quantity", order["executed_quantity"], fill["quantity"], order)
    same(where, "quote_quantity", order["quote_quantity"], fill["quote_quantity"], order)
    # The price has as many decimals as it has; trailing zeros say nothing.
    prices = Fraction(order["average_price"]), Fraction(fill["price"])
    same(where, "average_price", *prices, order)
    bought = fill["symbol"].removesuffix(quote_asset)
    asset = bought if fill["side"] == "BUY" else quote_asset
    same(where, "fees", order["fees"], {asset: fill["fee"]}, order)


def compare_status(where, status, expected):
    code, said, problems = status
    same(where, "exit code of status", code, 0, said, problems)
    for name in ("state", "paper_balance", "realized_pnl"):
        same(f"{where}, status", name, said[name], expected[name], said)


def same(where, what, said, expected, whole=None, problems=""):
    if said != expected:
        whole = "" if whole is None else f"\n   {json.dumps(whole)}"
        problems = f"\n   {problems.strip()}" if problems else ""
        raise Difference(f"{where}: {what} is {said!r}, expected {expected!r}{whole}{problems}")


# --- cuts of dumps -------------------------------------------------------------------------------


def cut(folder, settings, first, count, into):
    """Write the rows of both legs from the `first` shared one, as they are, into a folder."""
    of = {**oracle.DEFAULTS, **settings}
    pairs = oracle.dumps(folder, settings)[first : first + count]
    begin, end = pairs[0][0].open_time, pairs[-1][0].open_time
    lines = []
    for name in ("SYMBOL_BASE", "SYMBOL_QUOTE"):
        symbol, kept = of[name].replace("/", ""), []
        for path in sorted(Path(folder).glob(f"{symbol}-{of['TIMEFRAME']}-*.csv")):
            for line in path.read_text(encoding="ascii").splitlines():
                time = line.split(",", 1)[0]
                if time.isdigit() and begin <= oracle.milliseconds(time) <= end:
                    kept.append(line.split(","))
        lines.append((Path(into) / f"{symbol}-{of['TIMEFRAME']}-cut.csv", kept))
    return lines


def spoil(rng, legs):
    """Damage that counts as a processed candle without a decision, or is none at all."""
    for _ in range(rng.randrange(1, 6)):
        leg = rng.choice(legs)
        at = rng.randrange(1, len(leg) - 40)
        kind = rng.choice(("gap", "row", "zero", "negative", "low", "flat", "jump", "tiny"))
        if kind == "gap":
            for each in legs:
                del each[at : at + rng.randrange(1, 4)]
        elif kind == "row":
            del leg[at]
        elif kind == "zero":
            leg[at][rng.randrange(1, 5)] = "0.00000000"
        elif kind == "negative":
            leg[at][4] = "-" + leg[at][4].lstrip("-")
        elif kind == "low":
            leg[at][2], leg[at][3] = leg[at][3], leg[at][2]
        elif kind == "flat":
            for each in legs:
                for row in each[at : at + rng.randrange(5, 40)]:
                    row[1:5] = [each[at][4]] * 4
        elif kind == "jump":
            for row in leg[at : at + rng.randrange(1, 3)]:
                row[1:5] = [f"{3 * Decimal(cell):.8f}" for cell in row[1:5]]
        elif kind == "tiny":
            for row in leg:
                row[1:5] = [f"{float(cell) / 1e5:.8f}" for cell in row[1:5]]


def draw(rng):
    """Values anywhere in what the contract allows."""

    def number(low, high, places):
        return f"{rng.uniform(low, high):.{places}f}"

    def or_off(text):
        return rng.choice(("0", text))

    entry = number(0.4, 2.8, rng.randrange(1, 5))
    amount = rng.choice(("150", "0.01", "37.5", number(10, 5_000, 8), number(1e5, 1e7, 2)))
    return {
        "ROLLING_WINDOW": str(rng.choice((2, 3, 5, 10, 20, 20, 20, 45, 101))),
        "ENTRY_THRESHOLD": entry,
        "EXIT_THRESHOLD": or_off(number(0, float(entry) * 0.99, 3)),
        "MIN_EDGE_BPS": or_off(number(0, 120, 2)),
        "TRADE_AMOUNT_USDT": amount,
        "PAPER_BALANCE_USDT": f"{Decimal(amount) * rng.choice((1, 2, 100)) + rng.choice((0, 1)):.8f}",
        "STOP_Z": or_off(number(float(entry), 4, 3)),
        "MAX_HOLD_CANDLES": or_off(str(rng.randrange(1, 50))),
        "MAX_ORDERS_PER_DAY": or_off(str(rng.randrange(1, 12))),
        "MAX_DAILY_LOSS_USDT": or_off(number(0.01, float(amount) / 100 + 0.02, 8)),
        "FEE_BPS": rng.choice(("0", "10", "7.5", number(0, 40, 2), number(0, 40, 4))),
        "SLIPPAGE_BPS": rng.choice(("0", "3", number(0, 20, 2), number(0, 20, 4))),
    }


def pairs_in(folder):
    """The pairs that the names of the files in a folder allow."""
    names = [path.name.split("-")[:2] for path in Path(folder).glob("*-*-*.csv")]
    for base, timeframe in sorted(names):
        for quote, other in sorted(names):
            if base != quote and timeframe == other and base[3:] == quote[3:]:
                legs = (f"{symbol[:3]}/{symbol[3:]}" for symbol in (base, quote))
                yield dict(zip(("SYMBOL_BASE", "SYMBOL_QUOTE", "TIMEFRAME"), (*legs, timeframe)))


# --- commands ------------------------------------------------------------------------------------


def one(binary, folder, settings, steps, write):
    """Compare over what `write` puts into a fresh folder, or over the folder as it is."""
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    with tempfile.TemporaryDirectory() as fresh:
        if write:
            for path, rows in write(fresh):
                path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="ascii")
        try:
            result = compare(binary, fresh if write else folder, settings, steps)
        except Difference as difference:
            print(f"DIFFERENCE with {words}\n   {difference}")
            return False
    if result:
        print(f"same: {json.dumps(result)} with {words}")
    return True


def at_random(arguments):
    rng = random.Random(arguments.seed)
    # Dumps of different years may lie in one folder.
    counted = [
        (pair, len(oracle.dumps(arguments.folder, pair))) for pair in pairs_in(arguments.folder)
    ]
    choices = [(pair, shared) for pair, shared in counted if shared >= 100]
    same_everywhere = True
    for number in range(arguments.random):
        pair, shared = rng.choice(choices)
        settings = {**pair, **draw(rng)}
        rows = min(arguments.rows or 300, shared)
        first = rng.randrange(shared - rows + 1)

        def write(fresh, settings=settings, first=first, rows=rows):
            legs = cut(arguments.folder, settings, first, rows, fresh)
            if arguments.damage:
                spoil(rng, [lines for _, lines in legs])
            return legs

        print(f"{number}: --first {first} --rows {rows}", flush=True)
        same_everywhere &= one(arguments.binary, arguments.folder, settings, None, write)
    return same_everywhere


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("binary")
    parser.add_argument("folder")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--steps", type=int, help="stop after so many starts")
    parser.add_argument("--first", type=int, default=0, help="begin with this shared row")
    parser.add_argument("--rows", type=int, help="cut to so many shared rows")
    parser.add_argument("--random", type=int, metavar="COUNT")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--damage", action="store_true")
    arguments = parser.parse_intermixed_args()
    if arguments.random:
        sys.exit(0 if at_random(arguments) else 1)
    settings = dict(word.split("=", 1) for word in arguments.settings)
    write = None
    if arguments.first or arguments.rows:
        rows = arguments.rows or sys.maxsize

        def write(fresh):
            return cut(arguments.folder, settings, arguments.first, rows, fresh)

    sys.exit(0 if one(arguments.binary, arguments.folder, settings, arguments.steps, write) else 1)


if __name__ == "__main__":
    main()
