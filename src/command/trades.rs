//! `trades`: what was bought and sold, for people, spreadsheets and tax tools.
//!
//! The journal is recomputed on the way, so the list is made of nothing that does not fit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Answer;
use super::audit::{self, Checked};
use crate::cli::{By, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::history::lots::Lots;
use crate::store::disk::Disk;
use crate::trading::book::{Adoption, Book, Position};
use crate::trading::market::{Leg, Pair, Side};
use crate::trading::money::DECIMALS;
use crate::trading::order::{Execution, Fees};
use crate::trading::time::Timestamp;

/// What is wanted of the list.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// A line for each fill or for each round trip.
    pub by: By,
    /// Only what happened in this year; of a round trip its end counts.
    pub year: Option<i16>,
    /// In whose time; UTC without it.
    pub zone: Option<&'a str>,
    /// For whom.
    pub format: Format,
}

/// An order, as far as it was executed.
struct Fill {
    at: Timestamp,
    /// The candle that was decided on, and its z-score.
    candle: String,
    z: Value,
    leg: Leg,
    execution: Execution,
    client_order_id: String,
    order_id: Option<u64>,
    /// Which round trip it belongs to, counted from 1.
    trip: u64,
    /// What was gained against the cost of the oldest coins; `None` where it was bought.
    realized: Option<Decimal>,
}

/// An entry and what ended it.
struct Trip {
    number: u64,
    leg: Leg,
    entered: Timestamp,
    left: Timestamp,
    /// Coins that were bought, before the fee.
    quantity: Decimal,
    /// Quote asset that was paid and that came back, after fees in it.
    cost: Decimal,
    proceeds: Decimal,
    fees: BTreeMap<String, Decimal>,
    /// As the book has it: all that the entry cost, whatever is left as dust.
    realized: Decimal,
}

/// What the journal tells, oldest first.
#[derive(Default)]
struct Told {
    fills: Vec<Fill>,
    trips: Vec<Trip>,
    open: Option<Trip>,
    lots: BTreeMap<String, Lots>,
    entered: u64,
    /// The book's, before the record at hand.
    realized: Decimal,
}

/// The fills or round trips of the world that the configuration names.
///
/// **Errors**: a zone that is not known; a journal that can't be trusted.
pub fn trades(disk: &dyn Disk, config: &Config, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
    let zone = zone(wanted.zone)?;
    if wanted.by == By::Trip && wanted.format != Format::Csv {
        return Err(Failure::configuration(
            format!("`--format {}` is a list of fills, not of round trips", wanted.format.name()),
            "leave `--by trip` away; the tool makes gains of the fills itself",
        ));
    }
    let look = |told: &mut Told, record: &Value, book: &Book| told.record(config, record, book);
    let mut told = audit::recompute(disk, config, look)?.map(|(told, _)| told).unwrap_or_default();
    if let Some(year) = wanted.year {
        told.fills.retain(|fill| year_of(fill.at, &zone) == year);
        told.trips.retain(|trip| year_of(trip.left, &zone) == year);
    }
    let json = told.to_json(config, wanted, &zone);
    let lines = match (wanted.by, wanted.format) {
        (By::Fill, Format::Csv) => told.fills_csv(&config.pair, &zone),
        (By::Trip, Format::Csv) => told.trips_csv(&config.pair, &zone),
        (_, Format::Koinly) => told.koinly(&config.pair),
        (_, Format::Cointracking) => told.cointracking(&config.pair),
    };
    Ok(Answer { text: lines.join("\n"), json })
}

