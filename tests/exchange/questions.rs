//! What only the holder of the key may ask: orders, trades, the account. Each endpoint may lag in its own way.

use serde_json::{Value, json};

use super::answers::{span, symbol};
use super::market::eight;
use super::orders::{Order, Trade};
use super::sign::{Refusal, refuse};
use super::world::{Lag, World};

/// The parameters of a question.
pub(super) struct Question<'a> {
    pub(super) parameters: &'a [(String, String)],
}

impl<'a> Question<'a> {
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        super::sign::value(self.parameters, name)
    }

    /// A time, an id or a count.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse().ok().filter(|_| digits) {
            Some(number) => Ok(Some(number)),
            None => super::sign::illegal(name, "^[0-9]{1,20}$"),
        }
    }

    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        let limit = self.number("limit")?.unwrap_or(500);
        Ok(usize::try_from(limit).unwrap_or(usize::MAX).min(1000))
    }

    fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }
}

/// `GET /api/v3/order`.
pub(super) fn order(world: &World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let found = find(world, asked)?.filter(|o| world.shows(&o.stamp, "order", world.lag.order));
    let client = asked.text("origClientOrderId");
    let Some(order) = found else { return refuse(400, -2013, "Order does not exist.") };
    if client.is_some_and(|client| client != order.client_order_id) {
        return refuse(400, -2039, "Client order ID is not correct for this order ID.");
    }
    let age = world.now() - order.updated;
    if order.executed.is_zero() && !order.is_open() && age > ARCHIVED_AFTER_MS {
        let msg = "Order was canceled or expired with no executed qty over 90 days ago and has been archived.";
        return refuse(400, -2026, msg);
    }
    Ok(seen(world, order, "order", world.lag.order))
}

/// `DELETE /api/v3/order`: only what rests can be cancelled.
pub(super) fn cancel(world: &mut World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let client = asked.text("origClientOrderId");
    let found = find(world, asked)?.filter(|order| order.is_open());
    let found = found.filter(|order| client.is_none_or(|client| client == order.client_order_id));
    let Some(order_id) = found.map(|order| order.order_id) else {
        return refuse(400, -2011, "Unknown order sent.");
    };
    world.end(order_id, "CANCELED");
    let order = world.orders.iter().find(|order| order.order_id == order_id);
    let generated = format!("cancel{order_id}");
    let name = asked.text("newClientOrderId").unwrap_or(&generated);
    Ok(order.expect("it was just found").cancel_json(name))
}

/// `DELETE /api/v3/openOrders`.
pub(super) fn cancel_all(world: &mut World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let code = symbol(world, asked.text("symbol"))?;
    let is_meant = |order: &&Order| order.symbol == code && order.is_open();
    let open: Vec<u64> = world.orders.iter().filter(is_meant).map(|it| it.order_id).collect();
    if open.is_empty() {
        return refuse(400, -2011, "Unknown order sent.");
    }
    for id in &open {
        world.end(*id, "CANCELED");
    }
    let ended = world.orders.iter().filter(|order| open.contains(&order.order_id));
    Ok(ended.map(|order| order.cancel_json(&format!("cancel{}", order.order_id))).collect())
}

/// The newest order that fits; by its number, where both are given.
fn find<'a>(world: &'a World, asked: &Question<'_>) -> Result<Option<&'a Order>, Refusal> {
    let code = symbol(world, asked.text("symbol"))?;
    let (id, client) = (asked.number("orderId")?, asked.text("origClientOrderId"));
    if id.is_none() && client.is_none() {
        return refuse(
            400,
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        );
    }
    let is_it = |order: &&Order| match id {
        Some(id) => order.symbol == code && u64::try_from(id) == Ok(order.order_id),
        None => order.symbol == code && client == Some(order.client_order_id.as_str()),
    };
    Ok(world.orders.iter().rev().find(is_it))
}

/// `GET /api/v3/openOrders`: a replica that lags does not know yet what began, and still lists what is over.
pub(super) fn open_orders(world: &World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let code = asked.text("symbol").map(|code| symbol(world, Some(code))).transpose()?;
    let lag = world.lag.open_orders;
    let listed = |order: &&Order| {
        let has_begun = world.shows(&order.stamp, "openOrders", lag);
        let is_over =
            order.ended.as_ref().is_some_and(|ended| world.shows(ended, "openOrders", lag));
        // Orders that end as they begin are seen open by replicas only.
        let is_seen = has_begun || (!order.is_open() && matches!(lag, Lag::Flapping(_)));
        code.as_ref().is_none_or(|code| order.symbol == *code) && is_seen && !is_over
    };
    let view = |order: &Order| {
        if order.is_open() { order.json() } else { order.json_before_the_end() }
    };
    Ok(world.orders.iter().filter(listed).map(view).collect())
}

