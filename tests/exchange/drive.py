#!/usr/bin/env python3
"""Drives the simulated exchange with ccxt, a client that was written for the real one.

    drive.py URL KEY SECRET

Each step says a line; the first that does not hold ends it with 1. The account must hold USDT, and nobody else may use it.
"""

import sys
from decimal import Decimal

import ccxt


def client(url, key, secret):
    it = ccxt.binance({
        "apiKey": key,
        "secret": secret,
        "timeout": 20000,
        "options": {
            "defaultType": "spot",
            "fetchMarkets": ["spot"],
            "fetchCurrencies": False,
            "adjustForTimeDifference": True,
        },
    })
    for name, path in [("public", "/api/v3"), ("private", "/api/v3"), ("v1", "/api/v1"), ("sapi", "/sapi/v1")]:
        it.urls["api"][name] = url + path
    return it


def check(name, got, wanted):
    if got != wanted:
        sys.exit(f"{name}: {got!r} instead of {wanted!r}")


def balances(it):
    """What is free and locked, to the last digit: from the answer itself, because ccxt counts in floats."""
    rows = it.fetch_balance()["info"]["balances"]
    return {row["asset"]: (Decimal(row["free"]), Decimal(row["locked"])) for row in rows}


def fees(it, order):
    """Of all fills of an order, by `my trades`, which must agree with the order."""
    trades = it.fetch_my_trades("ETH/USDT", params={"orderId": order["id"]})
    filled = sum(Decimal(trade["info"]["qty"]) for trade in trades)
    quote = sum(Decimal(trade["info"]["quoteQty"]) for trade in trades)
    check("quantity of the trades", filled, Decimal(order["info"]["executedQty"]))
    check("amount of the trades", quote, Decimal(order["info"]["cummulativeQuoteQty"]))
    for trade in trades:
        check("taker or maker", trade["takerOrMaker"], "taker")
    paid = {}
    for trade in trades:
        asset = trade["info"]["commissionAsset"]
        paid[asset] = paid.get(asset, Decimal(0)) + Decimal(trade["info"]["commission"])
    return len(trades), filled, quote, paid


def traded(it, before, order):
    """The account moved by exactly what the order and its fees say."""
    count, filled, quote, paid = fees(it, order)
    sign = 1 if order["side"] == "buy" else -1
    moved = {"ETH": sign * filled, "USDT": -sign * quote}
    for asset, fee in paid.items():
        moved[asset] = moved.get(asset, Decimal(0)) - fee
    after = balances(it)
    for asset, change in moved.items():
        check(f"{asset} after the order", after[asset][0] - before[asset][0], change)
    text = " ".join(f"{fee.normalize()} {asset}" for asset, fee in paid.items())
    return f"{filled.normalize()} ETH for {quote.normalize()} USDT in {count} fills, fee {text}"


def refused(wanted, code, call):
    """The error that ccxt makes of the exchange's own."""
    try:
        call()
    except wanted as error:
        if str(code) not in str(error):
            sys.exit(f"{error!r} does not say {code}")
        return f"{type(error).__name__} ({code})"
    sys.exit(f"no {wanted.__name__}")