impl Told {
    fn record(&mut self, config: &Config, record: &Value, book: &Book) -> Checked<()> {
        let before = std::mem::replace(&mut self.realized, book.realized.value());
        let (result, pair) = (&record["result"], &config.pair);
        if record["kind"] == json!("adoption") {
            return self.adoption(config, record);
        }
        let order = &result["order"];
        let code = order["symbol"].as_str().unwrap_or_default();
        let leg = Leg::BOTH.into_iter().find(|leg| pair.symbol(*leg).code() == code);
        let Some(leg) = leg else { return Ok(()) };
        let Some(execution) = audit::executed(order, leg, pair)? else { return Ok(()) };
        let at = audit::time(record, "at")?;
        let (quantity, quote) = (execution.quantity.value(), execution.quote.value());
        let fees = &execution.fees;
        let lots = self.lots.entry(pair.asset(leg).code().to_owned()).or_default();
        let realized = match execution.side {
            Side::Buy => {
                let cost = quote + fees.quote.value();
                lots.add(quantity - fees.base.value(), cost);
                self.enter(leg, at, quantity, cost);
                None
            }
            Side::Sell => {
                let cost = lots.take(quantity + fees.base.value());
                Some(quote - fees.quote.value() - cost)
            }
        };
        if let Some(trip) = &mut self.open {
            for (asset, fee) in all_fees(fees, pair, leg) {
                *trip.fees.entry(asset).or_default() += fee;
            }
            if execution.side == Side::Sell {
                trip.proceeds += quote - fees.quote.value();
            }
        }
        self.fills.push(Fill {
            at,
            candle: audit::text(result, "candle")?.to_owned(),
            z: result["z"].clone(),
            leg,
            client_order_id: audit::text(order, "client_order_id")?.to_owned(),
            order_id: record["order_id"].as_u64(),
            trip: self.entered,
            realized,
            execution,
        });
        if matches!(book.position, Position::Flat { .. })
            && let Some(trip) = self.open.take()
        {
            self.trips.push(Trip { left: at, realized: book.realized.value() - before, ..trip });
        }
        Ok(())
    }

    /// No fill of ours: the coins come with what they cost, and begin a round trip.
    fn adoption(&mut self, config: &Config, record: &Value) -> Checked<()> {
        let pair = &config.pair;
        let Adoption { leg, quantity, cost } = audit::adopted(record, pair)?;
        let (quantity, cost) = (quantity.value(), cost.value());
        let lots = self.lots.entry(pair.asset(leg).code().to_owned()).or_default();
        lots.add(quantity, cost);
        self.enter(leg, audit::time(record, "at")?, quantity, cost);
        Ok(())
    }

    /// A round trip begins with so many coins that cost so much.
    fn enter(&mut self, leg: Leg, at: Timestamp, quantity: Decimal, cost: Decimal) {
        self.entered += 1;
        self.open = Some(Trip {
            number: self.entered,
            leg,
            entered: at,
            left: at,
            quantity,
            cost,
            proceeds: Decimal::ZERO,
            fees: BTreeMap::new(),
            realized: Decimal::ZERO,
        });
    }

    fn to_json(&self, config: &Config, wanted: &Wanted<'_>, zone: &TimeZone) -> Value {
        let pair = &config.pair;
        let mut fees: BTreeMap<String, Decimal> = BTreeMap::new();
        for fill in &self.fills {
            for (asset, fee) in all_fees(&fill.execution.fees, pair, fill.leg) {
                *fees.entry(asset).or_default() += fee;
            }
        }
        let realized: Decimal = match wanted.by {
            By::Fill => self.fills.iter().filter_map(|fill| fill.realized).sum(),
            By::Trip => self.trips.iter().map(|trip| trip.realized).sum(),
        };
        let list: Vec<Value> = match wanted.by {
            By::Fill => self.fills.iter().map(|fill| fill.to_json(pair, zone)).collect(),
            By::Trip => self.trips.iter().map(|trip| trip.to_json(pair, zone)).collect(),
        };
        let name = match wanted.by {
            By::Fill => "trades",
            By::Trip => "round_trips",
        };
        json!({
            "mode": config.mode.name(),
            "pair": pair.to_string(),
            "timeframe": config.rules.interval.name(),
            "quote_asset": pair.quote().code(),
            "year": wanted.year,
            "zone": wanted.zone.unwrap_or("UTC"),
            "fees": amounts(&fees),
            "realized_pnl": amount(realized),
            name: list,
        })
    }

    fn fills_csv(&self, pair: &Pair, zone: &TimeZone) -> Vec<String> {
        let mut lines = vec![
            "time,candle,z,symbol,side,quantity,price,quote_quantity,fee,fee_asset,other_fee,\
             other_fee_asset,client_order_id,order_id,round_trip,realized_pnl"
                .to_owned(),
        ];
        for fill in &self.fills {
            let Fill { execution, leg, .. } = fill;
            let mut fees = all_fees(&execution.fees, pair, *leg);
            let mut fee = || fees.next().map(|(asset, fee)| format!("{},{asset}", amount(fee)));
            let none = || ",".to_owned();
            let (first, other) = (fee().unwrap_or_else(none), fee().unwrap_or_else(none));
            lines.push(format!(
                "{},{},{},{},{},{},{},{},{first},{other},{},{},{},{}",
                local(fill.at, zone),
                fill.candle,
                fill.z.as_f64().map(|z| z.to_string()).unwrap_or_default(),
                pair.symbol(*leg).code(),
                execution.side,
                amount(execution.quantity.value()),
                execution.price,
                amount(execution.quote.value()),
                fill.client_order_id,
                fill.order_id.map(|id| id.to_string()).unwrap_or_default(),
                fill.trip,
                fill.realized.map(amount).unwrap_or_default(),
            ));
        }
        lines
    }

