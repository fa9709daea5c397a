#!/usr/bin/env python3
"""The backtest and the sweep of benches/history.rs as one would write them with pandas, polars and numba: the other side.

Usage: history.py pandas FOLDER | polars FOLDER | serve FOLDER

`pandas` and `polars` are whole programs: they read both legs' dumps and print what the history was worth. `serve` reads
the candles once and then does what its standard input asks for, so that only the computing is measured: `kernel`, or
`sweep THREADS`. The work is that of ouroboros: z of a window, one position at a time, quantities rounded down and a fee
in coins rounded up to eight decimals, equity marked at every close, its Sharpe ratio and deepest fall; a sweep's cells
also have their equity day by day and their gain fold by fold. Money is binary floats here, and a sum of squares is
updated instead of computed anew for each window: that is how it is done with these tools, and quicker.
"""

import json
import os
import sys
import time

WINDOW, ENTRY, EXIT = 20, 2.0, 0.0
FEE, AMOUNT, OPENING = 1e-3, 150.0, 1_000_000.0
UNITS = 1e8
NOISE = 1e-12
DAY, FOLDS = 1440, 5


def told(trips, net, equity, drawdown, returns, squares, candles):
    mean = returns / (candles - 1)
    variance = (squares - returns * mean) / (candles - 2)
    sharpe = mean / variance**0.5 * (365 * 1440) ** 0.5
    return {"round_trips": int(trips), "net_pnl": net, "final_equity": equity, "max_drawdown": drawdown, "sharpe": sharpe}


# --- pandas --------------------------------------------------------------------------------------


def with_pandas(folder):
    import numpy as np
    import pandas as pd

    legs = [
        pd.read_csv(f"{folder}/{base}USDT-1m-made.csv", header=None, usecols=[0, 4], names=["time", "close"])
        for base in ("BTC", "ETH")
    ]
    assert legs[0]["time"].equals(legs[1]["time"])
    spread = legs[0]["close"] / legs[1]["close"]
    rolling = spread.rolling(WINDOW)
    z = ((spread - rolling.mean()) / rolling.std()).to_numpy()
    closes = [leg["close"].to_numpy() for leg in legs]

    # Only where something may happen is anything looked at.
    entries = np.flatnonzero(np.abs(z) > ENTRY).tolist()
    exits = [np.flatnonzero(z >= -EXIT), np.flatnonzero(z <= EXIT)]
    places = [np.searchsorted(of_leg, entries, side="right").tolist() for of_leg in exits]
    exits = [of_leg.tolist() for of_leg in exits]
    signs = (z[entries] > 0).tolist()
    bought, sold, legs_held = [], [], []
    free_from = 0
    for number, row in enumerate(entries):
        if row < free_from:
            continue
        leg = 1 if signs[number] else 0
        place = places[leg][number]
        end = exits[leg][place] if place < len(exits[leg]) else len(z)
        bought.append(row)
        sold.append(end)
        legs_held.append(leg)
        free_from = end + 1
    bought, sold, held = np.array(bought), np.array(sold), np.array(legs_held)
    both = np.stack(closes)
    price = both[held, bought]
    quantity = np.floor(AMOUNT / price * UNITS) / UNITS
    coins = quantity - np.ceil(quantity * FEE * UNITS - 1e-6) / UNITS
    cost = quantity * price
    done = sold < len(z)
    got = np.where(done, coins * both[held, np.minimum(sold, len(z) - 1)] * (1 - FEE), 0.0)
    net = np.where(done, got - cost, 0.0)
    cash_before = OPENING + np.concatenate([[0.0], np.cumsum(net)])

    # The equity of each candle: the cash of its time, and what is held at its close.
    spans = np.arange(len(z))
    trip = np.searchsorted(bought, spans, side="right") - 1
    is_held = (trip >= 0) & (spans < sold[trip])
    flat = cash_before[np.where(trip >= 0, trip + 1, 0)]
    inside = cash_before[trip] - cost[trip] + coins[trip] * both[held[trip], spans] * (1 - FEE)
    equity = np.where(is_held, inside, flat)
    changes = np.diff(equity, prepend=OPENING) / np.concatenate([[OPENING], equity[:-1]])
    peak = np.maximum.accumulate(np.maximum(equity, OPENING))
    drawdown = float((1 - equity / peak).max())
    print(json.dumps(told(
        done.sum(), float(net.sum()), float(equity[-1]), drawdown,
        float(changes.sum()), float((changes**2).sum()), len(z),
    )))


