//! The engine: what it refuses, how it fills the rest, what rests, and what an order says of itself.
//! **Source**: Binance Spot REST, "New order", "Cancel order"; FAQs on commission and self-trade prevention.

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use super::door::Wanted;
use super::fault::Execute;
use super::market::{Symbol, decimal, eight, whole_steps};
use super::sign::{Refusal, refuse};
use super::world::{FeeAsset, Stamp, World};

/// An order that the engine took.
#[expect(clippy::struct_field_names, reason = "the exchange's own words")]
#[derive(Clone, Debug)]
pub struct Order {
    pub symbol: String,
    pub order_id: u64,
    pub client_order_id: String,
    pub is_buy: bool,
    pub kind: String,
    pub time_in_force: String,
    pub price: Decimal,
    pub quantity: Decimal,
    pub quote_amount: Decimal,
    pub executed: Decimal,
    pub quote: Decimal,
    pub status: String,
    pub expiry_reason: Option<&'static str>,
    pub time: i64,
    /// When it last changed.
    pub updated: i64,
    /// What self-trade prevention kept from being filled.
    pub prevented: Option<Decimal>,
    pub(super) stamp: Stamp,
    /// When it was over; `None` while it is open.
    pub(super) ended: Option<Stamp>,
}

/// A fill.
#[derive(Clone, Debug)]
pub struct Trade {
    pub symbol: String,
    pub id: u64,
    pub order_id: u64,
    pub price: Decimal,
    pub quantity: Decimal,
    pub quote: Decimal,
    pub fee: Decimal,
    pub fee_asset: String,
    pub is_buy: bool,
    pub is_maker: bool,
    pub time: i64,
    pub(super) stamp: Stamp,
}

/// An order that is still on its way to the engine.
#[derive(Clone, Debug)]
pub struct Late {
    due: i64,
    /// Whether it waits in front of the engine, where its window is looked at once more.
    is_queued: bool,
    wanted: Wanted,
}

impl World {
    /// Hands an order on to the engine, at once, later, or never.
    pub(super) fn forward(&mut self, wanted: Wanted, how: Execute) -> Result<Value, Refusal> {
        self.count_order()?;
        let now = self.now_at("engine");
        for delay in [self.forward_ms, self.forward_ms + self.broker_ms] {
            wanted.window.map_or(Ok(()), |window| window.check(now + delay))?;
        }
        let (due, is_queued) = match how {
            Execute::Now => {
                let answer = self.execute(&wanted);
                if answer.is_err() {
                    self.uncount_order();
                }
                return answer;
            }
            Execute::Never => return Ok(json!({})),
            Execute::LateMillis(millis) => (self.now() + millis, false),
            Execute::QueuedMillis(millis) => (self.now() + millis, true),
        };
        self.late.push(Late { due, is_queued, wanted });
        Ok(json!({}))
    }

    /// Orders that are still on their way.
    pub fn waiting(&self) -> &[Late] {
        &self.late
    }

    /// Orders that are due by now.
    pub fn execute_late(&mut self) {
        let now = self.now();
        let (mut due, rest): (Vec<Late>, Vec<Late>) =
            std::mem::take(&mut self.late).into_iter().partition(|it| it.due <= now);
        self.late = rest;
        due.sort_by_key(|late| late.due);
        for Late { due, is_queued, wanted } in due {
            let is_over = wanted.window.is_some_and(|window| window.check(due).is_err());
            if !(is_queued && is_over) {
                // At its own time; nobody waits for the answer any more.
                let since = now - due;
                self.offset_ms -= since;
                let _ = self.execute(&wanted);
                self.offset_ms += since;
            }
        }
    }

