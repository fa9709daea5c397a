//! The verdict on an order, as a table and as laws. Judged by what the exchange documents: what was
//! executed is the money fact, the status alone is not, and nothing is final until the fills add up.

use std::collections::BTreeMap;

use ouroboros::trading::ledger::{Balances, Intent};
use ouroboros::trading::market::{Asset, Leg, Pair, Side, Symbol, SymbolRules};
use ouroboros::trading::money::{Amount, Price, Quantity};
use ouroboros::trading::order::{Execution, Kind, Ordered, Outcome, Plan, Purpose, Size, Touch};
use ouroboros::trading::settlement::{Fill, OrderSeen, Status, Verdict, judge};
use ouroboros::trading::strategy::ZScore;
use ouroboros::trading::time::Timestamp;
use proptest::prelude::*;

use crate::support::law::{
    UNIT, amount_of, as_amount, as_quantity, config, leg, quantity_of, units_of,
};
use crate::support::table::decimal;

// --- the table ---------------------------------------------------------------------------------

/// `asked`: coins, or an amount with its asset. `shown`: how many coins of how many were executed,
/// and for how much; `?` where the exchange has no amount. `fills`: coins @ amount, less the fee;
/// `-` before they were asked for, `none` where there are none.
const TABLE: &str = "
 asked   | status           | shown          | fills                               | verdict
 # Everything equals the intent.
 0.03    | FILLED           | 0.03/0.03 93   | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 0.03    | FILLED           | 0.03/0.03 93   | 0.01@31-0.00001ETH 0.02@62-0.004BNB | executed 0.03 93 fee 0.00001ETH 0.004BNB
 0.03    | FILLED           | 0.03/0.03 93   | 0.01@31-0.031USDT 0.02@62-0.062USDT | executed 0.03 93 fee 0.093USDT
 0.03    | FILLED           | 0.03/0.03 93   | 0.03@93-0ETH                        | executed 0.03 93
 0.03    | FILLED           | 0.03/0.03 ?    | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 93.5USDT| FILLED           | 0.03/0.03 93   | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 # At what fee is not known yet.
 0.03    | FILLED           | 0.03/0.03 93   | -                                   | missing
 0.03    | FILLED           | 0.03/0.03 93   | none                                | missing
 0.03    | FILLED           | 0.03/0.03 93   | 0.01@31-0.00001ETH                  | missing
 0.03    | FILLED           | 0.03/0.03 93   | 0.04@93-0.00001ETH                  | missing
 0.03    | FILLED           | 0.03/0.03 93   | 0.03@92.99999998-0.00003ETH         | missing
 # Each fill may be rounded to its last decimal; the order's own sum is the exact one.
 0.03    | FILLED           | 0.03/0.03 93   | 0.03@92.99999999-0.00003ETH         | executed 0.03 93 fee 0.00003ETH
 0.03    | FILLED           | 0.03/0.03 93   | 0.01@31.00000001-1BNB 0.02@62.00000001-2BNB | executed 0.03 93 fee 3BNB
 0.03    | FILLED           | 0.03/0.03 ?    | -                                   | missing
 0.03    | FILLED           | 0.03/0.03 ?    | 0.02@62-0.00002ETH                  | missing
 93.5USDT| FILLED           | 0.03/0.03 93   | 0.02@62-0.00002ETH                  | missing
 # Over with a part of it.
 0.03    | EXPIRED          | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | executed 0.02 62 fee 0.00002ETH
 0.03    | EXPIRED_IN_MATCH | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | executed 0.02 62 fee 0.00002ETH
 0.03    | CANCELED         | 0.02/0.03 62   | 0.01@31-1BNB 0.01@31-2BNB           | executed 0.02 62 fee 3BNB
 0.03    | EXPIRED          | 0.02/0.03 ?    | 0.02@62-0.00002ETH                  | executed 0.02 62 fee 0.00002ETH
 0.03    | EXPIRED          | 0.03/0.03 93   | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 93.5USDT| EXPIRED          | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | executed 0.02 62 fee 0.00002ETH
 0.03    | EXPIRED          | 0.02/0.03 62   | -                                   | missing
 0.03    | EXPIRED_IN_MATCH | 0.02/0.03 62   | none                                | missing
 0.03    | CANCELED         | 0.02/0.03 62   | 0.01@31-0.00001ETH                  | missing
 # Over with nothing.
 0.03    | EXPIRED          | 0/0.03 0       | -                                   | nothing
 0.03    | EXPIRED_IN_MATCH | 0/0.03 0       | none                                | nothing
 0.03    | CANCELED         | 0/0.03 0       | -                                   | nothing
 0.03    | REJECTED         | 0/0.03 0       | -                                   | nothing
 0.03    | REJECTED         | 0/0.03 ?       | none                                | nothing
 93.5USDT| EXPIRED          | 0/0 0          | -                                   | nothing
 93.5USDT| REJECTED         | 0/0.03 0       | none                                | nothing
 # Not over, whatever else it says.
 0.03    | NEW              | 0/0.03 0       | -                                   | open
 0.03    | NEW              | 0.03/0.03 93   | 0.03@93-0.00003ETH                  | open
 0.03    | PARTIALLY_FILLED | 0.02/0.03 62   | -                                   | open
 0.03    | PARTIALLY_FILLED | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | open
 0.03    | PENDING_NEW      | 0/0.03 0       | -                                   | open
 0.03    | PENDING_CANCEL   | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | open
 93.5USDT| NEW              | 0/0 0          | -                                   | open
 # A status that did not exist when this was written: only what can't become more is final.
 0.03    | MELTED           | 0/0.03 0       | -                                   | unclear
 0.03    | MELTED           | 0/0.03 0       | none                                | unclear
 0.03    | MELTED           | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | unclear
 0.03    | MELTED           | 0.03/0.03 93   | -                                   | missing
 0.03    | MELTED           | 0.03/0.03 93   | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 93.5USDT| MELTED           | 0/0 0          | -                                   | unclear
 93.5USDT| MELTED           | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | unclear
 93.5USDT| MELTED           | 0.03/0.03 93   | -                                   | missing
 93.5USDT| MELTED           | 0.03/0.03 93   | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 # It contradicts itself.
 0.03    | FILLED           | 0/0.03 0       | -                                   | missing
 0.03    | FILLED           | 0/0.03 0       | none                                | unclear
 0.03    | FILLED           | 0/0.03 0       | 0.03@93-0.00003ETH                  | executed 0.03 93 fee 0.00003ETH
 0.03    | FILLED           | 0/0.03 0       | 0.02@62-0.00002ETH                  | unclear
 0.03    | FILLED           | 0.02/0.03 62   | -                                   | not final
 0.03    | FILLED           | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | not final
 0.03    | FILLED           | 0.04/0.03 124  | 0.04@124-0.00004ETH                 | unclear
 0.03    | EXPIRED          | 0.04/0.03 124  | -                                   | unclear
 0.03    | EXPIRED          | 0/0.03 0       | 0.02@62-0.00002ETH                  | not final
 0.03    | CANCELED         | 0/0.03 ?       | 0.02@62-0.00002ETH                  | not final
 0.03    | REJECTED         | 0/0.03 0       | 0.02@62-0.00002ETH                  | not final
 0.03    | REJECTED         | 0.02/0.03 62   | -                                   | unclear
 0.03    | REJECTED         | 0.02/0.03 62   | 0.02@62-0.00002ETH                  | unclear
 0.03    | EXPIRED          | 0.02/0.03 0    | 0.02@0-0.00002ETH                   | unclear
