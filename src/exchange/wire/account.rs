//! Binance's JSON about an account: its orders, trades, balances, and what a refusal looks like.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ApiError;
use crate::trading::market::{Asset, Side};
use crate::trading::money::{Amount, DECIMALS, Quantity};
use crate::trading::settlement::{Fill, OrderSeen, Status};
use crate::trading::time::Timestamp;

/// An order as it was answered, with the fills that the answer to a `POST` has.
#[derive(Debug)]
pub(crate) struct OrderAnswer {
    pub(crate) order: OrderSeen,
    pub(crate) fills: Option<Vec<Fill>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderJson {
    symbol: String,
    order_id: u64,
    client_order_id: String,
    side: String,
    #[serde(rename = "type")]
    kind: String,
    status: String,
    orig_qty: String,
    orig_quote_order_qty: Option<String>,
    executed_qty: String,
    // The exchange really spells it so.
    cummulative_quote_qty: String,
    time: Option<i64>,
    transact_time: Option<i64>,
    fills: Option<Vec<FillJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FillJson {
    price: String,
    qty: String,
    commission: String,
    commission_asset: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TradeJson {
    symbol: String,
    order_id: u64,
    qty: String,
    quote_qty: String,
    commission: String,
    commission_asset: String,
    is_buyer: bool,
}

/// One of our trades.
#[derive(Debug)]
pub(crate) struct Trade {
    pub(crate) order_id: u64,
    pub(crate) side: Side,
    pub(crate) fill: Fill,
}

/// What an account holds of one asset.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Balance {
    pub(crate) free: Quantity,
    pub(crate) total: Quantity,
}

/// The answer to `GET /api/v3/account`.
#[derive(Debug)]
pub(crate) struct AccountAnswer {
    pub(crate) uid: u64,
    pub(crate) can_trade: bool,
    balances: BTreeMap<String, Balance>,
}

impl AccountAnswer {
    /// One asset's balance. One that is absent is zero: the question leaves zeros away.
    pub(crate) fn balance(&self, asset: &Asset) -> Balance {
        self.balances.get(asset.code()).copied().unwrap_or_default()
    }
}

/// The answer to `POST /api/v3/order` or `GET /api/v3/order`.
///
/// **Source**: Binance Spot REST, "New order", "Query order".
pub(crate) fn order(body: &[u8]) -> Result<OrderAnswer, String> {
    let json: OrderJson =
        serde_json::from_slice(body).map_err(|error| format!("no order: {error}"))?;
    order_answer(json)
}

/// The answer to `GET /api/v3/openOrders` or `allOrders`.
pub(crate) fn orders(body: &[u8], symbol: &str) -> Result<Vec<OrderSeen>, String> {
    let rows: Vec<OrderJson> =
        serde_json::from_slice(body).map_err(|error| format!("no list of orders: {error}"))?;
    let order = |json: OrderJson| {
        let order = order_answer(json)?.order;
        if order.symbol == symbol {
            Ok(order)
        } else {
            Err(format!("an order of {} among those of {symbol}", order.symbol))
        }
    };
    rows.into_iter().map(order).collect()
}

/// The answer to `GET /api/v3/myTrades`.
pub(crate) fn trades(body: &[u8], symbol: &str) -> Result<Vec<Trade>, String> {
    let rows: Vec<TradeJson> =
        serde_json::from_slice(body).map_err(|error| format!("no list of trades: {error}"))?;
    let trade = |json: TradeJson| {
        if json.symbol != symbol {
            return Err(format!("a trade of {} among those of {symbol}", json.symbol));
        }
        Ok(Trade {
            order_id: json.order_id,
            side: if json.is_buyer { Side::Buy } else { Side::Sell },
            fill: Fill {
                quantity: quantity("qty", &json.qty)?,
                quote: amount("quoteQty", &json.quote_qty)?,
                fee: quantity("commission", &json.commission)?,
                fee_asset: asset(&json.commission_asset)?,
            },
        })
    };
    rows.into_iter().map(trade).collect()
}

/// The answer to `GET /api/v3/account`.
pub(crate) fn account(body: &[u8]) -> Result<AccountAnswer, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Json {
        uid: u64,
        can_trade: bool,
        balances: Vec<BalanceJson>,
    }
    #[derive(Deserialize)]
    struct BalanceJson {
        asset: String,
        free: String,
        locked: String,
    }
    let json: Json =
        serde_json::from_slice(body).map_err(|error| format!("no account: {error}"))?;
    let mut balances = BTreeMap::new();
    for row in json.balances {
        let (free, locked) = (quantity("free", &row.free)?, quantity("locked", &row.locked)?);
        let total = free.plus(locked).map_err(|error| error.to_string())?;
        if balances.insert(row.asset.clone(), Balance { free, total }).is_some() {
            return Err(format!("the account has {} twice", row.asset));
        }
    }
    Ok(AccountAnswer { uid: json.uid, can_trade: json.can_trade, balances })
}

/// What `GET /sapi/v1/account/apiRestrictions` says of a key.
///
/// **Source**: Binance Wallet, "Get API key permission".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a right of its own")]
pub(crate) struct Restrictions {
    pub(crate) enable_withdrawals: bool,
    // Binance.US has fewer of these rights, and so fewer of these words.
    #[serde(default)]
    pub(crate) ip_restrict: bool,
    #[serde(default)]
    pub(crate) enable_internal_transfer: bool,
    #[serde(default)]
    pub(crate) permits_universal_transfer: bool,
    pub(crate) enable_spot_and_margin_trading: Option<bool>,
}

/// The answer to `GET /sapi/v1/account/apiRestrictions`.
pub(crate) fn restrictions(body: &[u8]) -> Result<Restrictions, String> {
    serde_json::from_slice(body).map_err(|error| format!("no restrictions of a key: {error}"))
}

/// What the answer to a `POST` says, if it is none that names an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This request was not executed, for certain.
    No(Reason),
    /// It may have been executed.
    Unknown,
}

