//! What an order has to be before it gets to the engine: parameters, precision, filters.
//! **Source**: Binance Spot REST, "New order", "Filters"; everything here is refused without having been executed.

use rust_decimal::Decimal;

use super::market::{SELF_TRADE, Symbol};
use super::sign::{Refusal, Window, illegal, missing, refuse, value};
use super::world::World;

/// What a client wants, once it passed the door.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) symbol: String,
    pub(super) is_buy: bool,
    pub(super) kind: String,
    pub(super) time_in_force: String,
    pub(super) quantity: Option<Decimal>,
    pub(super) quote_amount: Option<Decimal>,
    pub(super) price: Option<Decimal>,
    pub(super) client_order_id: String,
    pub(super) response: String,
    pub(super) self_trade: Option<String>,
    /// Until when it may be handed to the engine; an order made by hand has none.
    pub(super) window: Option<Window>,
}

/// What the door lets in.
pub(super) fn admit(world: &World, parameters: &[(String, String)]) -> Result<Wanted, Refusal> {
    let value = |name: &str| value(parameters, name);
    if value("newClientOrderId") == Some("") {
        return refuse(400, -1118, "New client order ID was empty.");
    }
    if let Some((name, _)) = parameters.iter().find(|(_, value)| value.is_empty()) {
        return refuse(400, -1105, format!("Parameter '{name}' was empty."));
    }
    let need = |name: &str| value(name).map_or_else(|| missing(name), |it| Ok(it.to_owned()));
    let (symbol, side, kind) = (need("symbol")?, need("side")?, need("type")?);
    let Some(market) = world.symbols.get(&symbol) else {
        return refuse(400, -1121, "Invalid symbol.");
    };
    let is_buy = match side.as_str() {
        "BUY" => true,
        "SELL" => false,
        _ => return refuse(400, -1117, "Invalid side."),
    };
    let time_in_force = value("timeInForce");
    if time_in_force.is_some_and(|it| !["IOC", "FOK", "GTC"].contains(&it)) {
        return refuse(400, -1115, "Invalid timeInForce.");
    }
    let response = value("newOrderRespType").unwrap_or("FULL");
    if !["ACK", "RESULT", "FULL"].contains(&response) {
        return not_valid("newOrderRespType");
    }
    let self_trade = value("selfTradePreventionMode");
    if self_trade.is_some_and(|mode| !SELF_TRADE.contains(&mode)) {
        return not_valid("selfTradePreventionMode");
    }
    let strategy = value("strategyType").map(|text| text.parse::<u64>().unwrap_or(0));
    if strategy.is_some_and(|number| number < 1_000_000) {
        return not_valid("strategyType");
    }
    let wanted = Wanted {
        is_buy,
        time_in_force: time_in_force.unwrap_or("GTC").to_owned(),
        quantity: number(parameters, "quantity")?,
        quote_amount: number(parameters, "quoteOrderQty")?,
        price: number(parameters, "price")?,
        client_order_id: client_id(world, value("newClientOrderId"))?,
        response: response.to_owned(),
        self_trade: self_trade.map(str::to_owned),
        window: Window::of(parameters),
        symbol,
        kind,
    };
    combination(&wanted, market, time_in_force)?;
    filters(world, &wanted, market)?;
    Ok(wanted)
}