# --- numba ---------------------------------------------------------------------------------------


def compiled():
    """The kernels, compiled by an earlier run and kept."""
    import numba
    import numpy as np
    from numba import njit, prange

    @njit(cache=True)
    def kernel(a, b, window, entry, leave, fee, amount, opening):
        """Everything in one pass."""
        ring = np.zeros(window)
        mean = 0.0
        squares = 0.0
        keep = 1.0 - fee
        cash = opening
        coins = cost = 0.0
        state = 0
        before = peak = equity = opening
        worst = sum_of_returns = sum_of_squares = net = 0.0
        trips = 0
        place = 0
        for i in range(len(a)):
            x = a[i] / b[i]
            z = np.nan
            if i < window:
                d = x - mean
                mean += d / (i + 1)
                squares += d * (x - mean)
            else:
                old = ring[place]
                d = x - old
                old_mean = mean
                mean += d / window
                squares += d * (x - mean + old - old_mean)
            ring[place] = x
            place += 1
            if place == window:
                place = 0
            if i >= window - 1:
                std = np.sqrt(squares / (window - 1))
                if std > NOISE * mean:
                    z = (x - mean) / std
            if state == 0:
                if abs(z) > entry and cash >= amount:
                    state = 2 if z > 0.0 else 1
                    price = b[i] if state == 2 else a[i]
                    quantity = np.floor(amount / price * UNITS) / UNITS
                    cost = quantity * price
                    cash -= cost
                    coins = quantity - np.ceil(quantity * fee * UNITS - 1e-6) / UNITS
            elif (state == 1 and z >= -leave) or (state == 2 and z <= leave):
                got = coins * (a[i] if state == 1 else b[i]) * keep
                cash += got
                net += got - cost
                trips += 1
                state = 0
            if state == 0:
                equity = cash
            else:
                equity = cash + coins * (a[i] if state == 1 else b[i]) * keep
            if equity != before:
                change = equity / before - 1.0
                sum_of_returns += change
                sum_of_squares += change * change
                before = equity
                if equity > peak:
                    peak = equity
                else:
                    worst = max(worst, 1.0 - equity / peak)
        return trips, net, equity, worst, sum_of_returns, sum_of_squares

    @njit(cache=True)
    def scores(spread, window, z):
        mean = 0.0
        squares = 0.0
        z[: window - 1] = np.nan
        for i in range(len(spread)):
            x = spread[i]
            if i < window:
                d = x - mean
                mean += d / (i + 1)
                squares += d * (x - mean)
            else:
                old = spread[i - window]
                d = x - old
                old_mean = mean
                mean += d / window
                squares += d * (x - mean + old - old_mean)
            if i >= window - 1:
                std = np.sqrt(squares / (window - 1))
                z[i] = (x - mean) / std if std > NOISE * mean else np.nan

    @njit(cache=True)
    def cell(a, b, z, entry, leave, fee, amount, opening, out, days, folds):
        keep = 1.0 - fee
        cash = opening
        coins = cost = 0.0
        state = 0
        before = peak = equity = opening
        worst = sum_of_returns = sum_of_squares = net = net_returns = 0.0
        trips = 0
        length = len(z)
        day = fold = 0
        day_end = DAY - 1
        fold_end = length // FOLDS - 1
        for i in range(length):
            if state == 0:
                if abs(z[i]) > entry and cash >= amount:
                    state = 2 if z[i] > 0.0 else 1
                    price = b[i] if state == 2 else a[i]
                    quantity = np.floor(amount / price * UNITS) / UNITS
                    cost = quantity * price
                    cash -= cost
                    coins = quantity - np.ceil(quantity * fee * UNITS - 1e-6) / UNITS
            elif (state == 1 and z[i] >= -leave) or (state == 2 and z[i] <= leave):
                got = coins * (a[i] if state == 1 else b[i]) * keep
                cash += got
                net += got - cost
                net_returns += (got - cost) / cost
                trips += 1
                state = 0
            if state == 0:
                equity = cash
            else:
                equity = cash + coins * (a[i] if state == 1 else b[i]) * keep
            if equity != before:
                change = equity / before - 1.0
                sum_of_returns += change
                sum_of_squares += change * change
                before = equity
                if equity > peak:
                    peak = equity
                else:
                    worst = max(worst, 1.0 - equity / peak)
            if i == day_end:
                days[day] = equity
                day += 1
                day_end = min(day_end + DAY, length - 1)
            if i == fold_end:
                folds[fold] = net
                fold += 1
                fold_end = length * (fold + 1) // FOLDS - 1
        out[0], out[1], out[2], out[3] = trips, net, equity, worst
        out[4], out[5], out[6] = sum_of_returns, sum_of_squares, net_returns

    @njit(cache=True, parallel=True)
    def sweep(a, b, windows, entries, exits, fee, amount, opening, out, days, folds):
        """z once per window, then cell by cell."""
        spread = a / b
        z = np.empty((len(windows), len(a)))
        for i in prange(len(windows)):
            scores(spread, windows[i], z[i])
        inner = len(entries) * len(exits)
        for c in prange(len(windows) * inner):
            cell(
                a, b, z[c // inner], entries[c // len(exits) % len(entries)], exits[c % len(exits)],
                fee, amount, opening, out[c], days[c], folds[c],
            )

    return numba, kernel, sweep


def with_polars(folder):
    import polars as pl

    legs = [
        pl.read_csv(f"{folder}/{base}USDT-1m-made.csv", has_header=False, columns=[0, 4])
        for base in ("BTC", "ETH")
    ]
    assert legs[0].to_series(0).equals(legs[1].to_series(0))
    a, b = (leg.to_series(1).to_numpy() for leg in legs)
    _, kernel, _ = compiled()
    print(json.dumps(told(*kernel(a, b, WINDOW, ENTRY, EXIT, FEE, AMOUNT, OPENING), len(a))))


def serve(folder):
    import numpy as np
    import pandas as pd

    numba, kernel, sweep = compiled()
    a, b = (
        pd.read_csv(f"{folder}/{base}USDT-1m-made.csv", header=None, usecols=[4])[4].to_numpy()
        for base in ("BTC", "ETH")
    )
    few = [np.ascontiguousarray(leg[:100_000]) for leg in (a, b)]
    windows = np.arange(10, 101, 10)
    entries, exits = 1.5 + 0.25 * np.arange(10), np.arange(10) / 10.0
    cells = len(windows) * len(entries) * len(exits)
    out, folds = np.zeros((cells, 7)), np.zeros((cells, FOLDS))
    days = np.zeros((cells, -(-len(few[0]) // DAY)))

    def run(words):
        if words[0] == "kernel":
            return told(*kernel(a, b, WINDOW, ENTRY, EXIT, FEE, AMOUNT, OPENING), len(a))
        numba.set_num_threads(int(words[1]))
        sweep(*few, windows, entries, exits, FEE, AMOUNT, OPENING, out, days, folds)
        first = told(*out[0][:6], len(few[0]))
        return first | {"round_trips": int(out[:, 0].sum()), "net_pnl": float(out[:, 1].sum())}

    for words in (["kernel"], ["sweep", "2"]):
        run(words)
    print("ready", flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        figures = run(line.split())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"wall_us": wall * 1e6, "cpu_us": cpu * 1e6, "told": figures}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")
    {"pandas": with_pandas, "polars": with_polars, "serve": serve}[sys.argv[1]](sys.argv[2])