/// Why an order was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The key or its signature.
    Key,
    /// Too many requests or orders.
    Limit,
    /// It came too late, or too early.
    Time,
    /// Something about the order, the account or the symbol.
    Order,
}

/// The closed list of what a refusal is. Whatever is not on it is unknown.
///
/// **Source**: Binance Spot REST, "Error codes", read for one copy of one request.
pub(crate) fn refusal(status: u16, error: &ApiError) -> Refused {
    // A code that comes with a failure of the server's is that failure's, not the order's.
    if !(400..500).contains(&status) {
        return Refused::Unknown;
    }
    let is_limit = matches!(status, 418 | 429);
    match error.code {
        -1003 if is_limit && !error.msg.contains("queued") => Refused::No(Reason::Limit),
        -1015 => Refused::No(Reason::Limit),
        -1002 | -1022 | -2014 | -2015 => Refused::No(Reason::Key),
        -1021 => Refused::No(Reason::Time),
        // The engine keeps an order of this id: it is the first copy, whoever sent it.
        -2010 | -1010 if error.msg.contains("Duplicate order") => Refused::Unknown,
        -1010
        | -1013
        | -1014
        | -1020
        | -2010
        | -1128..=-1100
        | -1130
        | -1131
        | -1135
        | -1145
        | -1151
        | -1194 => Refused::No(Reason::Order),
        _ => Refused::Unknown,
    }
}