    fn trips_csv(&self, pair: &Pair, zone: &TimeZone) -> Vec<String> {
        let mut lines = vec![
            "round_trip,entered,left,symbol,quantity,cost,proceeds,fees,realized_pnl".to_owned(),
        ];
        for trip in &self.trips {
            let fees: Vec<String> =
                trip.fees.iter().map(|(asset, fee)| format!("{} {asset}", amount(*fee))).collect();
            lines.push(format!(
                "{},{},{},{},{},{},{},{},{}",
                trip.number,
                local(trip.entered, zone),
                local(trip.left, zone),
                pair.symbol(trip.leg).code(),
                amount(trip.quantity),
                amount(trip.cost),
                amount(trip.proceeds),
                fees.join(" + "),
                amount(trip.realized)
            ));
        }
        lines
    }

    /// Koinly's universal template. Amounts are before the fee, which it subtracts itself; times are
    /// UTC whatever the zone. **Source**: Koinly, "How to create a custom CSV file with your data".
    fn koinly(&self, pair: &Pair) -> Vec<String> {
        let mut lines = vec![
            "Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,\
             Fee Currency,Net Worth Amount,Net Worth Currency,Label,Description,TxHash"
                .to_owned(),
        ];
        for fill in &self.fills {
            let date = format!("{} UTC", plain_utc(fill.at));
            let (sent, received) = fill.exchanged(pair, |_| Decimal::ZERO);
            let mut fees = all_fees(&fill.execution.fees, pair, fill.leg);
            let fee = fees
                .next()
                .map_or_else(|| ",".to_owned(), |(asset, fee)| format!("{},{asset}", amount(fee)));
            let id = &fill.client_order_id;
            lines.push(format!("{date},{sent},{received},{fee},,,,{},{id}", fill.said(pair)));
            for (asset, fee) in fees {
                let fee = amount(fee);
                lines.push(format!("{date},{fee},{asset},,,,,,,cost,fee of {id},{id}-fee"));
            }
        }
        lines
    }

    /// `CoinTracking`'s own columns. Its fee is told, not subtracted, so amounts are after fees; a fee
    /// in a third asset is a line of its own. **Source**: `CoinTracking`, "CSV Import".
    fn cointracking(&self, pair: &Pair) -> Vec<String> {
        let line = |cells: [&str; 11]| cells.map(|cell| format!("\"{cell}\"")).join(",");
        let mut lines = vec![line([
            "Type",
            "Buy Amount",
            "Buy Currency",
            "Sell Amount",
            "Sell Currency",
            "Fee",
            "Fee Currency",
            "Exchange",
            "Trade-Group",
            "Comment",
            "Date",
        ])];
        for fill in &self.fills {
            let fees = &fill.execution.fees;
            let own = |is_base: bool| if is_base { fees.base.value() } else { fees.quote.value() };
            let (sold, bought) = fill.exchanged(pair, own);
            let split = |cell: &str| {
                let (amount, asset) = cell.split_once(',').unwrap_or((cell, ""));
                (amount.to_owned(), asset.to_owned())
            };
            let ((sold, sold_asset), (bought, bought_asset)) = (split(&sold), split(&bought));
            let date = plain_utc(fill.at);
            let (id, group) = (&fill.client_order_id, pair.to_string());
            let mut told = (String::new(), String::new());
            let mut others = Vec::new();
            for (asset, fee) in all_fees(fees, pair, fill.leg) {
                if asset == sold_asset || asset == bought_asset {
                    told = (amount(fee), asset);
                } else {
                    others.push((amount(fee), asset));
                }
            }
            lines.push(line([
                "Trade",
                &bought,
                &bought_asset,
                &sold,
                &sold_asset,
                &told.0,
                &told.1,
                "Binance",
                &group,
                id,
                &date,
            ]));
            for (fee, asset) in others {
                lines.push(line([
                    "Other Fee",
                    "",
                    "",
                    &fee,
                    &asset,
                    "",
                    "",
                    "Binance",
                    &group,
                    id,
                    &date,
                ]));
            }
        }
        lines
    }
}

