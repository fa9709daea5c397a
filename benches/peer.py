#!/usr/bin/env python3
"""The step of benches/oneshot.rs as one would write it with ccxt and pandas: the other side of the comparison.

Usage: peer.py SERVER CA_FILE STATE_FILE

It does the same work (lock, load, candles of both legs, z-score, decide, save with fsync and rename) and is spared what
ccxt would do by itself: no exchangeInfo is loaded, because the two markets are written down here, and only as many
candles are asked for as the window needs. So it is the best that the stack can do, not the way most bots use it.
"""

import fcntl
import json
import os
import sys

import ccxt
import pandas as pd

SERVER, CA_FILE, STATE_FILE = sys.argv[1:4]
WINDOW, ENTRY, EXIT = 20, 2.0, 0.0


def market(base):
    name = base + "USDT"
    return {
        "id": name, "symbol": base + "/USDT", "base": base, "quote": "USDT", "baseId": base, "quoteId": "USDT",
        "type": "spot", "spot": True, "margin": False, "swap": False, "future": False, "option": False,
        "contract": False, "active": True, "linear": None, "inverse": None,
        "precision": {"amount": 0.00001, "price": 0.01}, "limits": {},
    }


def decide(state, z):
    if state == "NONE":
        return "HOLDING_ETH" if z > ENTRY else "HOLDING_BTC" if z < -ENTRY else state
    if state == "HOLDING_ETH":
        return "NONE" if z <= EXIT else state
    return "NONE" if z >= -EXIT else state


def main():
    lock = open(STATE_FILE + ".lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        with open(STATE_FILE) as file:
            book = json.load(file)
    except FileNotFoundError:
        book = {"state": "NONE", "candle": 0}

    exchange = ccxt.binance({"enableRateLimit": False, "requests_trust_env": True, "timeout": 10000})
    os.environ["REQUESTS_CA_BUNDLE"] = CA_FILE
    exchange.urls["api"]["public"] = SERVER + "/api/v3"
    exchange.set_markets([market("BTC"), market("ETH")])
    legs = [
        pd.DataFrame(
            exchange.fetch_ohlcv(symbol, "1m", limit=WINDOW + 1),
            columns=["time", "open", "high", "low", "close", "volume"],
        ).set_index("time")
        for symbol in ("BTC/USDT", "ETH/USDT")
    ]
    spread = (legs[0]["close"] / legs[1]["close"]).dropna().iloc[:-1]
    rolling = spread.rolling(WINDOW)
    z = ((spread - rolling.mean()) / rolling.std()).iloc[-1]
    assert len(spread) == WINDOW and z == z

    book = {"state": decide(book["state"], z), "candle": int(spread.index[-1])}
    with open(STATE_FILE + ".new", "w") as file:
        json.dump(book, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(STATE_FILE + ".new", STATE_FILE)
    folder = os.open(os.path.dirname(STATE_FILE), os.O_RDONLY)
    os.fsync(folder)
    print(f"z = {z:.4f}, {book['state']}")


main()
