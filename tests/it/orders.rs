//! Orders with limits and real fills: what may be asked of the exchange, and what the book makes of
//! what it says was executed. Against whole numbers of the smallest unit.

use std::collections::BTreeMap;

use ouroboros::trading::book::{Book, Position};
use ouroboros::trading::fill;
use ouroboros::trading::market::{Asset, Leg, Side, Symbol, SymbolRules};
use ouroboros::trading::money::{BasisPoints, Overflow, Price, Quantity};
use ouroboros::trading::order::{
    self, Execution, Fees, Kind, Ordered, Outcome, Plan, Purpose, Refusal, Size, Terms, Touch,
};
use ouroboros::trading::strategy::ZScore;
use ouroboros::trading::time::Timestamp;
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::support::law::{UNIT, amount_of, bps, config, leg, quantity_of, step_of, units_of};
use crate::support::table::decimal;

// --- what is asked -----------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_limit_buy_never_spends_more_than_the_amount(scene in scene()) {
        let Scene { terms, rules, touch, tick } = &scene;
        let Ok(plan) = order::buy(terms, terms.amount, *touch, rules) else { return Ok(()) };
        prop_assert_eq!(plan.side, Side::Buy);
        let Some(most) = terms.max_slippage else {
            prop_assert_eq!((plan.limit, plan.kind()), (None, Kind::Market));
            return Ok(());
        };
        prop_assert_eq!((plan.kind(), terms.kind()), (Kind::Limit, Kind::Limit));
        let limit = units_of(plan.limit.expect("a limit").value());
        let touch = units_of(touch.value());
        prop_assert_eq!(limit % tick, 0, "whole ticks");
        prop_assert!(limit * BPS <= touch * (BPS + parts(most)), "within the bound");
        prop_assert!((limit + tick) * BPS > touch * (BPS + parts(most)), "and no nearer");
        prop_assert!(limit >= touch, "a buy below the best ask would never be filled");
        let Size::Base(quantity) = plan.size else { panic!("a limit order names its quantity") };
        let quantity = units_of(quantity.value());
        prop_assert!(quantity * limit <= units_of(terms.amount.value()) * UNIT, "wholly filled");
        prop_assert!(quantity > 0 && quantity % units_of(rules.step.value()) == 0);
    }

    #[test]
    fn a_limit_sell_is_taken_and_never_below_the_bound(
        scene in scene(),
        available in prop_oneof![(Just(true), 900..1_400_i128), (Just(false), 0..10 * UNIT)],
    ) {
        let Scene { terms, rules, touch, tick } = &scene;
        // Often just about what the exchange takes.
        let least = units_of(rules.min_notional) * UNIT / units_of(touch.value());
        let available = match available {
            (true, thousandths) => least * thousandths / 1000,
            (false, units) => units,
        };
        let plan = order::sell(terms, quantity_of(available), *touch, rules);
        let Ok(Some(plan)) = plan else { return Ok(()) };
        prop_assert_eq!((plan.side, plan.kind()), (Side::Sell, terms.kind()));
        let Size::Base(quantity) = plan.size else { panic!("a sell names its quantity") };
        let quantity = units_of(quantity.value());
        prop_assert!(quantity > 0 && quantity <= available);
        prop_assert_eq!(quantity % units_of(rules.step.value()), 0);
        let Some(most) = terms.max_slippage else {
            prop_assert_eq!(plan.limit, None);
            return Ok(());
        };
        let limit = units_of(plan.limit.expect("a limit").value());
        let touch = units_of(touch.value());
        prop_assert_eq!(limit % tick, 0, "whole ticks");
        prop_assert!(limit * BPS >= touch * (BPS - parts(most)), "within the bound");
        // The exchange judges a limit order by its own price, so the limit may be nearer for that.
        let least = units_of(rules.min_notional);
        let is_near = (limit - tick) * BPS < touch * (BPS - parts(most));
        let is_needed = quantity * (limit - tick) < least * UNIT;
        prop_assert!(is_near || is_needed, "and no nearer than it must be");
        prop_assert!(limit - tick < touch, "a sell above the best bid would never be filled");
        let most = rules.max_quantity.map(|most| units_of(most.value()));
        let is_cut = most.is_some_and(|most| most < available);
        prop_assert!(is_cut || quantity * limit >= least * UNIT, "{plan:?} is too little");
    }

    #[test]
    fn an_amount_is_rounded_down_to_what_the_exchange_takes(scene in scene()) {
        let Scene { terms, rules, touch, .. } = &scene;
        let terms = Terms { max_slippage: None, ..*terms };
        let plan = order::buy(&terms, terms.amount, *touch, rules);
        let (amount, step) = (units_of(terms.amount.value()), units_of(rules.quote_step.value()));
        match plan {
            Ok(Plan { size: Size::Quote(spent), .. }) => {
                prop_assert!(rules.takes_quote_amounts);
                prop_assert_eq!(units_of(spent.value()), amount / step * step);
            }
            // More than one order may have.
            Ok(Plan { size: Size::Base(quantity), .. }) => {
                let most = rules.max_quantity.map(|most| units_of(most.value()));
                let lot = units_of(rules.step.value());
                prop_assert_eq!(Some(units_of(quantity.value())), most.map(|most| most / lot * lot));
            }
            Err(Refusal::NotTaken { kind }) => {
                prop_assert!(!rules.takes_quote_amounts, "{kind}");
            }
            Err(Refusal::NotSellable { .. }) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn what_the_symbol_does_not_take_is_not_asked(
        scene in scene(),
        is_halted in any::<bool>(),
        available in 0..10 * UNIT,
    ) {
        let Scene { terms, mut rules, touch, .. } = scene;
        if is_halted {
            rules.status = "BREAK".to_owned();
        } else {
            rules.not_taken = Some("MARKET".to_owned());
        }
        let expected = if is_halted {
            Refusal::NotTrading { status: "BREAK".to_owned() }
        } else {
            Refusal::NotTaken { kind: "MARKET".to_owned() }
        };
        let bought = order::buy(&terms, terms.amount, touch, &rules);
        let sold = order::sell(&terms, quantity_of(available), touch, &rules);
        prop_assert_eq!(bought, Err(expected.clone()));
        prop_assert_eq!(sold, Err(expected));
    }

    // --- what was executed ---------------------------------------------------------------------

    #[test]
    fn the_book_says_what_the_fills_did(
        paper in any::<bool>(),
        trips in prop::collection::vec(trip(), 1..5),
    ) {
        let mut keeper = Keeper::new(paper);
        for trip in trips {
            keeper.live_through(&trip)?;
        }
    }
}

#[test]
fn fees_of_every_kind_worked_by_hand() {
    // Bought 0.05 for 150, fees 0.00005 ETH, 0.01 USDT and 0.0002 BNB: 0.04995 held for 150.01.
    let mut keeper = Keeper::new(false);
    let fees = [5_000, 1_000_000, 20_000];
    keeper.buy(Leg::Denominator, execution(Side::Buy, 5_000_000, 150 * UNIT, fees));
    let holding = keeper.book.position.holding().expect("it was bought").clone();
    assert_eq!(holding.quantity, quantity_of(4_995_000));
    assert_eq!(holding.cost, amount_of(150 * UNIT + 1_000_000));
    // Sold 0.03 for 93 less 0.093 USDT, 0.00001 ETH and 0.0001 BNB: 0.01994 are left.
    let touch = touch("3100", 10_000, 0);
    let sold = execution(Side::Sell, 3_000_000, 93 * UNIT, [1_000, 9_300_000, 10_000]);
    keeper.sell(sold, &touch);
    assert!(matches!(keeper.book.position, Position::Leaving(_)), "0.0199 can be sold");
    assert_eq!(keeper.book.available(), Ok(quantity_of(1_994_000)));
    // Sold 0.0199 for 61.69 less 0.06169 USDT: 0.00004 is dust, and 4.52531 were gained.
    let sold = execution(Side::Sell, 1_990_000, 6_169_000_000, [0, 6_169_000, 0]);
    keeper.sell(sold, &touch);
    let book = &keeper.book;
    assert_eq!(book.position, Position::Flat { cooling: false });
    assert_eq!(book.dust.of(Leg::Denominator), quantity_of(4_000));
    assert_eq!(book.realized.value(), decimal("4.52531"));
    let bnb = Asset::new("BNB").expect("an asset");
    assert_eq!(book.other_fees, BTreeMap::from([(bnb, quantity_of(30_000))]));
    assert_eq!(book.round_trips, 1);
}

#[test]
fn a_fee_that_takes_all_that_was_bought_leaves_nothing_to_hold() {
    for (fee, dust) in [(100, 0), (101, 0), (5_000, 0), (100, 7)] {
        let mut keeper = Keeper::new(false);
        if dust > 0 {
            keeper.buy(Leg::Numerator, execution(Side::Buy, dust + 10, UNIT, [0; 3]));
            keeper.sell(execution(Side::Sell, 10, UNIT, [0; 3]), &touch("3100", 10_000, 0));
        }
        let (trips, realized) = (keeper.book.round_trips, keeper.book.realized.value());
        keeper.buy(Leg::Numerator, execution(Side::Buy, 100, 3 * UNIT, [fee, 0, 0]));
        let book = &keeper.book;
        assert_eq!(book.position, Position::Flat { cooling: false }, "{fee}");
        assert_eq!(book.dust.of(Leg::Numerator), quantity_of(dust), "what was there stays there");
        assert_eq!(book.realized.value(), realized - decimal("3"), "it is paid for all the same");
        assert_eq!(book.round_trips, trips + 1);
    }
}

#[test]
fn a_limit_order_is_judged_by_its_own_price() {
    // 0.105 coins are worth 5.25 at the best bid of 50, and 4.725 at a limit a tenth below it.
    let rules = SymbolRules { min_notional: decimal("5"), ..SymbolRules::unlimited() };
    let touch = Price::new(decimal("50")).expect("a price");
    let market = Terms {
        amount: amount_of(550_000_000),
        fee: BasisPoints::default(),
        slippage: BasisPoints::default(),
        max_slippage: None,
    };
    let limit = Terms { max_slippage: Some(bps(10_000_000)), ..market };
    let coins = |text: &str| Quantity::new(decimal(text)).expect("a quantity");
    for (terms, available, is_taken) in
        [(market, "0.105", true), (market, "0.0999", false), (limit, "0.0999", false)]
    {
        let plan = order::sell(&terms, coins(available), touch, &rules).expect("small numbers");
        assert_eq!(plan.is_some(), is_taken, "{available} with {terms:?}");
    }
    // So the limit is not as far away as it may be, but where they are worth enough: 5 / 0.105.
    for (available, least) in [("0.105", "47.61904"), ("0.12", "45")] {
        let plan = order::sell(&limit, coins(available), touch, &rules).expect("small numbers");
        let limit = plan.expect("it is worth enough").limit.expect("a limit").value();
        assert!(limit >= decimal(least) && limit < decimal(least) + decimal("0.0001"), "{limit}");
    }
}

#[test]
fn an_entry_is_taken_from_the_least_on_that_could_be_sold_again() {
    let touch = Price::new(decimal("50")).expect("a price");
    let none = BasisPoints::default();
    let by_worth = SymbolRules { min_notional: decimal("5"), ..SymbolRules::unlimited() };
    let by_size = SymbolRules { min_quantity: quantity_of(UNIT / 10), ..SymbolRules::unlimited() };
    // A twentieth more than 5 in worth, or a tenth of a coin; and a smallest unit less of each.
    for (rules, least) in [(by_worth, 525 * UNIT / 100), (by_size, 5 * UNIT)] {
        for (amount, is_taken) in [(least, true), (least - 1, false)] {
            let amount = amount_of(amount);
            let terms = Terms { amount, fee: none, slippage: none, max_slippage: None };
            match order::buy(&terms, amount, touch, &rules) {
                Ok(_) => assert!(is_taken, "{amount}"),
                Err(Refusal::NotSellable { .. }) => assert!(!is_taken, "{amount}"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_refusal_names_what_is_traded_and_every_number_that_led_to_it() {
    let asset = |code: &str| Asset::new(code).expect("an asset");
    let symbol = Symbol { base: asset("ETH"), quote: asset("USDC") };
    let kind = || "LIMIT by whim".to_owned();
    let rows = [
        (
            Refusal::Balance { amount: amount_of(150 * UNIT), free: amount_of(149 * UNIT + 1) },
            vec!["150.00000000 USDC", "149.00000001 USDC"],
        ),
        (Refusal::NotTaken { kind: kind() }, vec!["ETHUSDC", "LIMIT by whim", "MAX_SLIPPAGE_BPS"]),
        (Refusal::NotTrading { status: "BREAK".to_owned() }, vec!["ETHUSDC", "BREAK"]),
        (
            Refusal::NotSellable {
                quantity: quantity_of(7),
                worth: amount_of(11),
                min_quantity: quantity_of(13),
                min_notional: decimal("5.25"),
            },
            vec!["ETHUSDC", "0.00000007", "0.00000011 USDC", "0.00000013", "5.25 USDC"],
        ),
        (Refusal::from(Overflow), vec!["ETHUSDC", "too large"]),
    ];
    for (refusal, named) in rows {
        let sentence = refusal.sentence(&symbol);
        assert!(!sentence.contains('\n') && !sentence.contains("  "), "{sentence}");
        for name in named {
            assert!(sentence.contains(name), "`{name}` is not in: {sentence}");
        }
    }
}

#[test]
fn an_order_and_its_terms_are_of_the_kind_that_the_bound_says() {
    let plan = |limit| Plan { side: Side::Sell, size: Size::Base(quantity_of(1)), limit };
    let limit = Price::new(decimal("3100")).expect("a price");
    assert_eq!((plan(None).kind(), plan(Some(limit)).kind()), (Kind::Market, Kind::Limit));
    let none = BasisPoints::default();
    let terms =
        |max_slippage| Terms { amount: amount_of(1), fee: none, slippage: none, max_slippage };
    assert_eq!((terms(None).kind(), terms(Some(none)).kind()), (Kind::Market, Kind::Limit));
    assert_eq!([Kind::Market, Kind::Limit].map(Kind::name), ["MARKET", "LIMIT"]);
}

/// Someone who writes down what the exchange says, in units of 0.00000001 of each asset.
struct Keeper {
    book: Book,
    cash: i128,
    coins: [i128; 2],
    bnb: i128,
    /// Of the round trip that is under way, and of those that are over.
    gained: i128,
    realized: i128,
}

/// An entry, and how its exit goes: parts of what there is, in thousandths, with fees.
#[derive(Debug, Clone)]
struct Trip {
    leg: Leg,
    bought: (i128, i128, [i128; 3]),
    sales: Vec<(i128, i128, [i128; 3])>,
    touch: Touch,
}

impl Keeper {
    fn new(paper: bool) -> Self {
        let opening = 1_000_000 * UNIT;
        let book = if paper { Book::open(amount_of(opening)) } else { Book::unclaimed() };
        Self { book, cash: opening, coins: [0, 0], bnb: 0, gained: 0, realized: 0 }
    }

    fn live_through(&mut self, trip: &Trip) -> Result<(), TestCaseError> {
        if self.book.position.holding().is_none() {
            let (quantity, quote, fees) = trip.bought;
            self.buy(trip.leg, execution(Side::Buy, quantity, quote, fees));
            self.check()?;
        }
        for (part, quote, fees) in &trip.sales {
            let available = units_of(self.book.available().expect("small").value());
            let quantity = available * part / 1000;
            if quantity == 0 {
                // Nothing of it was executed: it is due all the same.
                let before = self.book.clone();
                let settled = self.settle(&Outcome::Expired, Side::Sell, &trip.touch);
                let holds = before.position.holding().is_some();
                prop_assert_eq!(matches!(settled.position, Position::Leaving(_)), holds);
                let same = Book { position: before.position.clone(), ..settled };
                prop_assert_eq!(same, before);
                continue;
            }
            let [base, kept, bnb] = *fees;
            let fees = [base, kept.min(*quote), bnb];
            self.sell(execution(Side::Sell, quantity, *quote, fees), &trip.touch);
            self.check()?;
        }
        Ok(())
    }

    fn settle(&self, outcome: &Outcome, side: Side, touch: &Touch) -> Book {
        let leg = self.book.position.holding().map_or(Leg::Numerator, |holding| holding.leg);
        let plan = Plan { side, size: Size::Base(quantity_of(UNIT)), limit: None };
        let ordered = Ordered { leg, purpose: Purpose::Exit { cools: false }, plan };
        let (candle, today) = (Timestamp::EPOCH, Timestamp::EPOCH);
        fill::settle(self.book.clone(), &ordered, candle, outcome, touch, today).expect("small")
    }

    fn buy(&mut self, leg: Leg, bought: Execution) {
        let [base, kept, bnb] = fees_of(&bought);
        let (quantity, quote) = (units_of(bought.quantity.value()), units_of(bought.quote.value()));
        self.cash -= quote + kept;
        self.gained = -(quote + kept);
        // What a fee takes beyond what was bought was the owner's.
        self.coins[index(leg)] += (quantity - base).max(0);
        self.bnb += bnb;
        let purpose = Purpose::Entry(ZScore::new(2.5).expect("finite"));
        let plan = Plan { side: Side::Buy, size: Size::Quote(bought.quote), limit: None };
        let ordered = Ordered { leg, purpose, plan };
        let (touch, today) = (touch("3100", 1, 0), Timestamp::EPOCH);
        let book = std::mem::replace(&mut self.book, Book::unclaimed());
        let outcome = Outcome::Executed(bought);
        let book = fill::settle(book, &ordered, Timestamp::EPOCH, &outcome, &touch, today);
        self.book = book.expect("small numbers");
        self.note_the_end();
    }

    fn sell(&mut self, sold: Execution, touch: &Touch) {
        let holding = self.book.position.holding().expect("something is held");
        let coins = &mut self.coins[index(holding.leg)];
        let [base, kept, bnb] = fees_of(&sold);
        let (quantity, quote) = (units_of(sold.quantity.value()), units_of(sold.quote.value()));
        self.cash += quote - kept;
        self.gained += quote - kept;
        *coins = (*coins - quantity - base).max(0);
        self.bnb += bnb;
        let rest = *coins;
        self.book = self.settle(&Outcome::Executed(sold), Side::Sell, touch);
        // It goes on as long as the exchange would take a further order.
        let step = units_of(touch.rules.step.value());
        let whole = rest / step * step;
        let worth = whole * units_of(touch.price.value()) / UNIT;
        let least = units_of(touch.rules.min_quantity.value());
        let goes_on = whole > 0 && whole >= least && worth >= units_of(touch.rules.min_notional);
        assert_eq!(matches!(self.book.position, Position::Leaving(_)), goes_on, "{rest} are left");
        self.note_the_end();
    }

    fn note_the_end(&mut self) {
        if self.book.position.holding().is_none() {
            self.realized += std::mem::take(&mut self.gained);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let book = &self.book;
        if let Some(cash) = book.cash {
            prop_assert_eq!(units_of(cash.value()), self.cash);
        }
        prop_assert_eq!(units_of(book.realized.value()), self.realized);
        prop_assert_eq!(units_of(book.day.realized.value()), self.realized);
        let holding = book.position.holding();
        if let Some(holding) = holding {
            let gained = units_of(holding.proceeds.value()) - units_of(holding.cost.value());
            prop_assert_eq!(gained, self.gained, "of the trip under way");
            prop_assert!(!holding.quantity.is_zero());
        }
        for leg in Leg::BOTH {
            let held = holding.filter(|holding| holding.leg == leg);
            let held = held.map_or(0, |holding| units_of(holding.quantity.value()));
            let dust = units_of(book.dust.of(leg).value());
            prop_assert_eq!(held + dust, self.coins[index(leg)], "coins of {}", leg);
        }
        let bnb: i128 = book.other_fees.values().map(|fee| units_of(fee.value())).sum();
        prop_assert_eq!(bnb, self.bnb);
        prop_assert!(book.other_fees.keys().all(|asset| asset.code() == "BNB"));
        Ok(())
    }
}

fn fees_of(execution: &Execution) -> [i128; 3] {
    let Fees { base, quote, other } = &execution.fees;
    let other = other.values().map(|fee| units_of(fee.value())).sum();
    [units_of(base.value()), units_of(quote.value()), other]
}

/// Fees in the base asset, in the quote asset, and in BNB.
fn execution(side: Side, quantity: i128, quote: i128, fees: [i128; 3]) -> Execution {
    let (quantity, quote) = (quantity_of(quantity), amount_of(quote));
    let [base, kept, bnb] = fees;
    let bnb = (bnb > 0).then(|| (Asset::new("BNB").expect("an asset"), quantity_of(bnb)));
    let fees =
        Fees { base: quantity_of(base), quote: amount_of(kept), other: bnb.into_iter().collect() };
    // For people; nothing is computed from it.
    let price = Price::average(quote, quantity).unwrap_or(Price::new(Decimal::ONE).expect("one"));
    Execution { side, quantity, quote, price, fees }
}

fn touch(price: &str, step: i128, min_quantity: i128) -> Touch {
    let rules = SymbolRules {
        step: step_of(step),
        min_quantity: quantity_of(min_quantity),
        min_notional: Decimal::from(5),
        ..SymbolRules::unlimited()
    };
    Touch { price: Price::new(decimal(price)).expect("a price"), rules }
}

fn index(leg: Leg) -> usize {
    usize::from(leg == Leg::Denominator)
}

// --- what is tried -----------------------------------------------------------------------------

/// What an order is made from; the best price is in whole ticks, as it is at the exchange.
#[derive(Debug, Clone)]
struct Scene {
    terms: Terms,
    rules: SymbolRules,
    touch: Price,
    /// **Units**: 0.00000001.
    tick: i128,
}

fn scene() -> impl Strategy<Value = Scene> {
    let tick = prop::sample::select(vec![1, 7, 1_000, 1_000_000, UNIT]);
    let bps_or_none = prop_oneof![
        3 => prop::sample::select(vec![0_i64, 1, 50_000, 100_000, 1_000_000, 20_000_000]).prop_map(Some),
        1 => Just(None),
    ];
    let lot = prop::sample::select(vec![1, 7, 1_000, 10_000, UNIT / 10]);
    let quote_step = prop::sample::select(vec![1, 1_000_000, UNIT]);
    let notional = prop::sample::select(vec!["0", "5", "10"]);
    let most = prop::option::of(prop::sample::select(vec![UNIT / 3, UNIT]));
    let amount = 1..500 * UNIT;
    (tick, 1..1_000_000_i128, bps_or_none, lot, quote_step, notional, most, amount, any::<bool>())
        .prop_map(|(tick, price, most_bps, lot, quote_step, notional, most, amount, by_amount)| {
            let rules = SymbolRules {
                step: step_of(lot),
                max_quantity: most.map(quantity_of),
                min_notional: decimal(notional),
                tick: Some(step_of(tick)),
                quote_step: step_of(quote_step),
                takes_quote_amounts: by_amount,
                ..SymbolRules::unlimited()
            };
            let terms = Terms {
                amount: amount_of(amount),
                fee: bps(100_000),
                slippage: BasisPoints::default(),
                max_slippage: most_bps.map(bps),
            };
            let touch = Decimal::from_i128_with_scale(price * tick, 8);
            Scene { terms, rules, touch: Price::new(touch).expect("above zero"), tick }
        })
}

fn trip() -> impl Strategy<Value = Trip> {
    let fee = || prop_oneof![2 => Just(0), 2 => 1..1_000_i128, 1 => 1..UNIT];
    let fees = || [fee(), fee(), fee()];
    let bought = (1..UNIT, 1..1_000 * UNIT, fees());
    let part = prop_oneof![Just(1000), Just(0), 1..=1000_i128, 990..=1000_i128];
    let sales = prop::collection::vec((part, 1..1_000 * UNIT, fees()), 0..5);
    let step = prop::sample::select(vec![1, 1_000, 10_000, UNIT / 10]);
    let least = prop::sample::select(vec![0, 1_000, UNIT / 100]);
    let price = prop::sample::select(vec!["0.5", "3100", "64250.01"]);
    (leg(), bought, sales, price, step, least).prop_map(
        |(leg, bought, sales, price, step, least)| Trip {
            leg,
            bought,
            sales,
            touch: touch(price, step, least),
        },
    )
}

/// In ten thousandths of a basis point.
fn parts(bps: BasisPoints) -> i128 {
    units_of(bps.value()) / 10_000
}

/// The whole, in ten thousandths of a basis point.
const BPS: i128 = 100_000_000;