";

#[test]
fn the_table_of_verdicts() {
    let rows = TABLE.lines().map(str::trim).filter(|row| !row.is_empty() && !row.starts_with('#'));
    for row in rows.skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [asked, status, shown, fills, expected] = cells[..] else { panic!("{row}") };
        let size = match asked.strip_suffix("USDT") {
            Some(amount) => Size::Quote(as_amount(decimal(amount))),
            None => Size::Base(as_quantity(decimal(asked))),
        };
        let intent = intent(Leg::Denominator, Plan { side: Side::Buy, size, limit: None });
        let (executed, quote) = shown.split_once(' ').expect("coins and an amount");
        let (executed, quantity) = executed.split_once('/').expect("executed / asked");
        let order = OrderSeen {
            status: status_named(status),
            quantity: as_quantity(decimal(quantity)),
            executed: as_quantity(decimal(executed)),
            quote: (quote != "?").then(|| as_amount(decimal(quote))),
            ..order_of(&intent)
        };
        let fills = match fills {
            "-" => None,
            "none" => Some(Vec::new()),
            fills => Some(fills.split(' ').filter(|word| !word.is_empty()).map(fill).collect()),
        };
        let verdict = judge(&intent, &pair(), &order, fills.as_deref()).expect("small numbers");
        match expected {
            "not final" => assert!(!matches!(verdict, Verdict::Final(_)), "{row}\n{verdict:?}"),
            expected => assert_eq!(in_words(&verdict), expected, "{row}\n{verdict:?}"),
        }
    }
}