def main(url, key, secret):
    it = client(url, key, secret)
    say = lambda step, text: print(f"{step:<28}{text}", flush=True)

    markets = it.load_markets()
    eth = markets["ETH/USDT"]
    check("symbols", {"BTC/USDT", "ETH/USDT"} <= set(markets), True)
    check("precision", (eth["precision"]["amount"], eth["precision"]["price"]), (0.0001, 0.01))
    check("least amount of money", eth["limits"]["cost"]["min"], 5.0)
    check("active, spot", (eth["active"], eth["spot"]), (True, True))
    say("markets", f"{len(markets)}, ETH/USDT with step 0.0001, tick 0.01, at least 5 USDT")
    check("clock", abs(it.options["timeDifference"]) < 1000, True)

    candles = it.fetch_ohlcv("ETH/USDT", "1m", limit=20)
    check("candles", len(candles), 20)
    check("a minute apart", {b[0] - a[0] for a, b in zip(candles, candles[1:])}, {60000})
    check("the last is forming", candles[-1][0] <= it.milliseconds() < candles[-1][0] + 61000, True)
    say("candles", f"20, the last forming, close {candles[-1][4]}")

    book = it.fetch_order_book("ETH/USDT", 5)
    ticker = it.fetch_bids_asks(["ETH/USDT"])["ETH/USDT"]
    check("best ask", book["asks"][0][0], ticker["ask"])
    ask, bid = Decimal(str(ticker["ask"])), Decimal(str(ticker["bid"]))
    say("book", f"{bid} / {ask}")

    begin = balances(it)
    say("balance", " ".join(f"{asset} {free.normalize():f}" for asset, (free, _) in sorted(begin.items())))

    order = it.create_order("ETH/USDT", "market", "buy", 100, None, {"quoteOrderQty": 100})
    check("status", order["status"], "closed")
    spent = Decimal(order["info"]["cummulativeQuoteQty"])
    check("leftover below a step", 0 <= 100 - spent < Decimal("0.0001") * (ask + 1), True)
    say("market buy by cost", traded(it, begin, order))

    before = balances(it)
    order = it.create_order("ETH/USDT", "market", "buy", 0.0123)
    check("filled", Decimal(order["info"]["executedQty"]), Decimal("0.0123"))
    say("market buy by amount", traded(it, before, order))

    before = balances(it)
    order = it.create_order("ETH/USDT", "market", "sell", 0.0123)
    check("filled", Decimal(order["info"]["executedQty"]), Decimal("0.0123"))
    say("market sell", traded(it, before, order))

    before = balances(it)
    ticker = it.fetch_bids_asks(["ETH/USDT"])["ETH/USDT"]
    price = it.price_to_precision("ETH/USDT", ticker["ask"])
    name = f"drive-{it.milliseconds()}"
    order = it.create_order(
        "ETH/USDT", "limit", "buy", 0.15, price, {"timeInForce": "IOC", "clientOrderId": name}
    )
    first_level = Decimal(str(it.fetch_order_book("ETH/USDT", 5)["asks"][0][1]))
    if Decimal(price) == Decimal(str(it.fetch_bids_asks(["ETH/USDT"])["ETH/USDT"]["ask"])):
        check("only the first level", Decimal(order["info"]["executedQty"]), min(first_level, Decimal("0.15")))
    check("status", order["status"], "expired")
    check("reason", order["info"]["expiryReason"], "UNFILLED_IOC_QUANTITY_EXPIRED")
    say("limit IOC, filled in part", traded(it, before, order))

    found = it.fetch_order(None, "ETH/USDT", {"origClientOrderId": name})
    check("found by its own id", (found["id"], found["clientOrderId"]), (order["id"], name))
    for field in ["executedQty", "cummulativeQuoteQty", "status", "origQty"]:
        check(field, found["info"][field], order["info"][field])
    say("order by client id", f"{found['status']}, {found['filled']} of {found['amount']}")

    before = balances(it)
    low = it.price_to_precision("ETH/USDT", ticker["bid"] * 0.8)
    resting = it.create_order("ETH/USDT", "limit", "buy", 0.01, low)
    check("open", [o["id"] for o in it.fetch_open_orders("ETH/USDT")], [resting["id"]])
    locked = Decimal(low) * Decimal("0.01")
    check("locked", balances(it)["USDT"], (before["USDT"][0] - locked, before["USDT"][1] + locked))
    check("cancelled", it.cancel_order(resting["id"], "ETH/USDT")["status"], "canceled")
    check("free again", balances(it), before)
    say("limit GTC and its cancel", f"{locked.normalize()} USDT locked, and free again")

    trades = it.fetch_my_trades("ETH/USDT")
    check("trades in order", [t["id"] for t in trades], sorted((t["id"] for t in trades), key=int))
    moved = sum(
        (1 if t["side"] == "buy" else -1) * Decimal(t["info"]["qty"])
        - (Decimal(t["info"]["commission"]) if t["info"]["commissionAsset"] == "ETH" else 0)
        for t in trades
    )
    check("ETH by all trades", balances(it)["ETH"][0] - begin["ETH"][0], moved)
    say("my trades", f"{len(trades)}, and they explain the account to the last digit")

    before = balances(it)
    wrong = client(url, key, secret + "x")
    wrong.set_markets(it.markets)
    say("wrong secret", refused(ccxt.AuthenticationError, -1022, wrong.fetch_balance))
    wrong = client(url, "x" + key, secret)
    wrong.set_markets(it.markets)
    say("wrong key", refused(ccxt.AuthenticationError, -2015, wrong.fetch_balance))
    raw = lambda **more: it.private_post_order({"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", **more})
    say("step", refused(ccxt.InvalidOrder, "LOT_SIZE", lambda: raw(quantity="0.01234")))
    say("least amount", refused(ccxt.BadRequest, "NOTIONAL", lambda: raw(quoteOrderQty="4.99")))
    say("precision", refused(ccxt.BadRequest, -1111, lambda: raw(quantity="0.1234567891")))
    say("funds", refused(ccxt.InsufficientFunds, "insufficient balance", lambda: raw(quoteOrderQty="1000000")))
    say("unknown order", refused(ccxt.OrderNotFound, -2013, lambda: it.fetch_order("1", "ETH/USDT")))
    say("nothing to cancel", refused(ccxt.OrderNotFound, -2011, lambda: it.cancel_order(order["id"], "ETH/USDT")))
    say("unknown symbol", refused(ccxt.BadSymbol, -1121, lambda: it.public_get_klines({"symbol": "NO", "interval": "1m"})))
    late = {"timestamp": it.milliseconds() - 60000, "recvWindow": 5000}
    say("too late", refused(ccxt.InvalidNonce, -1021, lambda: it.private_get_account(late)))
    check("none of that moved anything", balances(it), before)
    print(f"ccxt {ccxt.__version__}: everything as it should be")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