    /// What the engine makes of it.
    pub(super) fn execute(&mut self, wanted: &Wanted) -> Result<Value, Refusal> {
        let market = self.symbols[&wanted.symbol].clone();
        if market.status != "TRADING" {
            return refuse(400, -2010, "Market is closed.");
        }
        if !self.can_trade {
            return refuse(400, -2010, "This account may not place or cancel orders.");
        }
        // An id may come again as soon as the earlier order is over.
        let is_same = |order: &Order| order.client_order_id == wanted.client_order_id;
        if self.orders.iter().any(|order| is_same(order) && order.is_open()) {
            return refuse(400, -2010, "Duplicate order sent.");
        }
        let now = self.now_at("engine");
        let quantity = wanted.quantity.unwrap_or_else(|| self.wanted_quantity(wanted, now));
        let Taking { fills, cut, expired } = self.taking(wanted, &market, quantity, now);
        self.check_funds(wanted, &market, quantity, &fills)?;
        if quantity.is_zero() {
            let msg = "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.";
            return refuse(400, -2010, msg);
        }
        let max = market.filters.market_max;
        if wanted.quote_amount.is_some() && !max.is_zero() && quantity > max {
            return refuse(400, -1013, "Filter failure: MARKET_LOT_SIZE");
        }
        for order_id in expired {
            self.end(order_id, "EXPIRED_IN_MATCH");
        }
        let filled: Decimal = fills.iter().map(|(_, quantity)| *quantity).sum();
        let is_killed = wanted.time_in_force == "FOK" && filled < quantity;
        let fills = if is_killed { Vec::new() } else { fills };
        let (status, expiry_reason) = if filled == quantity {
            ("FILLED", None)
        } else {
            status_of_rest(wanted, cut, is_killed, filled)
        };
        let order_id = self.next_order;
        self.next_order += 1 + self.random(3);
        let first_trade = self.trades.len();
        for (number, (price, quantity)) in fills.iter().enumerate() {
            let fill = Fill { order_id, price: *price, quantity: *quantity, is_maker: false };
            self.fill(&market, wanted.is_buy, fill, number == 0, now);
        }
        if !fills.is_empty() {
            self.uncount_order();
        }
        let made = &self.trades[first_trade..];
        let order = Order {
            symbol: wanted.symbol.clone(),
            order_id,
            client_order_id: wanted.client_order_id.clone(),
            is_buy: wanted.is_buy,
            kind: wanted.kind.clone(),
            time_in_force: wanted.time_in_force.clone(),
            price: wanted.price.unwrap_or_default(),
            quantity,
            quote_amount: wanted.quote_amount.unwrap_or_default(),
            executed: made.iter().map(|trade| trade.quantity).sum(),
            quote: made.iter().map(|trade| trade.quote).sum(),
            status: status.to_owned(),
            expiry_reason,
            prevented: (status == "EXPIRED_IN_MATCH").then(|| quantity - filled),
            time: now,
            updated: now,
            stamp: self.stamp(),
            ended: (!is_open(status)).then(|| self.stamp()),
        };
        if order.is_open() {
            let (asset, amount) = order.locks(&market);
            self.lock(&asset, amount);
        }
        self.remember_balances();
        if self.talks {
            println!("{}", order.line());
        }
        let answer = self.order_answer(&order, &wanted.response, first_trade);
        self.orders.push(order);
        Ok(answer)
    }

    fn check_funds(
        &self,
        wanted: &Wanted,
        market: &Symbol,
        quantity: Decimal,
        fills: &[(Decimal, Decimal)],
    ) -> Result<(), Refusal> {
        let cost: Decimal = fills.iter().map(|(price, quantity)| price * quantity).sum();
        let (spent, needed) = match (wanted.is_buy, wanted.price) {
            (true, Some(price)) => (&market.quote, price * quantity),
            (true, None) => (&market.quote, wanted.quote_amount.unwrap_or(cost).max(cost)),
            (false, _) => (&market.base, quantity),
        };
        if self.free(spent) < needed {
            return refuse(400, -2010, "Account has insufficient balance for requested action.");
        }
        Ok(())
    }

    /// What an order takes out of the book, what cuts it short, and which orders of the account's own end by it.
    fn taking(&self, wanted: &Wanted, market: &Symbol, quantity: Decimal, now: i64) -> Taking {
        let mut taking = Taking { fills: Vec::new(), cut: None, expired: Vec::new() };
        let is_worse = |price: Decimal, limit: Decimal| {
            if wanted.is_buy { price > limit } else { price < limit }
        };
        let mut own: Vec<&Order> = self
            .orders
            .iter()
            .filter(|order| order.is_open() && order.symbol == wanted.symbol)
            .filter(|order| order.is_buy != wanted.is_buy)
            .filter(|order| wanted.price.is_none_or(|limit| !is_worse(order.price, limit)))
            .collect();
        own.sort_by_key(|order| if wanted.is_buy { order.price } else { -order.price });
        let mode = wanted.self_trade.as_ref().unwrap_or(&market.self_trade);
        let range = market.price_range.map(|ratio| {
            let sign = if wanted.is_buy { Decimal::ONE } else { -Decimal::ONE };
            market.average(now) * (Decimal::ONE + sign * ratio)
        });
        let mut own = own.into_iter().peekable();
        let mut left = quantity;
        for (price, size) in market.levels(wanted.is_buy, now) {
            // An order of the account's own that is better placed is met first.
            while let Some(met) =
                own.next_if(|order| !left.is_zero() && is_worse(price, order.price))
            {
                if mode != "EXPIRE_TAKER" {
                    taking.expired.push(met.order_id);
                }
                if mode != "EXPIRE_MAKER" {
                    taking.cut = Some(Cut::InMatch);
                    return taking;
                }
            }
            if wanted.price.is_some_and(|limit| is_worse(price, limit)) {
                continue;
            }
            if range.is_some_and(|limit| is_worse(price, limit)) && !left.is_zero() {
                taking.cut = Some(Cut::PriceRange);
                return taking;
            }
            let taken = left.min(size);
            let taken = whole_steps(taken, market.filters.step);
            if !taken.is_zero() {
                taking.fills.push((price, taken));
                left -= taken;
            }
        }
        taking
    }