/// `GET /api/v3/allOrders`.
pub(super) fn all_orders(world: &World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let code = symbol(world, asked.text("symbol"))?;
    let (id, from, to) =
        (asked.number("orderId")?, asked.number("startTime")?, asked.number("endTime")?);
    span(from, to)?;
    let lag = world.lag.all_orders;
    let listed = |order: &&Order| {
        order.symbol == code
            && id.is_none_or(|id| order.order_id >= u64::try_from(id).unwrap_or(0))
            && from.is_none_or(|from| order.time >= from)
            && to.is_none_or(|to| order.time <= to)
            && world.shows(&order.stamp, "allOrders", lag)
    };
    let view = |order: &Order| seen(world, order, "allOrders", lag);
    let all: Vec<Value> = world.orders.iter().filter(listed).map(view).collect();
    Ok(page(all, id.is_some() || from.is_some(), asked.limit()?))
}

/// `GET /api/v3/myTrades`.
pub(super) fn my_trades(world: &World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let code = symbol(world, asked.text("symbol"))?;
    let given = ["orderId", "startTime", "endTime", "fromId"].map(|name| asked.has(name));
    // By order, by time, by trade: any alone, and two pairs.
    if matches!(
        given,
        [true, true, ..] | [true, _, true, _] | [_, true, _, true] | [_, _, true, true]
    ) {
        return refuse(400, -1128, "Combination of optional parameters invalid.");
    }
    let (id, from) = (asked.number("orderId")?, asked.number("fromId")?);
    let (since, until) = (asked.number("startTime")?, asked.number("endTime")?);
    span(since, until)?;
    let listed = |trade: &&Trade| {
        trade.symbol == code
            && id.is_none_or(|id| u64::try_from(id) == Ok(trade.order_id))
            && from.is_none_or(|from| trade.id >= u64::try_from(from).unwrap_or(0))
            && since.is_none_or(|since| trade.time >= since)
            && until.is_none_or(|until| trade.time <= until)
            && world.shows(&trade.stamp, "myTrades", world.lag.my_trades)
    };
    let all: Vec<Value> = world.trades.iter().filter(listed).map(Trade::json).collect();
    Ok(page(all, from.is_some() || since.is_some(), asked.limit()?))
}

/// The first of them where a beginning was named, else the last.
fn page(all: Vec<Value>, has_beginning: bool, limit: usize) -> Value {
    let skip = if has_beginning { 0 } else { all.len().saturating_sub(limit) };
    all.into_iter().skip(skip).take(limit).collect()
}

/// An order as an endpoint shows it that may not have heard of its end.
fn seen(world: &World, order: &Order, endpoint: &'static str, lag: Lag) -> Value {
    match &order.ended {
        Some(ended) if !world.shows(ended, endpoint, lag) => order.json_before_the_end(),
        _ => order.json(),
    }
}

/// `GET /api/v3/account`.
pub(super) fn account(world: &World, asked: &Question<'_>) -> Value {
    let omits_zeros = asked.text("omitZeroBalances") == Some("true");
    let shown = world.history.iter().rev();
    let mut shown = shown.filter(|(stamp, _)| world.shows(stamp, "account", world.lag.account));
    let (stamp, balances) = shown.next().expect("what the account began with always shows");
    let rate = eight(world.fee_bps / rust_decimal::Decimal::from(10_000));
    let listed: Vec<Value> = balances
        .iter()
        .filter(|(_, balance)| !omits_zeros || !(balance.free + balance.locked).is_zero())
        .map(|(asset, balance)| json!({ "asset": asset, "free": eight(balance.free), "locked": eight(balance.locked) }))
        .collect();
    let mut account = json!({
        "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
        "commissionRates": { "maker": rate, "taker": rate, "buyer": "0.00000000", "seller": "0.00000000" },
        "canTrade": world.can_trade, "canWithdraw": true, "canDeposit": true, "brokered": false,
        "requireSelfTradePrevention": false, "preventSor": false, "updateTime": stamp.at.max(0),
        "accountType": "SPOT", "permissions": ["SPOT"], "uid": world.uid,
    });
    account["balances"] = Value::Array(listed);
    account
}

/// `GET /api/v3/account/commission`.
pub(super) fn commission(world: &World, asked: &Question<'_>) -> Result<Value, Refusal> {
    let code = symbol(world, asked.text("symbol"))?;
    let rate = eight(world.fee_bps / rust_decimal::Decimal::from(10_000));
    let none = json!({ "maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000" });
    Ok(json!({
        "symbol": code, "standardCommission": { "maker": rate, "taker": rate, "buyer": "0.00000000", "seller": "0.00000000" },
        "specialCommission": none, "taxCommission": none,
        "discount": { "enabledForAccount": true, "enabledForSymbol": true, "discountAsset": "BNB", "discount": "0.75000000" },
    }))
}

/// `GET /api/v3/rateLimit/order`.
pub(super) fn order_rate(world: &World) -> Value {
    let counts = world.order_counts();
    json!([
        { "rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": world.order_limits[0], "count": counts[0] },
        { "rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": world.order_limits[1], "count": counts[1] },
    ])
}

const ARCHIVED_AFTER_MS: i64 = 90 * 86_400_000;