impl Fill {
    /// What was given and what came for it, each `amount,ASSET`, with this much taken off what came
    /// and added to what was given, for the base asset and the quote asset.
    fn exchanged(&self, pair: &Pair, fee: impl Fn(bool) -> Decimal) -> (String, String) {
        let Execution { quantity, quote, side, .. } = &self.execution;
        let (base, quote_asset) = (pair.asset(self.leg), pair.quote());
        let (quantity, quote) = (quantity.value(), quote.value());
        match side {
            Side::Buy => (
                format!("{},{quote_asset}", amount(quote + fee(false))),
                format!("{},{base}", amount(quantity - fee(true))),
            ),
            Side::Sell => (
                format!("{},{base}", amount(quantity + fee(true))),
                format!("{},{quote_asset}", amount(quote - fee(false))),
            ),
        }
    }

    fn said(&self, pair: &Pair) -> String {
        let Execution { side, price, .. } = &self.execution;
        format!("{side} {} at {price}", pair.symbol(self.leg).code())
    }

    fn to_json(&self, pair: &Pair, zone: &TimeZone) -> Value {
        let Execution { side, quantity, quote, price, fees } = &self.execution;
        let fees: BTreeMap<String, Decimal> = all_fees(fees, pair, self.leg).collect();
        json!({
            "time": local(self.at, zone),
            "candle": self.candle,
            "z": self.z,
            "symbol": pair.symbol(self.leg).code(),
            "side": side.to_string(),
            "client_order_id": self.client_order_id,
            "order_id": self.order_id,
            "executed_quantity": amount(quantity.value()),
            "quote_quantity": amount(quote.value()),
            "average_price": price.to_string(),
            "fees": amounts(&fees),
            "round_trip": self.trip,
            "realized_pnl": self.realized.map(amount),
        })
    }
}

impl Trip {
    fn to_json(&self, pair: &Pair, zone: &TimeZone) -> Value {
        json!({
            "round_trip": self.number,
            "symbol": pair.symbol(self.leg).code(),
            "entered": local(self.entered, zone),
            "left": local(self.left, zone),
            "quantity": amount(self.quantity),
            "cost": amount(self.cost),
            "proceeds": amount(self.proceeds),
            "fees": amounts(&self.fees),
            "realized_pnl": amount(self.realized),
        })
    }
}

/// The fees that were paid: the traded asset's, the quote asset's, then any other's.
fn all_fees<'a>(
    fees: &'a Fees,
    pair: &'a Pair,
    leg: Leg,
) -> impl Iterator<Item = (String, Decimal)> + 'a {
    let Fees { base, quote, other } = fees;
    let own = [(pair.asset(leg), base.value()), (pair.quote(), quote.value())];
    own.into_iter()
        .chain(other.iter().map(|(asset, fee)| (asset, fee.value())))
        .filter(|(_, fee)| !fee.is_zero())
        .map(|(asset, fee)| (asset.code().to_owned(), fee))
}

fn amounts(amounts: &BTreeMap<String, Decimal>) -> Value {
    amounts.iter().map(|(asset, it)| (asset.clone(), json!(amount(*it)))).collect()
}

/// With the eight decimals of the exchange's own lists.
fn amount(value: Decimal) -> String {
    let places = usize::try_from(DECIMALS).expect("eight");
    let mut text = String::new();
    let _ = write!(text, "{value:.places$}");
    text
}

fn zone(name: Option<&str>) -> Result<TimeZone, Failure> {
    match name {
        None | Some("UTC") => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|_| {
            Failure::configuration(
                format!("`--zone {name}` is no time zone"),
                "give a name such as `Europe/Berlin`; `timedatectl list-timezones` lists them",
            )
        }),
    }
}

fn in_zone(at: Timestamp, zone: &TimeZone) -> jiff::Zoned {
    let moment = jiff::Timestamp::from_millisecond(at.as_millis());
    moment.expect("only moments of the calendar are constructed").to_zoned(zone.clone())
}

fn year_of(at: Timestamp, zone: &TimeZone) -> i16 {
    in_zone(at, zone).year()
}

/// RFC 3339, with the zone's offset where it is not UTC.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC {
        return at.to_string();
    }
    in_zone(at, zone).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

/// `2024-03-01 12:15:00`, as both tools want it.
fn plain_utc(at: Timestamp) -> String {
    in_zone(at, &TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