    /// How much of the base asset an amount buys, if the book is deep enough.
    fn wanted_quantity(&self, wanted: &Wanted, now: i64) -> Decimal {
        let market = &self.symbols[&wanted.symbol];
        let step = market.filters.step.max(market.filters.market_step);
        let mut left = wanted.quote_amount.unwrap_or_default();
        let mut quantity = Decimal::ZERO;
        let levels = market.levels(wanted.is_buy, now);
        let last = levels.last().map(|(price, _)| *price);
        for (price, size) in &levels {
            let taken = (left / price).min(*size);
            quantity += taken;
            left -= taken * price;
        }
        // What the book can't give is counted at its last price.
        quantity += last.map(|price| left.max(Decimal::ZERO) / price).unwrap_or_default();
        whole_steps(quantity, step)
    }

    fn fill(&mut self, market: &Symbol, is_buy: bool, fill: Fill, is_first: bool, now: i64) {
        let Fill { order_id, price, quantity, is_maker } = fill;
        let quote = (price * quantity).trunc_with_scale(8);
        let in_base = match self.fee_asset {
            FeeAsset::Base => true,
            FeeAsset::Quote => false,
            FeeAsset::Received | FeeAsset::Bnb | FeeAsset::Mixed | FeeAsset::Nothing => is_buy,
        };
        let (received, amount) =
            if in_base { (&market.base, quantity) } else { (&market.quote, quote) };
        let up = |value: Decimal| value.round_dp_with_strategy(8, RoundingStrategy::AwayFromZero);
        let rate = self.fee_bps / Decimal::from(10_000);
        let in_bnb = up(quote * rate / Decimal::from(600));
        let wants_bnb = match self.fee_asset {
            FeeAsset::Bnb => true,
            FeeAsset::Mixed => is_first,
            FeeAsset::Received | FeeAsset::Nothing | FeeAsset::Quote | FeeAsset::Base => false,
        };
        let (fee_asset, fee) = if self.fee_asset == FeeAsset::Nothing {
            (received.clone(), Decimal::ZERO)
        } else if wants_bnb && self.free("BNB") >= in_bnb {
            ("BNB".to_owned(), in_bnb)
        } else {
            (received.clone(), up(amount * rate))
        };
        let sign = if is_buy { Decimal::ONE } else { -Decimal::ONE };
        for (asset, change) in
            [(&market.base, sign * quantity), (&market.quote, -sign * quote), (&fee_asset, -fee)]
        {
            self.balances.entry(asset.clone()).or_default().free += change;
        }
        let id = self.next_trade;
        self.next_trade += 1 + self.random(5);
        let stamp = self.stamp();
        self.trades.push(Trade {
            symbol: market.code(),
            id,
            order_id,
            price,
            quantity,
            quote,
            fee,
            fee_asset,
            is_buy,
            is_maker,
            time: now,
            stamp,
        });
    }

    /// Sets so much of an asset aside; less than nothing sets it free.
    fn lock(&mut self, asset: &str, amount: Decimal) {
        let balance = self.balances.entry(asset.to_owned()).or_default();
        balance.free -= amount;
        balance.locked += amount;
    }