fn number(parameters: &[(String, String)], name: &str) -> Result<Option<Decimal>, Refusal> {
    let Some(text) = value(parameters, name) else { return Ok(None) };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| {
        (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole) || !digits(part) {
        return illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$");
    }
    if part.trim_end_matches('0').len() > 8 {
        return refuse(400, -1111, format!("Parameter '{name}' has too much precision."));
    }
    match text.parse::<Decimal>() {
        Ok(number) => Ok(Some(number.normalize())),
        Err(_) => refuse(400, -1108, format!("Parameter '{name}' overflowed.")),
    }
}

fn client_id(world: &World, id: Option<&str>) -> Result<String, Refusal> {
    let Some(id) = id else { return Ok(format!("generated{}", world.next_order)) };
    let fits = (1..=36).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fits { Ok(id.to_owned()) } else { illegal("newClientOrderId", "^[a-zA-Z0-9-_]{1,36}$") }
}

fn not_valid<T>(name: &str) -> Result<T, Refusal> {
    refuse(400, -1130, format!("Data sent for parameter '{name}' is not valid."))
}

/// What may stand beside what.
fn combination(
    wanted: &Wanted,
    market: &Symbol,
    time_in_force: Option<&str>,
) -> Result<(), Refusal> {
    let too_much =
        |name: &str| refuse(400, -1106, format!("Parameter '{name}' sent when not required."));
    match wanted.kind.as_str() {
        "MARKET" => {
            if wanted.price.is_some() {
                return too_much("price");
            }
            if time_in_force.is_some() {
                return too_much("timeInForce");
            }
            match (wanted.quantity, wanted.quote_amount) {
                (Some(_), Some(_)) => {
                    return refuse(400, -1128, "Combination of optional parameters invalid.");
                }
                (None, None) => {
                    return refuse(
                        400,
                        -1102,
                        "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!",
                    );
                }
                (None, Some(_)) if !market.quote_orders => {
                    return refuse(
                        400,
                        -2010,
                        "Quote order qty market orders are not support for this symbol.",
                    );
                }
                (Some(_), None) | (None, Some(_)) => {}
            }
        }
        "LIMIT" => {
            if time_in_force.is_none() {
                return missing("timeInForce");
            }
            if wanted.quantity.is_none() {
                return missing("quantity");
            }
            if wanted.price.is_none() {
                return missing("price");
            }
            if wanted.quote_amount.is_some() {
                return too_much("quoteOrderQty");
            }
        }
        _ => return refuse(400, -1116, "Invalid orderType."),
    }
    if market.order_types.contains(&wanted.kind) {
        return Ok(());
    }
    refuse(400, -2010, "Market orders are not supported for this symbol.")
}

fn filters(world: &World, wanted: &Wanted, market: &Symbol) -> Result<(), Refusal> {
    match broken_filter(world, wanted, market) {
        None => Ok(()),
        Some(name) => refuse(400, -1013, format!("Filter failure: {name}")),
    }
}

/// The first filter that an order does not pass; zero switches a part of one off.
fn broken_filter(world: &World, wanted: &Wanted, market: &Symbol) -> Option<&'static str> {
    let filters = &market.filters;
    let is_market = wanted.kind == "MARKET";
    let average = market.average(world.now());
    let within = |value: Decimal, min: Decimal, max: Decimal, step: Decimal| {
        value >= min
            && (max.is_zero() || value <= max)
            && (step.is_zero() || (value % step).is_zero())
    };
    if let Some(price) = wanted.price {
        if price.is_zero() || !within(price, filters.min_price, filters.max_price, filters.tick) {
            return Some("PRICE_FILTER");
        }
        let far = filters.percent_price;
        if !far.is_zero() && (price > average * far || price < average / far) {
            return Some("PERCENT_PRICE_BY_SIDE");
        }
    }
    if let Some(quantity) = wanted.quantity {
        let f = filters;
        if quantity.is_zero() || !within(quantity, f.min_quantity, f.max_quantity, f.step) {
            return Some("LOT_SIZE");
        }
        if is_market && !within(quantity, f.market_min, f.market_max, f.market_step) {
            return Some("MARKET_LOT_SIZE");
        }
    }
    let notional = match (wanted.quantity, wanted.quote_amount) {
        (Some(quantity), _) => quantity * wanted.price.unwrap_or(average),
        (None, amount) => amount.unwrap_or_default(),
    };
    if (!is_market || filters.applies_to_market) && notional < filters.min_notional {
        return Some("NOTIONAL");
    }
    let max = filters.max_notional;
    if (!is_market || filters.max_applies_to_market) && !max.is_zero() && notional > max {
        return Some("NOTIONAL");
    }
    if (!is_market || filters.older_applies_to_market) && notional < filters.older_min_notional {
        return Some("MIN_NOTIONAL");
    }
    let open = || {
        let ours = |order: &&super::orders::Order| order.symbol == wanted.symbol && order.is_open();
        world.orders.iter().filter(ours)
    };
    if !is_market && wanted.time_in_force == "GTC" && open().count() >= filters.max_orders {
        return Some("MAX_NUM_ORDERS");
    }
    if wanted.is_buy && !filters.max_position.is_zero() {
        let held = world.balances.get(&market.base).copied().unwrap_or_default();
        let buying: Decimal =
            open().filter(|order| order.is_buy).map(|order| order.quantity - order.executed).sum();
        let more = wanted.quantity.unwrap_or(notional / average);
        if held.free + held.locked + buying + more > filters.max_position {
            return Some("MAX_POSITION");
        }
    }
    None
}