/// The exchange's words. **Source**: Binance Spot REST, "Enums", order status.
fn status_named(name: &str) -> Status {
    match name {
        "NEW" | "PARTIALLY_FILLED" | "PENDING_NEW" | "PENDING_CANCEL" => Status::Open,
        "FILLED" => Status::Filled,
        "CANCELED" | "EXPIRED" | "EXPIRED_IN_MATCH" => Status::Ended,
        "REJECTED" => Status::Rejected,
        other => Status::Unknown(other.to_owned()),
    }
}

/// `0.03@93-0.00003ETH`: coins, for how much, and the fee.
fn fill(text: &str) -> Fill {
    let (traded, fee) = text.split_once('-').expect("a fee");
    let (quantity, quote) = traded.split_once('@').expect("a price");
    let asset = fee.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    Fill {
        quantity: as_quantity(decimal(quantity)),
        quote: as_amount(decimal(quote)),
        fee: as_quantity(decimal(fee.strip_suffix(asset).expect("a number before it"))),
        fee_asset: Asset::new(asset).expect("an asset"),
    }
}

fn in_words(verdict: &Verdict) -> String {
    let execution = match verdict {
        Verdict::Final(Outcome::Executed(execution)) => execution,
        Verdict::Final(Outcome::Expired) => return "nothing".to_owned(),
        Verdict::FillsMissing => return "missing".to_owned(),
        Verdict::Open => return "open".to_owned(),
        Verdict::Unclear(_) => return "unclear".to_owned(),
    };
    let Execution { quantity, quote, fees, .. } = execution;
    let (quantity, quote) = (quantity.value().normalize(), quote.value().normalize());
    let mut words = vec![format!("executed {quantity} {quote}")];
    let kept = [("ETH", fees.base.value()), ("USDT", fees.quote.value())].into_iter();
    let kept = kept.filter(|(_, fee)| !fee.is_zero());
    let others = fees.other.iter().map(|(asset, fee)| (asset.code(), fee.value()));
    let fees: Vec<String> =
        kept.chain(others).map(|(asset, fee)| format!("{}{asset}", fee.normalize())).collect();
    if !fees.is_empty() {
        words.push(format!("fee {}", fees.join(" ")));
    }
    words.join(" ")
}