    /// Ends an open order with what it has.
    pub(super) fn end(&mut self, order_id: u64, status: &str) {
        let (now, stamp) = (self.now_at("engine"), self.stamp());
        let order = self.orders.iter_mut().find(|order| order.order_id == order_id);
        let order = order.expect("an order that is open");
        let (asset, amount) = order.locks(&self.symbols[&order.symbol]);
        status.clone_into(&mut order.status);
        order.updated = now;
        order.ended = Some(stamp);
        if status == "EXPIRED_IN_MATCH" {
            order.prevented = Some(order.quantity - order.executed);
        }
        if self.talks && status != "FILLED" {
            println!("{}", order.line());
        }
        self.lock(&asset, -amount);
        self.remember_balances();
    }

    /// Fills what rests and is met by the book, whole and at its own price.
    pub(super) fn fill_resting(&mut self) {
        let now = self.now_at("engine");
        let is_met = |order: &&Order| {
            let market = &self.symbols[&order.symbol];
            let (bid, ask) = market.best(now);
            let is_crossed = if order.is_buy { ask <= order.price } else { bid >= order.price };
            order.is_open() && market.status == "TRADING" && is_crossed
        };
        let met: Vec<Order> = self.orders.iter().filter(is_met).cloned().collect();
        for order in met {
            let market = self.symbols[&order.symbol].clone();
            self.end(order.order_id, "FILLED");
            let quantity = order.quantity - order.executed;
            let (order_id, price) = (order.order_id, order.price);
            let fill = Fill { order_id, price, quantity, is_maker: true };
            self.fill(&market, order.is_buy, fill, true, now);
            let quote = self.trades.last().map(|trade| trade.quote).unwrap_or_default();
            let filled = self.orders.iter_mut().find(|it| it.order_id == order_id);
            let filled = filled.expect("an order that was just filled");
            filled.executed += quantity;
            filled.quote += quote;
            if self.talks {
                println!("{}", filled.line());
            }
            self.remember_balances();
        }
    }

    fn order_answer(&self, order: &Order, response: &str, first_trade: usize) -> Value {
        let mut answer = order.json();
        let fields = answer.as_object_mut().expect("an object");
        if let Some(quantity) = order.prevented {
            fields.insert("preventedMatchId".to_owned(), json!(0));
            fields.insert("preventedQuantity".to_owned(), json!(eight(quantity)));
        }
        for name in ["time", "updateTime", "isWorking", "stopPrice", "icebergQty"] {
            fields.remove(name);
        }
        fields.insert("transactTime".to_owned(), json!(order.time));
        match response {
            "ACK" => {
                fields.retain(|name, _| {
                    ["symbol", "orderId", "orderListId", "clientOrderId", "transactTime"]
                        .contains(&name.as_str())
                });
            }
            "RESULT" => {}
            _ => {
                let fills: Vec<Value> =
                    self.trades[first_trade..].iter().map(Trade::fill_json).collect();
                fields.insert("fills".to_owned(), json!(fills));
            }
        }
        answer
    }

    /// The owner's own order, made by hand somewhere else.
    pub fn foreign_order(&mut self, symbol: &str, is_buy: bool, quantity: &str) {
        let id = format!("web_{}", self.next_order);
        self.order_of(symbol, is_buy, quantity, &id);
    }

    /// A market order that somebody sent from elsewhere under this client id.
    pub fn order_of(&mut self, symbol: &str, is_buy: bool, quantity: &str, client_order_id: &str) {
        let wanted = Wanted {
            symbol: symbol.to_owned(),
            is_buy,
            kind: "MARKET".to_owned(),
            time_in_force: "GTC".to_owned(),
            quantity: Some(decimal(quantity)),
            quote_amount: None,
            price: None,
            client_order_id: client_order_id.to_owned(),
            response: "FULL".to_owned(),
            self_trade: None,
            window: None,
        };
        self.execute(&wanted).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }
}

/// What an order takes.
struct Taking {
    fills: Vec<(Decimal, Decimal)>,
    cut: Option<Cut>,
    expired: Vec<u64>,
}

/// What ends an order although the book goes on.
#[derive(Clone, Copy)]
enum Cut {
    InMatch,
    PriceRange,
}

/// One fill of an order.
#[derive(Clone, Copy)]
struct Fill {
    order_id: u64,
    price: Decimal,
    quantity: Decimal,
    is_maker: bool,
}

