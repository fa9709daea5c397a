#!/usr/bin/env python3
"""What a replay was worth: the figures of `backtest` once more, from the contract and not from `src/`.

    worth.py DIR [NAME=VALUE ...]

takes the fills of `oracle.py` and prints one JSON object. Money is `Fraction` to the end; square
roots are taken of floats.
"""

import json
import math
import sys
from fractions import Fraction

import oracle


def worth(pairs, settings):
    of = {**oracle.DEFAULTS, **settings}
    interval, window = oracle.INTERVALS[of["TIMEFRAME"]], int(of["ROLLING_WINDOW"])
    fee, slippage = (Fraction(of[name]) / 10_000 for name in ("FEE_BPS", "SLIPPAGE_BPS"))
    opening = Fraction(of["PAPER_BALANCE_USDT"])
    fills, book = oracle.replay(pairs, settings)
    trips = list(round_trips(pairs, fills, window, fee))
    equity, held = marked(pairs, fills, window, fee, opening)

    changes = [float(b / a) - 1 for a, b in zip(equity, equity[1:])]
    returns = [float(trip["net"] / trip["cost"]) for trip in trips]
    moves = [float(trip["close_out"] / trip["close_in"]) - 1 for trip in trips]
    filled = [float(trip["price_out"] / trip["price_in"]) - 1 for trip in trips]
    first, last = pairs[0], pairs[-1]
    span = (last[0].open_time - first[0].open_time) // interval + 1
    final = book.balance
    if book.position:
        price = last[book.position.leg].close
        value = oracle.floor8((book.position.quantity + book.dust[book.position.leg]) * price)
        final += value - oracle.ceil8(value * fee)
    gross = sum((trip["gross"] for trip in trips), Fraction(0))
    slipped = sum((trip["slippage"] for trip in trips), Fraction(0))
    net = sum((trip["net"] for trip in trips), Fraction(0))
    assert net == book.realized
    return {
        "candles": len(pairs),
        "missing": span - len(pairs),
        "from": oracle.utc(first[0].open_time),
        "to": oracle.utc(last[0].open_time),
        "entries": book.entries,
        "round_trips": len(trips),
        "wins": sum(trip["net"] > 0 for trip in trips),
        "refused": book.refused["balance"],
        "gross_pnl": oracle.plain(gross),
        "slippage": oracle.plain(slipped),
        "fees": oracle.plain(gross - slipped - net),
        "net_pnl": oracle.plain(net),
        "final_equity": oracle.plain(final),
        "return": float(final / opening) - 1,
        "max_drawdown": drawdown(equity),
        "exposure": held / len(pairs),
        "sharpe": ratio(changes, 365 * oracle.DAY / interval),
        "mean_gross_bps": mean(moves) * 10_000,
        "mean_net_bps": mean(returns) * 10_000,
        "t_stat": ratio(returns, len(returns)),
        "break_even_fee_bps": (1 - math.sqrt(1 / (1 + mean(filled)))) * 10_000,
        "buy_and_hold": {
            oracle.asset(of[name]): float(
                last[leg].close * (1 - slippage) * (1 - fee) ** 2
                / (first[leg].close * (1 + slippage))
            ) - 1
            for leg, name in enumerate(("SYMBOL_BASE", "SYMBOL_QUOTE"))
        },
        "years": years(trips),
        "trips": [
            [trip["entry"], trip["exit"], oracle.plain(trip["quantity"]), oracle.plain(trip["net"])]
            for trip in trips
        ],
    }  # fmt: skip


def round_trips(pairs, fills, window, fee):
    """Each entry with the exit after it."""
    for bought, sold in zip(fills[::2], fills[1::2]):
        assert (bought["side"], sold["side"]) == ("BUY", "SELL")
        leg = leg_of(pairs, bought, window)
        close_in, close_out = (pairs[fill["step"] + window - 1][leg].close for fill in (bought, sold))
        quantity, price_in, price_out = (
            Fraction(text) for text in (bought["quantity"], bought["price"], sold["price"])
        )
        cost = Fraction(bought["quote_quantity"])
        yield {
            "entry": bought["candle"],
            "exit": sold["candle"],
            "quantity": quantity,
            "cost": cost,
            "close_in": close_in,
            "close_out": close_out,
            "price_in": price_in,
            "price_out": price_out,
            "gross": nearest8(quantity * (close_out - close_in)),
            "slippage": nearest8(quantity * (price_in - close_in + close_out - price_out)),
            "net": Fraction(sold["quote_quantity"]) - Fraction(sold["fee"]) - cost,
        }


def leg_of(pairs, fill, window):
    """By its price: the two legs never cost the same."""
    row = pairs[fill["step"] + window - 1]
    return min((0, 1), key=lambda leg: abs(row[leg].close / Fraction(fill["price"]) - 1))


def marked(pairs, fills, window, fee, opening):
    """The equity at every close, and how many closes something was held at."""
    by_index = {fill["step"] + window - 1: fill for fill in fills}
    cash, coins, leg, held, equity = opening, Fraction(0), 0, 0, []
    for index, row in enumerate(pairs):
        fill = by_index.get(index)
        if fill:
            cash = Fraction(fill["paper_balance"])
            leg = leg_of(pairs, fill, window)
            coins = Fraction(fill["quantity"]) - Fraction(fill["fee"]) if fill["side"] == "BUY" else 0
        held += coins > 0
        equity.append(cash + coins * row[leg].close * (1 - fee))
    return equity, held


def drawdown(equity):
    peak, worst = equity[0], Fraction(0)
    for value in equity:
        peak = max(peak, value)
        worst = max(worst, 1 - value / peak)
    return float(worst)


def years(trips):
    """Net profit by the year of the exit."""
    profit = {}
    for trip in trips:
        profit[trip["exit"][:4]] = profit.get(trip["exit"][:4], 0) + trip["net"]
    return {year: oracle.plain(net) for year, net in profit.items()}


def mean(numbers):
    return math.fsum(numbers) / len(numbers)


def ratio(numbers, factor):
    """Mean / sample deviation, times the root of `factor`."""
    middle = mean(numbers)
    variance = math.fsum((number - middle) ** 2 for number in numbers) / (len(numbers) - 1)
    return middle / math.sqrt(variance) * math.sqrt(factor)


def nearest8(number):
    return Fraction(round(number * oracle.UNIT), oracle.UNIT)


def main():
    settings = dict(word.split("=", 1) for word in sys.argv[2:])
    figures = worth(oracle.dumps(sys.argv[1], settings), settings)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