// --- laws --------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_final_is_what_the_fills_and_the_order_say(case in case()) {
        let Case { intent, order, fills } = &case;
        let verdict = judge(intent, &pair(), order, fills.as_deref()).expect("everyday numbers");
        let fills = fills.as_deref().unwrap_or_default();
        let (quantity, quote) = sums(fills);
        match verdict {
            Verdict::Final(Outcome::Executed(done)) => {
                // FILLED with nothing executed is empty words; the trades decide, if they are all.
                let is_empty = order.status == Status::Filled && order.executed.is_zero();
                let told = if is_empty { order.quantity } else { order.executed };
                prop_assert_eq!(units_of(told.value()), quantity);
                prop_assert_eq!(units_of(done.quantity.value()), quantity);
                let apart = (units_of(done.quote.value()) - quote).unsigned_abs();
                prop_assert!(apart <= fills.len() as u128, "more than each fill's last decimal");
                prop_assert!(is_empty || order.quote.is_none_or(|shown| shown == done.quote));
                prop_assert!(quantity > 0 && order.executed <= order.quantity);
                prop_assert_eq!(done.side, intent.ordered.plan.side);
            }
            Verdict::Final(Outcome::Expired) => {
                prop_assert!(order.executed.is_zero(), "what was executed is lost");
                prop_assert!(fills.is_empty(), "fills are lost");
                prop_assert!(matches!(order.status, Status::Ended | Status::Rejected));
            }
            Verdict::FillsMissing => prop_assert!(
                !order.executed.is_zero() || quantity > 0 || order.status == Status::Filled
            ),
            Verdict::Open => prop_assert!(matches!(order.status, Status::Open | Status::Filled)),
            Verdict::Unclear(why) => prop_assert!(!why.is_empty() && !why.contains('\n')),
        }
        if order.status == Status::Open {
            let verdict = judge(intent, &pair(), order, Some(fills)).expect("everyday numbers");
            prop_assert!(!matches!(verdict, Verdict::Final(_)), "more of it may be executed");
        }
    }

    #[test]
    fn an_order_that_is_over_and_adds_up_is_final_with_all_of_its_fees(mut case in over()) {
        let Case { intent, order, fills } = &mut case;
        let fills = fills.as_mut().expect("they are known");
        let verdict = judge(intent, &pair(), order, Some(fills)).expect("everyday numbers");
        let Verdict::Final(Outcome::Executed(done)) = &verdict else {
            return Err(TestCaseError::fail(format!("{verdict:?}")));
        };
        let mut fees: BTreeMap<&str, i128> = BTreeMap::new();
        for fill in fills.iter().filter(|fill| !fill.fee.is_zero()) {
            *fees.entry(fill.fee_asset.code()).or_default() += units_of(fill.fee.value());
        }
        let pair = pair();
        let base = fees.remove(pair.asset(intent.ordered.leg).code()).unwrap_or(0);
        prop_assert_eq!(units_of(done.fees.base.value()), base);
        let quote = fees.remove("USDT").unwrap_or(0);
        prop_assert_eq!(units_of(done.fees.quote.value()), quote);
        let others = done.fees.other.iter();
        let others: BTreeMap<&str, i128> =
            others.map(|(asset, fee)| (asset.code(), units_of(fee.value()))).collect();
        prop_assert_eq!(others, fees);

        // Nearest of eight decimals: no more than half of the last one away.
        let (quantity, quote) = (units_of(done.quantity.value()), units_of(done.quote.value()));
        let away = units_of(done.price.value()) * quantity - quote * UNIT;
        prop_assert!(2 * away.abs() <= quantity, "{} for {}", done.quote, done.quantity);

        fills.reverse();
        let again = judge(intent, &pair, order, Some(fills)).expect("everyday numbers");
        prop_assert_eq!(&again, &verdict, "the order of the fills means nothing");
        order.quote = None;
        let again = judge(intent, &pair, order, Some(fills)).expect("everyday numbers");
        prop_assert_eq!(&again, &verdict, "where the amount is not available the trades decide");
        let unknown = judge(intent, &pair, order, None).expect("everyday numbers");
        prop_assert_eq!(unknown, Verdict::FillsMissing, "at what fee is not guessed");
    }

    #[test]
    fn fills_that_are_short_or_too_many_are_asked_for_again(
        case in over(),
        place in any::<prop::sample::Index>(),
        twice in any::<bool>(),
    ) {
        let Case { intent, order, fills } = case;
        let mut fills = fills.expect("they are known");
        let place = place.index(fills.len());
        if twice {
            let fill = fills[place].clone();
            fills.push(fill);
        } else {
            fills.remove(place);
        }
        let verdict = judge(&intent, &pair(), &order, Some(&fills)).expect("everyday numbers");
        prop_assert_eq!(verdict, Verdict::FillsMissing);
    }

    #[test]
    fn an_order_that_is_not_the_one_that_was_asked_for_is_unclear(
        case in prop_oneof![case(), over()],
        other in 0..6_usize,
        by in 1..=UNIT,
    ) {
        let Case { intent, mut order, fills } = case;
        let more = |value| units_of(value) + by;
        match (other, intent.ordered.plan.size) {
            (0, _) => order.client_order_id.push('x'),
            (1, _) => order.symbol = if order.symbol == "BTCUSDT" { "ETHUSDT" } else { "BTCUSDT" }.to_owned(),
            (2, _) => order.side = if order.side == Side::Buy { Side::Sell } else { Side::Buy },
            (3, _) => order.kind = if order.kind == "MARKET" { "LIMIT" } else { "MARKET" }.to_owned(),
            (4, _) => order.kind = "LIMIT_MAKER".to_owned(),
            (_, Size::Base(asked)) => order.quantity = quantity_of(more(asked.value())),
            (_, Size::Quote(asked)) => order.quote_amount = amount_of(more(asked.value())),
        }
        for fills in [None, Some(&[][..]), fills.as_deref()] {
            let verdict = judge(&intent, &pair(), &order, fills).expect("everyday numbers");
            prop_assert!(matches!(verdict, Verdict::Unclear(_)), "{verdict:?} on {order:?}");
        }
    }

    #[test]
    fn more_than_was_asked_for_is_unclear(case in over(), by in 1..=UNIT) {
        let Case { intent, mut order, fills } = case;
        order.executed = quantity_of(units_of(order.quantity.value()) + by);
        let verdict = judge(&intent, &pair(), &order, fills.as_deref()).expect("everyday numbers");
        prop_assert!(matches!(verdict, Verdict::Unclear(_)), "{verdict:?}");
    }
}