/// What becomes of the part of an order that is not filled at once.
fn status_of_rest(
    wanted: &Wanted,
    cut: Option<Cut>,
    is_killed: bool,
    filled: Decimal,
) -> (&'static str, Option<&'static str>) {
    match cut {
        Some(Cut::InMatch) => ("EXPIRED_IN_MATCH", None),
        Some(Cut::PriceRange) => ("EXPIRED", Some("EXECUTION_RULE_PRICE_RANGE_EXCEEDED")),
        None if is_killed => ("EXPIRED", Some("UNFILLED_FOK_ORDER_EXPIRED")),
        None if wanted.kind == "MARKET" => ("EXPIRED", Some("INSUFFICIENT_LIQUIDITY")),
        None if wanted.time_in_force == "IOC" => ("EXPIRED", Some("UNFILLED_IOC_QUANTITY_EXPIRED")),
        None if filled.is_zero() => ("NEW", None),
        None => ("PARTIALLY_FILLED", None),
    }
}

fn is_open(status: &str) -> bool {
    matches!(status, "NEW" | "PARTIALLY_FILLED")
}

impl Order {
    /// Whether it still rests in the book.
    pub fn is_open(&self) -> bool {
        is_open(&self.status)
    }

    /// What its rest keeps aside.
    fn locks(&self, market: &Symbol) -> (String, Decimal) {
        let rest = self.quantity - self.executed;
        if self.is_buy {
            (market.quote.clone(), rest * self.price)
        } else {
            (market.base.clone(), rest)
        }
    }

    /// As somebody answers it who has not heard of its end.
    pub(super) fn json_before_the_end(&self) -> Value {
        let mut json = self.json();
        let zero = json!(eight(Decimal::ZERO));
        for (name, value) in [
            ("status", json!("NEW")),
            ("executedQty", zero.clone()),
            ("cummulativeQuoteQty", zero),
            ("updateTime", json!(self.time)),
        ] {
            json[name] = value;
        }
        json.as_object_mut().expect("an object").remove("expiryReason");
        json
    }

    /// As a cancellation answers it.
    pub(super) fn cancel_json(&self, client_order_id: &str) -> Value {
        let mut json = self.json();
        json["origClientOrderId"] = json!(self.client_order_id);
        json["clientOrderId"] = json!(client_order_id);
        json["transactTime"] = json!(self.updated);
        let fields = json.as_object_mut().expect("an object");
        for name in ["time", "updateTime", "isWorking", "workingTime", "stopPrice", "icebergQty"] {
            fields.remove(name);
        }
        json
    }

    /// As the questions for orders answer it.
    pub(super) fn json(&self) -> Value {
        let mut json = json!({
            "symbol": self.symbol, "orderId": self.order_id, "orderListId": -1,
            "clientOrderId": self.client_order_id, "price": eight(self.price),
            "origQty": eight(self.quantity), "executedQty": eight(self.executed),
            "origQuoteOrderQty": eight(self.quote_amount), "cummulativeQuoteQty": eight(self.quote),
            "status": self.status, "timeInForce": self.time_in_force, "type": self.kind,
            "side": self.side(), "stopPrice": "0.00000000", "icebergQty": "0.00000000",
            "time": self.time, "updateTime": self.updated, "isWorking": true, "workingTime": self.time,
            "selfTradePreventionMode": "EXPIRE_MAKER",
        });
        if let Some(reason) = self.expiry_reason {
            json["expiryReason"] = json!(reason);
        }
        json
    }

    fn side(&self) -> &'static str {
        if self.is_buy { "BUY" } else { "SELL" }
    }

    fn line(&self) -> String {
        format!(
            "order    {} {} of {} {} for {} {}  {}",
            self.side(),
            self.executed.normalize(),
            self.quantity.normalize(),
            self.symbol,
            self.quote.normalize(),
            self.status,
            self.client_order_id
        )
    }
}

impl Trade {
    fn fill_json(&self) -> Value {
        json!({
            "price": eight(self.price), "qty": eight(self.quantity), "commission": eight(self.fee),
            "commissionAsset": self.fee_asset, "tradeId": self.id,
        })
    }

    /// As `myTrades` answers it.
    pub(super) fn json(&self) -> Value {
        json!({
            "symbol": self.symbol, "id": self.id, "orderId": self.order_id, "orderListId": -1,
            "price": eight(self.price), "qty": eight(self.quantity), "quoteQty": eight(self.quote),
            "commission": eight(self.fee), "commissionAsset": self.fee_asset, "time": self.time,
            "isBuyer": self.is_buy, "isMaker": self.is_maker, "isBestMatch": true,
        })
    }
}