fn order_answer(json: OrderJson) -> Result<OrderAnswer, String> {
    let side = match json.side.as_str() {
        "BUY" => Side::Buy,
        "SELL" => Side::Sell,
        other => return Err(format!("an order's side is `{}`", shortened(other))),
    };
    let status = match json.status.as_str() {
        "NEW" | "PARTIALLY_FILLED" | "PENDING_NEW" | "PENDING_CANCEL" => Status::Open,
        "FILLED" => Status::Filled,
        "CANCELED" | "EXPIRED" | "EXPIRED_IN_MATCH" => Status::Ended,
        "REJECTED" => Status::Rejected,
        other => Status::Unknown(shortened(other)),
    };
    let time = json.transact_time.or(json.time).and_then(Timestamp::from_millis_or_micros);
    let fill = |fill: FillJson| {
        let (price, quantity) = (quantity("price", &fill.price)?, quantity("qty", &fill.qty)?);
        // With more than eight decimals it is not known how the exchange rounds; whoever adds the
        // fills up allows for that.
        let product = price.value().checked_mul(quantity.value()).map(|it| it.round_dp(DECIMALS));
        Ok(Fill {
            quantity,
            quote: product
                .and_then(Amount::new)
                .ok_or_else(|| format!("{quantity} at {price} is no amount"))?,
            fee: self::quantity("commission", &fill.commission)?,
            fee_asset: asset(&fill.commission_asset)?,
        })
    };
    let fills = json.fills.map(|fills| fills.into_iter().map(fill).collect::<Result<_, String>>());
    Ok(OrderAnswer {
        order: OrderSeen {
            symbol: plain("symbol", &json.symbol)?,
            order_id: json.order_id,
            client_order_id: plain("clientOrderId", &json.client_order_id)?,
            side,
            kind: plain("type", &json.kind)?,
            status,
            quantity: quantity("origQty", &json.orig_qty)?,
            quote_amount: match &json.orig_quote_order_qty {
                Some(text) => amount("origQuoteOrderQty", text)?,
                None => Amount::ZERO,
            },
            executed: quantity("executedQty", &json.executed_qty)?,
            quote: match json.cummulative_quote_qty.strip_prefix('-') {
                // Some old orders have a negative number here: "not available".
                Some(_) => None,
                None => Some(amount("cummulativeQuoteQty", &json.cummulative_quote_qty)?),
            },
            time: time.ok_or("an order has no time")?,
        },
        // Fills that can't be read are asked for again; the order itself is what counts.
        fills: fills.and_then(Result::ok),
    })
}

fn quantity(name: &str, text: &str) -> Result<Quantity, String> {
    let quantity = super::decimal(text).filter(|_| !text.starts_with('-')).and_then(Quantity::new);
    quantity.ok_or_else(|| format!("`{name}` is `{}`", shortened(text)))
}

fn amount(name: &str, text: &str) -> Result<Amount, String> {
    let amount = super::decimal(text).filter(|_| !text.starts_with('-')).and_then(Amount::new);
    amount.ok_or_else(|| format!("`{name}` is `{}`", shortened(text)))
}

fn asset(code: &str) -> Result<Asset, String> {
    Asset::new(code).ok_or_else(|| format!("`{}` is no asset", shortened(code)))
}

/// What is compared with ours: as it stands there, so it must be such as can be shown.
fn plain(name: &str, text: &str) -> Result<String, String> {
    let shown = shortened(text);
    if shown == text { Ok(shown) } else { Err(format!("an order's `{name}` is like `{shown}`")) }
}