#[test]
fn numbers_beyond_computation_are_an_error_and_no_guess() {
    let most = as_quantity(decimal("9999999999999999999.99999999"));
    let plan = Plan { side: Side::Sell, size: Size::Base(most), limit: None };
    let intent = intent(Leg::Numerator, plan);
    let order = OrderSeen { executed: most, quote: None, ..order_of(&intent) };
    let fill = Fill {
        quantity: most,
        quote: as_amount(decimal("1")),
        fee: Quantity::ZERO,
        fee_asset: Asset::new("USDT").expect("an asset"),
    };
    assert!(judge(&intent, &pair(), &order, Some(&[fill.clone(), fill])).is_err());
}

// --- what is tried -----------------------------------------------------------------------------

/// An intent and what is shown of it.
#[derive(Debug, Clone)]
struct Case {
    intent: Intent,
    order: OrderSeen,
    fills: Option<Vec<Fill>>,
}

/// Anything that may be shown, the contradictions among it; in about half of the cases order and
/// fills agree.
fn case() -> impl Strategy<Value = Case> {
    let off = || prop_oneof![3 => Just(0), 1 => 1..=UNIT];
    (over(), status(), off(), off(), off(), 0..4_u8).prop_map(
        |(mut case, status, executed, quantity, quote, known)| {
            let Case { intent, order, fills } = &mut case;
            order.status = status;
            let shift = |value, by: i128| (units_of(value) + by - UNIT / 2 * (by % 2)).max(0);
            if executed != 0 {
                order.executed = quantity_of(shift(order.executed.value(), executed));
            }
            if quantity != 0 && matches!(intent.ordered.plan.size, Size::Quote(_)) {
                order.quantity = quantity_of(shift(order.quantity.value(), quantity));
            }
            if quote != 0 {
                order.quote = order.quote.map(|shown| amount_of(shift(shown.value(), quote)));
            }
            match known {
                0 => *fills = None,
                1 => *fills = Some(Vec::new()),
                2 => {
                    order.executed = Quantity::ZERO;
                    order.quote = Some(Amount::ZERO);
                }
                _ => {}
            }
            case
        },
    )
}