/// What a stranger wrote, short enough and plain enough to be shown.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, code: i64, msg: &str) -> Refused {
        refusal(status, &ApiError { code, msg: msg.to_owned() })
    }

    /// The list of `No` codes, written down a second time, from the documents.
    const NO: [i64; 42] = [
        -1002, -1010, -1013, -1014, -1015, -1020, -1021, -1022, -1100, -1101, -1102, -1103, -1104,
        -1105, -1106, -1107, -1108, -1109, -1110, -1111, -1112, -1113, -1114, -1115, -1116, -1117,
        -1118, -1119, -1120, -1121, -1122, -1123, -1124, -1125, -1126, -1127, -1128, -1130, -1131,
        -1135, -1145, -1151,
    ];
    const NO_OF_2000: [i64; 3] = [-2010, -2014, -2015];

    #[test]
    fn only_codes_of_the_closed_list_are_a_no() {
        for code in -9999..=0 {
            let known = NO.contains(&code) || NO_OF_2000.contains(&code) || code == -1194;
            for status in [400, 401, 403, 404, 408, 409, 418, 429] {
                let limited = code == -1003 && matches!(status, 418 | 429);
                let is_no =
                    matches!(said(status, code, "Filter failure: LOT_SIZE"), Refused::No(_));
                assert_eq!(is_no, known || limited, "HTTP {status}, code {code}");
            }
            // What a failing server says of an order is no word about the order.
            for status in [200, 301, 302, 500, 502, 503, 504] {
                assert_eq!(said(status, code, ""), Refused::Unknown, "HTTP {status}, code {code}");
            }
        }
    }

    #[test]
    fn a_duplicate_and_a_queue_are_no_refusals() {
        assert_eq!(said(400, -2010, "Duplicate order sent."), Refused::Unknown);
        assert_eq!(said(400, -1010, "Duplicate order sent."), Refused::Unknown);
        assert_eq!(said(429, -1003, "Too many requests queued."), Refused::Unknown);
        let funds = "Account has insufficient balance for requested action.";
        assert_eq!(said(400, -2010, funds), Refused::No(Reason::Order));
    }

    #[test]
    fn each_no_has_its_reason() {
        let rows = [
            (400, -1021, Reason::Time),
            (400, -1022, Reason::Key),
            (401, -2014, Reason::Key),
            (401, -2015, Reason::Key),
            (401, -1002, Reason::Key),
            (429, -1015, Reason::Limit),
            (429, -1003, Reason::Limit),
            (418, -1003, Reason::Limit),
            (400, -1013, Reason::Order),
            (400, -1111, Reason::Order),
            (400, -1121, Reason::Order),
            (400, -2010, Reason::Order),
        ];
        for (status, code, reason) in rows {
            assert_eq!(said(status, code, ""), Refused::No(reason), "HTTP {status}, code {code}");
        }
    }

    fn an_order(field: &str, value: &str) -> String {
        let fields = [
            ("symbol", r#""ETHUSDT""#),
            ("orderId", "7"),
            ("clientOrderId", r#""ouro-x-1-B0""#),
            ("side", r#""BUY""#),
            ("type", r#""MARKET""#),
            ("status", r#""FILLED""#),
            ("origQty", r#""0.05000000""#),
            ("origQuoteOrderQty", r#""155.00000000""#),
            ("executedQty", r#""0.04000000""#),
            ("cummulativeQuoteQty", r#""124.00000000""#),
            ("time", "1709295300000"),
            (
                "fills",
                r#"[{"price":"3100","qty":"0.04","commission":"0.00004","commissionAsset":"ETH"}]"#,
            ),
        ];
        let changed = |(name, usual): &(&str, &str)| {
            let value = if *name == field { value } else { usual };
            format!("\"{name}\":{value}")
        };
        format!("{{{}}}", fields.iter().map(changed).collect::<Vec<_>>().join(","))
    }

    fn read(field: &str, value: &str) -> Result<OrderAnswer, String> {
        order(an_order(field, value).as_bytes())
    }

    fn coins(text: &str) -> Quantity {
        Quantity::new(text.parse().expect("a number")).expect("a quantity")
    }

    #[test]
    fn an_order_is_read_as_it_is_written() {
        let OrderAnswer { order, fills } = read("", "").expect("an order");
        assert_eq!((order.symbol.as_str(), order.order_id), ("ETHUSDT", 7));
        assert_eq!((order.client_order_id.as_str(), order.side), ("ouro-x-1-B0", Side::Buy));
        assert_eq!((order.kind.as_str(), order.status), ("MARKET", Status::Filled));
        assert_eq!((order.quantity, order.executed), (coins("0.05"), coins("0.04")));
        assert_eq!(order.quote_amount.value(), coins("155").value());
        assert_eq!(order.quote.map(Amount::value), Some(coins("124").value()));
        assert_eq!(order.time.as_millis(), 1_709_295_300_000);
        let fills = fills.expect("they can be read");
        assert_eq!(fills.len(), 1);
        assert_eq!(
            (fills[0].quantity, fills[0].quote.value()),
            (coins("0.04"), coins("124").value())
        );
        assert_eq!((fills[0].fee, fills[0].fee_asset.code()), (coins("0.00004"), "ETH"));
        assert_eq!(read("side", r#""SELL""#).expect("an order").order.side, Side::Sell);
        assert_eq!(read("cummulativeQuoteQty", r#""-1.00""#).expect("an order").order.quote, None);
    }

    #[test]
    fn every_status_is_what_it_means_and_a_new_one_is_unknown() {
        let status =
            |name: &str| read("status", &format!("\"{name}\"")).expect("an order").order.status;
        for name in ["NEW", "PARTIALLY_FILLED", "PENDING_NEW", "PENDING_CANCEL"] {
            assert_eq!(status(name), Status::Open, "{name}");
        }
        for name in ["CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"] {
            assert_eq!(status(name), Status::Ended, "{name}");
        }
        assert_eq!(status("REJECTED"), Status::Rejected);
        assert_eq!(status("MELTED"), Status::Unknown("MELTED".to_owned()));
    }

    #[test]
    fn a_number_that_is_none_is_refused_by_its_name() {
        for field in ["origQty", "origQuoteOrderQty", "executedQty", "cummulativeQuoteQty"] {
            for value in ["", "-0", "-0.5", "1e3", "+1", " 1", "0.000000001", "x"] {
                if field == "cummulativeQuoteQty" && value.starts_with('-') {
                    continue; // "Not available", in the exchange's way of saying it.
                }
                let said = read(field, &format!("\"{value}\"")).expect_err(value);
                assert!(said.contains(field) && said.contains(value), "{said}");
            }
        }
        assert!(read("time", "null").is_err(), "an order has a time");
        // The order is what counts; its fills are asked for where they can't be read.
        let odd = r#"[{"price":"3100","qty":"-0.04","commission":"0","commissionAsset":"ETH"}]"#;
        assert!(read("fills", odd).expect("an order").fills.is_none());
    }

    #[test]
    fn a_list_with_something_of_another_symbol_is_refused_whole() {
        let list = |symbols: &[&str]| {
            let rows = symbols.iter().map(|symbol| an_order("symbol", &format!("\"{symbol}\"")));
            format!("[{}]", rows.collect::<Vec<_>>().join(","))
        };
        let read = |symbols: &[&str]| orders(list(symbols).as_bytes(), "ETHUSDT");
        assert_eq!(read(&[]).expect("a list").len(), 0);
        assert_eq!(read(&["ETHUSDT", "ETHUSDT"]).expect("a list").len(), 2);
        assert!(read(&["ETHUSDT", "BTCUSDT"]).expect_err("another").contains("BTCUSDT"));

        let trade = |symbol: &str, is_buyer: bool| {
            format!(
                r#"{{"symbol":"{symbol}","orderId":7,"qty":"0.04","quoteQty":"124","commission":"0.124",
                "commissionAsset":"USDT","isBuyer":{is_buyer}}}"#
            )
        };
        let read = |rows: &[String]| trades(format!("[{}]", rows.join(",")).as_bytes(), "ETHUSDT");
        let two = read(&[trade("ETHUSDT", true), trade("ETHUSDT", false)]).expect("a list");
        assert_eq!(two.iter().map(|it| it.side).collect::<Vec<_>>(), [Side::Buy, Side::Sell]);
        assert_eq!((two[0].order_id, two[0].fill.quantity), (7, coins("0.04")));
        assert_eq!(
            (two[0].fill.quote.value(), two[0].fill.fee),
            (coins("124").value(), coins("0.124"))
        );
        let mixed = read(&[trade("ETHUSDT", true), trade("BTCUSDT", true)]);
        assert!(mixed.expect_err("another").contains("BTCUSDT"));
    }

    #[test]
    fn a_balance_is_free_or_in_all_and_what_is_absent_is_zero() {
        let body = r#"{"uid":7,"canTrade":true,"balances":[
            {"asset":"ETH","free":"1.5","locked":"0.25"},{"asset":"???","free":"1","locked":"0"}]}"#;
        let answer = account(body.as_bytes()).expect("an account");
        let balance = |code: &str| {
            let found = answer.balance(&Asset::new(code).expect("an asset"));
            (found.free, found.total)
        };
        assert_eq!((answer.uid, answer.can_trade), (7, true));
        assert_eq!(balance("ETH"), (coins("1.5"), coins("1.75")));
        assert_eq!(balance("BTC"), (Quantity::ZERO, Quantity::ZERO));
        let twice = body.replace("???", "ETH");
        assert!(account(twice.as_bytes()).expect_err("which of the two?").contains("ETH"));
    }

    #[test]
    fn what_a_stranger_wrote_is_shown_short_and_plain() {
        assert_eq!(shortened("MAR\u{1b}[31mKET\n"), "MAR[31mKET");
        assert_eq!(shortened(&"x".repeat(1000)), "x".repeat(60));
    }
}