/// An order that is over and adds up.
fn over() -> impl Strategy<Value = Case> {
    let fee = (0..3_usize, prop_oneof![Just(0), 1..=UNIT]);
    let fill = (1..=10 * UNIT, 1..=100_000 * UNIT, fee);
    let fills = prop::collection::vec(fill, 1..5);
    let rest = prop_oneof![Just(0), 1..=UNIT];
    (leg(), fills, rest, any::<[bool; 3]>(), prop_oneof![Just(Status::Filled), status()]).prop_map(
        |(leg, fills, rest, [buys, by_amount, is_limit], status)| {
            let fills: Vec<Fill> = fills
                .into_iter()
                .map(|(quantity, quote, (asset, fee))| Fill {
                    quantity: quantity_of(quantity),
                    quote: amount_of(quote),
                    fee: quantity_of(fee),
                    fee_asset: [pair().asset(leg), pair().quote(), &bnb()][asset].clone(),
                })
                .collect();
            let (quantity, quote) = sums(&fills);
            // Only what is over with a part of it has a rest.
            let rest = if matches!(status, Status::Ended) { rest } else { 0 };
            let status = match status {
                Status::Open | Status::Rejected => Status::Filled,
                status => status,
            };
            let by_amount = by_amount && buys && !is_limit;
            let size = if by_amount {
                Size::Quote(amount_of(quote + rest))
            } else {
                Size::Base(quantity_of(quantity + rest))
            };
            let limit = is_limit.then(|| Price::new(decimal("3100")).expect("a price"));
            let side = if buys { Side::Buy } else { Side::Sell };
            let intent = intent(leg, Plan { side, size, limit });
            let order = OrderSeen {
                status,
                quantity: quantity_of(quantity + rest),
                executed: quantity_of(quantity),
                quote: Some(amount_of(quote)),
                ..order_of(&intent)
            };
            Case { intent, order, fills: Some(fills) }
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Open,
        Status::Filled,
        Status::Ended,
        Status::Rejected,
        Status::Unknown("MELTED".to_owned()),
    ])
}

fn sums(fills: &[Fill]) -> (i128, i128) {
    let quantity = fills.iter().map(|fill| units_of(fill.quantity.value())).sum();
    (quantity, fills.iter().map(|fill| units_of(fill.quote.value())).sum())
}

fn intent(leg: Leg, plan: Plan) -> Intent {
    let purpose = match plan.side {
        Side::Buy => Purpose::Entry(ZScore::new(2.5).expect("finite")),
        Side::Sell => Purpose::Exit { cools: false },
    };
    Intent {
        client_order_id: "ouro-0123456789-1709295300-B0".to_owned(),
        candle: Timestamp::EPOCH,
        ordered: Ordered { leg, purpose, plan },
        touch: Touch {
            price: Price::new(decimal("3100")).expect("a price"),
            rules: SymbolRules::unlimited(),
        },
        timestamp: Timestamp::EPOCH,
        recv_window_ms: 5000,
        before: Balances::default(),
        newest_order: None,
    }
}

/// The order as the exchange took it, before anything was executed.
fn order_of(intent: &Intent) -> OrderSeen {
    let Ordered { leg, plan, .. } = &intent.ordered;
    let (quantity, quote_amount) = match plan.size {
        Size::Base(quantity) => (quantity, Amount::ZERO),
        Size::Quote(amount) => (Quantity::ZERO, amount),
    };
    OrderSeen {
        symbol: pair().symbol(*leg).code(),
        order_id: 7,
        client_order_id: intent.client_order_id.clone(),
        side: plan.side,
        kind: if plan.limit.is_some() { Kind::Limit } else { Kind::Market }.name().to_owned(),
        status: Status::Filled,
        quantity,
        quote_amount,
        executed: Quantity::ZERO,
        quote: Some(Amount::ZERO),
        time: Timestamp::EPOCH,
    }
}

fn pair() -> Pair {
    let asset = |code: &str| Asset::new(code).expect("an asset");
    let symbol = |code: &str| Symbol { base: asset(code), quote: asset("USDT") };
    Pair::new(symbol("BTC"), symbol("ETH")).expect("two legs")
}

fn bnb() -> Asset {
    Asset::new("BNB").expect("an asset")
}
