//! Money, books and windows as laws, each tried on thousands of cases.
//!
//! What is exact is compared with digits computed as at school, what has eight decimals with whole
//! numbers of the smallest unit; nothing of the program's own arithmetic is used to check it.

use std::cmp::Ordering;
use std::fmt;

use ouroboros::trading::book::{Book, Position};
use ouroboros::trading::candle::{Candle, Distrust, Fault, Legs, Window};
use ouroboros::trading::fill;
use ouroboros::trading::machine::{Cause, Decision, Signal, Stay, Transition};
use ouroboros::trading::market::{Asset, Leg, Pair, Side, Symbol, SymbolRules};
use ouroboros::trading::money::{
    Amount, BasisPoints, Overflow, Price, Profit, Quantity, Step as LotStep,
};
use ouroboros::trading::order::{self, Execution, Fees, Outcome, Refusal, Terms, Touch};
use ouroboros::trading::strategy::{self, ZScore};
use ouroboros::trading::time::{Interval, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::support::law::{
    EVERYDAY_UNITS, UNIT, amount_of, as_amount, as_quantity, basis_points, bps, config, leg, price,
    quantity_of, step, step_of, units, units_of,
};
use crate::support::table::decimal;

// --- rounding ----------------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_cost_is_the_exact_one_rounded_up(quantity in quantity(), price in price()) {
        let cost = Amount::cost_up(quantity, price).expect("everyday numbers fit");
        let exact = Exact::of(quantity.value()).times(&Exact::of(price.value()));
        prop_assert_eq!(Exact::of(cost.value()), exact.up());
        prop_assert!(Exact::of(cost.value()) >= exact);
        prop_assert!(Exact::of(cost.value()) < exact.plus(&Exact::of(SMALLEST)));
    }

    #[test]
    fn proceeds_are_the_exact_ones_rounded_down(quantity in quantity(), price in price()) {
        let proceeds = Amount::proceeds_down(quantity, price).expect("everyday numbers fit");
        let exact = Exact::of(quantity.value()).times(&Exact::of(price.value()));
        prop_assert_eq!(Exact::of(proceeds.value()), exact.down());
        prop_assert!(Exact::of(proceeds.value()) <= exact);
        prop_assert!(Exact::of(proceeds.value()).plus(&Exact::of(SMALLEST)) > exact);
    }

    #[test]
    fn a_fee_is_the_exact_one_rounded_up(units in units(), fee in basis_points()) {
        let (quantity, amount) = (quantity_of(units), amount_of(units));
        let share = Exact::of(fee.value()).times(&Exact::of("0.0001"));
        let exact = Exact::of(quantity.value()).times(&share);
        let coins = quantity.fee_up(fee).expect("everyday numbers fit");
        let quote = amount.fee_up(fee).expect("everyday numbers fit");
        prop_assert_eq!(Exact::of(coins.value()), exact.up());
        prop_assert_eq!(Exact::of(quote.value()), exact.up());
        prop_assert!(coins <= quantity && quote <= amount, "a fee never takes more than there is");
    }

    #[test]
    fn numbers_without_end_are_exact_or_refused(
        quantity in digits_to(8).prop_filter_map("a quantity", Quantity::new),
        price in any_price(),
        fee in basis_points(),
    ) {
        let exact = Exact::of(quantity.value()).times(&Exact::of(price.value()));
        expect_exact(Amount::cost_up(quantity, price).map(Amount::value), &exact, &exact.up())?;
        let down = exact.down();
        expect_exact(Amount::proceeds_down(quantity, price).map(Amount::value), &exact, &down)?;
        let share = Exact::of(fee.value()).times(&Exact::of("0.0001"));
        let exact = Exact::of(quantity.value()).times(&share);
        expect_exact(quantity.fee_up(fee).map(Quantity::value), &exact, &exact.up())?;
    }

    #[test]
    fn a_price_that_is_moved_is_not_rounded(price in price(), bps in basis_points()) {
        let share = Exact::of(bps.value()).times(&Exact::of("0.0001"));
        let exact = Exact::of(price.value());
        let raised = price.raised_by(bps).expect("everyday numbers fit");
        let lowered = price.lowered_by(bps).expect("less than the whole is taken");
        let part = exact.times(&share);
        prop_assert_eq!(Exact::of(raised.value()), exact.plus(&part));
        prop_assert_eq!(Exact::of(lowered.value()).plus(&part), exact);
    }

    #[test]
    fn a_price_of_any_length_is_not_rounded_when_it_is_moved(
        price in any_price(),
        bps in basis_points(),
    ) {
        let share = Exact::of(bps.value()).times(&Exact::of("0.0001"));
        let exact = Exact::of(price.value());
        let part = exact.times(&share);
        if let Some(raised) = price.raised_by(bps) {
            prop_assert_eq!(Exact::of(raised.value()), exact.plus(&part));
        }
        if let Some(lowered) = price.lowered_by(bps) {
            prop_assert_eq!(Exact::of(lowered.value()).plus(&part), exact);
        }
    }

    // --- quantities and steps ------------------------------------------------------------------

    #[test]
    fn a_quantity_is_rounded_down_to_its_step(units in units(), step in step()) {
        let floored = quantity_of(units).floor_to(step).expect("everyday numbers fit");
        let step = units_of(step.value());
        prop_assert_eq!(units_of(floored.value()), units / step * step);
    }

    #[test]
    fn what_a_budget_buys_costs_no_more_and_one_more_step_would(
        budget in units(),
        price in price(),
        step in step(),
    ) {
        let bought = Quantity::bought_with(amount_of(budget), price, step).expect("they fit");
        let (budget, price) = (Exact::of(amount_of(budget).value()), Exact::of(price.value()));
        let quantity = Exact::of(bought.value());
        prop_assert_eq!(units_of(bought.value()) % units_of(step.value()), 0);
        prop_assert!(quantity.times(&price) <= budget, "{bought} is too much");
        let more = quantity.plus(&Exact::of(step.value()));
        prop_assert!(more.times(&price) > budget, "{bought} is not all that it buys");
    }

    #[test]
    fn a_budget_that_is_spent_to_the_last_digit_is_spent(
        steps in 1..10_000_000_i128,
        price in price(),
        step in step(),
    ) {
        let quantity = quantity_of(steps * units_of(step.value()));
        let exact = Exact::of(quantity.value()).times(&Exact::of(price.value()));
        let cost = Amount::cost_up(quantity, price).expect("everyday numbers fit");
        prop_assert!(Quantity::bought_with(cost, price, step).expect("they fit") >= quantity);
        // A hair less than it costs buys a step less.
        let short = amount_of(units_of(cost.value()) - 1);
        prop_assert!(Exact::of(short.value()) < exact);
        let less = Quantity::bought_with(short, price, step).expect("everyday numbers fit");
        prop_assert!(less < quantity);
    }

    #[test]
    fn a_budget_without_end_buys_no_more_than_it_pays_or_nothing(
        budget in digits_to(8).prop_filter_map("an amount", Amount::new),
        price in any_price(),
        step in step(),
    ) {
        if let Ok(bought) = Quantity::bought_with(budget, price, step) {
            let (budget, price) = (Exact::of(budget.value()), Exact::of(price.value()));
            let quantity = Exact::of(bought.value());
            prop_assert!(quantity.times(&price) <= budget);
            prop_assert!(quantity.plus(&Exact::of(step.value())).times(&price) > budget);
        }
    }

    #[test]
    fn the_common_step_is_the_least_that_both_divide(
        a in 1..400_i128,
        b in 1..400_i128,
        zeros in 0..6_u32,
    ) {
        let ten = 10_i128.pow(zeros);
        let (a, b) = (a * ten, b * ten);
        // Found by trying, the way one does it by hand.
        let least = (1..=b).map(|times| times * a).find(|multiple| multiple % b == 0);
        let common = step_of(a).common(step_of(b)).expect("small numbers fit");
        prop_assert_eq!(Some(units_of(common.value())), least);
        prop_assert_eq!(step_of(b).common(step_of(a)), Some(common));
    }

    #[test]
    fn a_common_step_beyond_computation_is_none_and_never_a_wrong_one(
        a in any_step(),
        b in any_step(),
    ) {
        if let Some(common) = a.common(b) {
            let (common, a, b) = (common.value(), a.value(), b.value());
            prop_assert_eq!(units_of(common) % units_of(a), 0);
            prop_assert_eq!(units_of(common) % units_of(b), 0);
        }
    }

    // --- sums ----------------------------------------------------------------------------------

    #[test]
    fn sums_and_differences_are_exact_or_refused(
        a in digits_to(8).prop_filter_map("an amount", Amount::new),
        b in digits_to(8).prop_filter_map("an amount", Amount::new),
    ) {
        let [left, right] = [a, b].map(|one| Exact::of(one.value()));
        if let Ok(sum) = a.plus(b) {
            prop_assert_eq!(Exact::of(sum.value()), left.plus(&right));
        }
        match a.minus(b) {
            Some(rest) => prop_assert_eq!(Exact::of(rest.value()).plus(&right), left),
            None => prop_assert!(a < b),
        }
        let [coins, others] = [a, b].map(|one| as_quantity(one.value()));
        let (sum, rest) = (coins.plus(others).ok(), coins.minus(others));
        prop_assert_eq!(sum.map(Quantity::value), a.plus(b).ok().map(Amount::value));
        prop_assert_eq!(rest.map(Quantity::value), a.minus(b).map(Amount::value));
    }

    #[test]
    fn a_profit_is_what_came_back_less_what_was_paid(
        received in units(),
        paid in units(),
        before in -EVERYDAY_UNITS..=EVERYDAY_UNITS,
    ) {
        let profit = Profit::of(amount_of(received), amount_of(paid)).expect("they fit");
        prop_assert_eq!(units_of(profit.value()), received - paid);
        prop_assert_eq!(units_of(profit.loss().value()), (paid - received).max(0));
        let before = Profit::new(Decimal::from_i128_with_scale(before, 8)).expect("eight decimals");
        let sum = before.plus(profit).expect("they fit");
        prop_assert_eq!(units_of(sum.value()), units_of(before.value()) + received - paid);
    }

    // --- text ----------------------------------------------------------------------------------

    #[test]
    fn what_is_printed_is_what_is_read(value in digits_to(8), bps in basis_points()) {
        let negative = -value;
        if let Some(quantity) = Quantity::new(value) {
            let text = quantity.to_string();
            prop_assert!(has_eight_decimals(&text), "{text}");
            prop_assert_eq!(text.parse().ok().and_then(Quantity::new), Some(quantity));
            prop_assert_eq!(as_amount(value).to_string(), text);
            prop_assert!(Profit::new(value).is_some() && Profit::new(negative).is_some());
        }
        for value in [value, negative] {
            let Some(profit) = Profit::new(value) else { continue };
            let text = profit.to_string();
            prop_assert!(has_eight_decimals(text.trim_start_matches('-')), "{text}");
            prop_assert_eq!(text.parse().ok().and_then(Profit::new), Some(profit));
        }
        if let Some(price) = Price::new(value) {
            prop_assert_eq!(price.to_string().parse().ok().and_then(Price::new), Some(price));
        }
        if let Some(step) = LotStep::new(value) {
            prop_assert_eq!(step.to_string().parse().ok().and_then(LotStep::new), Some(step));
        }
        prop_assert_eq!(bps.to_string().parse().ok().and_then(BasisPoints::new), Some(bps));
    }

    #[test]
    fn a_moment_that_is_printed_is_the_same_moment_read(
        millis in -62_000_000_000_000..253_000_000_000_000_i64,
    ) {
        let moment = Timestamp::from_millis(millis).expect("within the calendar");
        prop_assert_eq!(moment.as_millis(), millis);
        prop_assert_eq!(moment.to_string().parse::<Timestamp>().ok(), Some(moment));
        let day = moment.day();
        prop_assert!((0..86_400_000).contains(&moment.millis_since(day)));
        prop_assert!(day.to_string().ends_with("T00:00:00Z"), "{day}");
    }

    #[test]
    fn the_newest_closed_candle_has_just_closed(
        millis in 0..253_000_000_000_000_i64,
        interval in interval(),
    ) {
        let now = Timestamp::from_millis(millis).expect("within the calendar");
        let newest = interval.newest_closed(now);
        let since_its_close = now.millis_since(newest) - interval.millis();
        prop_assert!(interval.is_on_grid(newest));
        prop_assert!((0..interval.millis()).contains(&since_its_close));
        prop_assert_eq!(interval.candles_between(newest, now), 1);
        prop_assert_eq!(Interval::named(&interval.to_string()), Some(interval));
    }

    #[test]
    fn only_what_is_meant_is_a_number_of_its_kind(
        // What is longer may be refused by any of them.
        value in digits_to(28).prop_filter("not too long", |value| *value < Decimal::from(10_u64.pow(19))),
    ) {
        let short = value.normalize().scale() <= 8;
        let (zero, negative) = (value.is_zero(), -value);
        prop_assert_eq!(Quantity::new(value).is_some(), short);
        prop_assert_eq!(Amount::new(value).is_some(), short);
        prop_assert_eq!(Profit::new(negative).is_some(), short);
        prop_assert_eq!(LotStep::new(value).is_some(), short && !zero);
        prop_assert_eq!(Price::new(value).is_some(), !zero);
        prop_assert_eq!(BasisPoints::new(value).is_some(), short && value < decimal("10000"));
        if !zero {
            prop_assert_eq!(Quantity::new(negative), None);
            prop_assert_eq!(Amount::new(negative), None);
            prop_assert_eq!(LotStep::new(negative), None);
            prop_assert_eq!(Price::new(negative), None);
            prop_assert_eq!(BasisPoints::new(negative), None);
        }
    }
}

#[test]
fn a_quotient_that_was_rounded_up_buys_no_more_than_the_budget_pays() {
    // 23.7 / 7.9...01 is 3 less 4e-29, which 28 digits can't tell from 3.
    let price = Price::new(decimal("7.9000000000000000000000000001")).expect("a price");
    let budget = as_amount(decimal("23.7"));
    for (step, expected) in [("0.00000001", "2.99999999"), ("0.5", "2.5"), ("1", "2"), ("3", "0")] {
        let step = LotStep::new(decimal(step)).expect("a step");
        let expected = as_quantity(decimal(expected));
        assert_eq!(Quantity::bought_with(budget, price, step), Ok(expected));
    }
}

#[test]
fn a_quantity_beyond_the_largest_is_refused_whatever_the_step() {
    // 10^19 is the first that is too large; rounded down to threes it would seem to fit.
    let price = Price::new(decimal("0.1")).expect("a price");
    let step = |step: &str| LotStep::new(decimal(step)).expect("a step");
    let bought = |budget: &str, by: &str| {
        Quantity::bought_with(as_amount(decimal(budget)), price, step(by)).map(Quantity::value)
    };
    for by in ["0.00000001", "1", "3"] {
        assert_eq!(bought("1000000000000000000", by), Err(Overflow), "in steps of {by}");
        assert_eq!(bought("999999999999999999.9", by), Ok(decimal("9999999999999999999")));
    }
    assert_eq!(Quantity::new(decimal("10000000000000000000")), None);
}

#[test]
fn none_of_something_is_told_from_the_least_of_it() {
    assert!(bps(0).is_zero() && BasisPoints::default().is_zero() && !bps(1).is_zero());
    assert!(quantity_of(0).is_zero() && Quantity::ZERO.is_zero() && !quantity_of(1).is_zero());
}

// --- orders ------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_bought_can_be_sold_again(
        terms in terms(),
        rules in rules(),
        touch in price(),
        free in 0..=10_000 * UNIT,
        fall in 0..=47_i64,
    ) {
        let free = amount_of(free);
        let Ok(outcome) = buy(&terms, free, touch, &rules) else { return Ok(()) };
        prop_assert!(terms.amount <= free, "what is spent is there");
        let Outcome::Executed(bought) = outcome else { return Ok(()) };
        // As much as the exchange keeps may fall until then: an entry has a margin of a twentieth.
        let then = touch.value() * Decimal::new(1000 - fall, 3);
        let then = Price::new(then).expect("some of it is left");
        prop_assert_eq!(&bought.fees, &Fees::in_base(bought.fees.base), "the fee is in coins");
        let held = bought.quantity.minus(bought.fees.base).expect("a fee is a part");
        let sale = order::sell(&terms, held, then, &rules);
        prop_assert!(matches!(sale, Ok(Some(_))), "{held} at {then}: {sale:?}");
    }

    #[test]
    fn a_buy_is_in_whole_steps_and_within_amount_and_limits(
        terms in terms(),
        rules in rules(),
        touch in price(),
    ) {
        let bought = match buy(&terms, terms.amount, touch, &rules) {
            Ok(Outcome::Executed(bought)) => bought,
            Ok(Outcome::Expired) => {
                prop_assert!(terms.max_slippage.is_some_and(|most| terms.slippage > most));
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        prop_assert!(terms.max_slippage.is_none_or(|most| terms.slippage <= most));
        prop_assert_eq!(bought.side, Side::Buy);
        prop_assert!(bought.quote <= terms.amount, "{bought:?}");
        prop_assert!(bought.price >= touch, "slippage is against us");
        prop_assert_eq!(units_of(bought.quantity.value()) % units_of(rules.step.value()), 0);
        prop_assert!(bought.quantity >= rules.min_quantity);
        prop_assert!(rules.max_quantity.is_none_or(|most| bought.quantity <= most));
        prop_assert!(bought.quote.value() >= rules.min_notional);
        let exact = Exact::of(bought.quantity.value()).times(&Exact::of(bought.price.value()));
        prop_assert_eq!(Exact::of(bought.quote.value()), exact.up());
        let fee = bought.quantity.fee_up(terms.fee).expect("everyday numbers fit");
        prop_assert_eq!(bought.fees, Fees { base: fee, ..Fees::default() });
        prop_assert!(fee < bought.quantity, "something is received");
    }

    #[test]
    fn a_sale_is_in_whole_steps_and_of_no_more_than_there_is(
        terms in terms(),
        rules in rules(),
        touch in price(),
        units in units(),
    ) {
        let available = quantity_of(units);
        let step = units_of(rules.step.value());
        let whole = quantity_of(units / step * step);
        let worth = Exact::of(whole.value()).times(&Exact::of(touch.value()));
        let enough = !whole.is_zero()
            && whole >= rules.min_quantity
            && worth.down() >= Exact::of(rules.min_notional);
        let sold = match sell(&terms, available, touch, &rules) {
            Ok(Some(Outcome::Executed(sold))) => sold,
            Ok(Some(Outcome::Expired)) => {
                prop_assert!(enough && terms.max_slippage.is_some_and(|most| terms.slippage > most));
                return Ok(());
            }
            Ok(None) => {
                prop_assert!(!enough, "{available} could be sold");
                return Ok(());
            }
            Err(refusal) => {
                prop_assert!(!rules.is_trading(), "{refusal:?}");
                return Ok(());
            }
        };
        prop_assert!(enough && rules.is_trading());
        prop_assert_eq!(sold.side, Side::Sell);
        prop_assert!(sold.price <= touch, "slippage is against us");
        prop_assert_eq!(units_of(sold.quantity.value()) % step, 0);
        let most = rules.max_quantity.unwrap_or(whole).min(whole);
        prop_assert_eq!(units_of(sold.quantity.value()), units_of(most.value()) / step * step);
        let exact = Exact::of(sold.quantity.value()).times(&Exact::of(sold.price.value()));
        prop_assert_eq!(Exact::of(sold.quote.value()), exact.down());
        let fee = sold.quote.fee_up(terms.fee).expect("they fit");
        prop_assert_eq!(sold.fees, Fees { quote: fee, ..Fees::default() });
    }
}

/// A buy as a simulated exchange carries it out.
fn buy(terms: &Terms, free: Amount, touch: Price, rules: &SymbolRules) -> Result<Outcome, Refusal> {
    let plan = order::buy(terms, free, touch, rules)?;
    Ok(order::fill(&plan, terms, touch, rules)?)
}

/// A sale as a simulated exchange carries it out; `None` where there is too little.
fn sell(
    terms: &Terms,
    available: Quantity,
    touch: Price,
    rules: &SymbolRules,
) -> Result<Option<Outcome>, Refusal> {
    let Some(plan) = order::sell(terms, available, touch, rules)? else { return Ok(None) };
    Ok(Some(order::fill(&plan, terms, touch, rules)?))
}

// --- the book ----------------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_coin_appears_or_is_lost_whatever_happens(
        opening in 100 * UNIT..=2_000 * UNIT,
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let mut ledger = Ledger::open(opening);
        for act in acts {
            ledger.live_through(&act)?;
        }
    }

    #[test]
    fn an_exit_is_finished_once_nothing_is_in_its_way(
        acts in prop::collection::vec(act(), 1..40),
        price in 1..=1_000_i64,
    ) {
        let mut ledger = Ledger::open(1_000 * UNIT);
        for act in acts {
            ledger.live_through(&act)?;
        }
        let Some(leg) = ledger.book.position.holding().map(|holding| holding.leg) else {
            return Ok(());
        };
        let before = ledger.book.round_trips;
        ledger.live_through(&Act {
            leg,
            price: Price::new(Decimal::from(price)).expect("a price"),
            rules: SymbolRules::unlimited(),
            terms: Terms { max_slippage: None, ..everyday_terms() },
            wish: Wish::Leave(Cause::Asked),
        })?;
        prop_assert!(ledger.book.position.holding().is_none());
        prop_assert_eq!(ledger.book.dust.of(leg), Quantity::ZERO, "dust goes along");
        prop_assert_eq!(ledger.book.round_trips, before + 1);
    }
}

/// Something that may happen to a book.
#[derive(Debug, Clone)]
struct Act {
    leg: Leg,
    price: Price,
    rules: SymbolRules,
    terms: Terms,
    wish: Wish,
}

/// What would be decided. Something is bought only if nothing is held, and sold only if it is:
/// which of the two is for the machine's own tests.
#[derive(Debug, Clone, Copy)]
enum Wish {
    /// Enter if nothing is held, else leave for this reason.
    Leave(Cause),
    /// Neither, unless an exit goes on.
    Stay,
}

/// The book, and what a bookkeeper who sees only the exchange's executions has written down.
///
/// **Units**: 0.00000001 of each asset.
struct Ledger {
    book: Book,
    opening: i128,
    cash: i128,
    coins: [i128; 2],
    orders: u32,
    refusals: u32,
    candle: Timestamp,
}

impl Ledger {
    fn open(opening: i128) -> Self {
        Self {
            book: Book::open(amount_of(opening)),
            opening,
            cash: opening,
            coins: [0, 0],
            orders: 0,
            refusals: 0,
            candle: Timestamp::EPOCH,
        }
    }

    fn live_through(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let before = self.book.clone();
        // A person who wants out does not wait for a new candle.
        let is_flatten = matches!(act.wish, Wish::Leave(Cause::Asked));
        let same_candle = is_flatten && before.position.holding().is_some();
        if !same_candle {
            self.candle = self.candle.plus_millis(60_000);
        }
        let decision = decide(&before, act);
        let touch = Touch { price: act.price, rules: act.rules.clone() };
        let today = Timestamp::EPOCH;
        let step =
            fill::carry_out(&before, &decision, self.candle, Some(&touch), &act.terms, today);
        let step = step.map_err(|error| TestCaseError::fail(error.to_string()))?;
        self.book = step.book;

        if let Some((leg, side, done)) = &step.order {
            self.orders += 1;
            prop_assert_eq!(Some((*leg, *side)), decision.needs());
            prop_assert_eq!(*side == Side::Buy, before.position.holding().is_none());
            if let Some(execution) = done {
                self.write_down(*leg, execution);
            }
        }
        let earlier = if same_candle { before.attempts } else { 0 };
        let attempts = earlier + u32::from(step.order.is_some());
        prop_assert_eq!(self.book.attempts, attempts, "each order of a candle has its own number");
        if !matches!(step.order, Some((_, _, Some(_)))) {
            prop_assert_eq!(self.book.cash, before.cash, "nothing was executed");
        }
        self.refusals = match (&step.refused, decision.needs()) {
            (Some(_), Some((_, Side::Sell))) => self.refusals + 1,
            (None, Some(_)) if step.order.as_ref().is_some_and(|order| order.2.is_some()) => 0,
            _ => self.refusals,
        };
        let halts = before.halt.is_some() || self.refusals >= 3;
        prop_assert_eq!(self.book.halt.is_some(), halts, "a third refusal halts, and none before");
        self.check(&before, &decision)
    }

    fn write_down(&mut self, leg: Leg, execution: &Execution) {
        let quote = units_of(execution.quote.value());
        let quantity = units_of(execution.quantity.value());
        let coins = &mut self.coins[usize::from(leg == Leg::Denominator)];
        // A fee comes out of what is received.
        match execution.side {
            Side::Buy => {
                assert_eq!(execution.fees, Fees::in_base(execution.fees.base));
                self.cash -= quote;
                *coins += quantity - units_of(execution.fees.base.value());
            }
            Side::Sell => {
                assert_eq!(execution.fees, Fees::in_quote(execution.fees.quote));
                self.cash += quote - units_of(execution.fees.quote.value());
                *coins -= quantity;
            }
        }
    }

    fn check(&self, before: &Book, decision: &Decision) -> Result<(), TestCaseError> {
        let book = &self.book;
        prop_assert_eq!(units_of(book.cash.expect("paper").value()), self.cash, "cash");
        prop_assert!(self.cash >= 0 && self.coins.iter().all(|coins| *coins >= 0));
        let holding = book.position.holding();
        let (cost, proceeds) = holding.map_or((0, 0), |holding| {
            (units_of(holding.cost.value()), units_of(holding.proceeds.value()))
        });
        let realized = units_of(book.realized.value());
        prop_assert_eq!(self.cash + cost - proceeds, self.opening + realized, "conservation");
        for (leg, coins) in Leg::BOTH.into_iter().zip(self.coins) {
            let held = holding.filter(|holding| holding.leg == leg);
            let held = held.map_or(0, |holding| units_of(holding.quantity.value()));
            let dust = units_of(book.dust.of(leg).value());
            prop_assert_eq!(held + dust, coins, "the coins of {}", leg);
            if book.position.holding().is_some_and(|holding| holding.leg == leg) {
                prop_assert!(held > 0, "nothing is held of {leg}, but it counts as held");
                prop_assert_eq!(book.available().map(|all| units_of(all.value())), Ok(coins));
            }
        }
        prop_assert_eq!(book.day.orders, self.orders);
        prop_assert_eq!(units_of(book.day.realized.value()), realized, "all on one day");
        prop_assert_eq!(book.last_candle, Some(self.candle));

        // The only ways between the states, and what is remembered on them.
        let cools = match decision.transition {
            Transition::Leave(_, cause) => decision.cooling || cause.cools(),
            _ => decision.cooling,
        };
        let closed = before.position.holding().is_some() && holding.is_none();
        prop_assert_eq!(book.round_trips, before.round_trips + u64::from(closed));
        let leaves = matches!(decision.transition, Transition::Leave(..));
        match (&before.position, &book.position) {
            (_, Position::Flat { cooling }) => prop_assert_eq!(*cooling, cools),
            (Position::Flat { .. }, Position::Holding(holding)) => {
                prop_assert_eq!(holding.entry_candle, self.candle);
                prop_assert_eq!(holding.proceeds, Amount::ZERO);
            }
            (Position::Holding(was), Position::Holding(is)) => {
                prop_assert!(was == is && !leaves, "an exit that was decided goes on");
            }
            (Position::Holding(_) | Position::Leaving(_), Position::Leaving(is)) => {
                prop_assert!(leaves && is.cools == cools);
            }
            (was, is) => prop_assert!(false, "from {was:?} to {is:?}"),
        }
        if let (Some(was), Some(is)) = (before.position.holding(), holding) {
            prop_assert_eq!(
                (was.leg, was.cost, was.entry_price),
                (is.leg, is.cost, is.entry_price)
            );
        }
        Ok(())
    }
}

/// What the machine might decide in this state, whatever the candles say.
fn decide(book: &Book, act: &Act) -> Decision {
    let z = ZScore::new(2.5).expect("finite");
    match (&book.position, act.wish) {
        (Position::Flat { cooling: false }, Wish::Leave(_)) => Decision {
            signal: Signal::Long(act.leg),
            transition: Transition::Enter(act.leg, z),
            cooling: false,
        },
        // A bar is lifted by the candle that was calm; here, by every second wish.
        (Position::Flat { cooling }, wish) => Decision {
            signal: Signal::Hold,
            transition: Transition::Stay(Stay::NoZ),
            cooling: *cooling && matches!(wish, Wish::Stay),
        },
        (Position::Holding(holding), Wish::Leave(cause)) => Decision {
            signal: Signal::Close,
            transition: Transition::Leave(holding.leg, cause),
            cooling: false,
        },
        (Position::Holding(holding), Wish::Stay) => Decision {
            signal: Signal::Hold,
            transition: Transition::Stay(Stay::Held(holding.leg, z)),
            cooling: false,
        },
        (Position::Leaving(leaving), _) => Decision {
            signal: Signal::Close,
            transition: Transition::Leave(leaving.holding.leg, Cause::Unfinished),
            cooling: leaving.cools,
        },
    }
}

// --- windows -----------------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn candles_without_fault_are_a_window(scene in scene()) {
        let legs = scene.legs().expect("in order");
        let window = scene.align(&legs).expect("no fault");
        prop_assert_eq!(window.newest(), scene.at(scene.length - 1));
        let expected: Vec<[Decimal; 2]> = (0..scene.length)
            .map(|number| Leg::BOTH.map(|leg| scene.candle(leg, number).close))
            .collect();
        let found: Vec<[Decimal; 2]> =
            window.closes().iter().map(|closes| closes.map(Price::value)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn one_fault_of_one_leg_is_found_and_named(
        scene in scene(),
        leg in leg(),
        place in any::<prop::sample::Index>(),
        damage in damage(),
    ) {
        let place = place.index(scene.length);
        let mut candles = Leg::BOTH.map(|leg| scene.candles(leg));
        let damaged = &mut candles[usize::from(leg == Leg::Denominator)];
        let expected = scene.inflict(damage, damaged, place);
        let [numerator, denominator] = candles;
        let found = Legs::new(numerator, denominator).and_then(|legs| scene.align(&legs));
        prop_assert_eq!(found, Err(Distrust { leg, fault: expected }));
    }

    #[test]
    fn a_fault_of_both_legs_is_found_too(
        scene in scene(),
        place in any::<prop::sample::Index>(),
        damage in damage(),
    ) {
        let place = place.index(scene.length);
        let [mut numerator, mut denominator] = Leg::BOTH.map(|leg| scene.candles(leg));
        let fault = scene.inflict(damage, &mut numerator, place);
        scene.inflict(damage, &mut denominator, place);
        let found = Legs::new(numerator, denominator).and_then(|legs| scene.align(&legs));
        prop_assert_eq!(found, Err(Distrust { leg: Leg::Numerator, fault }));
    }

    #[test]
    fn z_depends_on_nothing_before_and_after_the_window(
        scene in scene(),
        damage in prop::option::of(damage()),
        place in any::<prop::sample::Index>(),
    ) {
        let alone = scene.alone();
        let expected = scene_reading(&alone, &alone.legs().expect("in order"));
        let [mut numerator, denominator] = Leg::BOTH.map(|leg| scene.candles(leg));
        // What lies before the window may be damaged in any way that keeps the order.
        let kept = !matches!(damage, Some(Damage::Doubled | Damage::Swapped));
        if let Some(damage) = damage.filter(|_| kept && scene.older > 0) {
            scene.spoil(damage, &mut numerator, place.index(scene.older));
        }
        let legs = Legs::new(numerator, denominator).expect("in order");
        let found = scene_reading(&scene, &legs);
        let bits = |one: &strategy::Reading| {
            [one.spread, one.mean, one.std, one.z.map_or(f64::NAN, ZScore::value)].map(f64::to_bits)
        };
        prop_assert_eq!(bits(&found), bits(&expected), "{:?} {:?}", found, expected);
    }

    #[test]
    fn the_spread_is_the_numerators_close_by_the_denominators(scene in scene()) {
        let alone = scene.alone();
        let reading = scene_reading(&alone, &alone.legs().expect("in order"));
        let ratios: Vec<f64> = alone
            .closes
            .iter()
            .map(|closes| {
                let [n, d] = closes.map(|cents| f64::from(i32::try_from(cents).expect("small")));
                n / d
            })
            .collect();
        let mean = ratios.iter().sum::<f64>() / f64::from(u32::try_from(ratios.len()).expect("few"));
        let is_near = |found: f64, exact: f64| (found / exact - 1.0).abs() < 1e-12;
        prop_assert!(is_near(reading.spread, ratios[ratios.len() - 1]), "{:?}", reading);
        prop_assert!(is_near(reading.mean, mean), "{:?} for {}", reading, mean);
    }

    #[test]
    fn every_candle_since_the_last_run_is_looked_at_with_its_own_window(
        scene in scene(),
        since in any::<prop::sample::Index>(),
        hole in prop::option::of((leg(), any::<prop::sample::Index>())),
    ) {
        let all = scene.older + scene.length;
        let since = since.index(all);
        let mut candles = Leg::BOTH.map(|leg| scene.candles(leg));
        // A hole before the window: what reaches into it has no reading, what does not has one.
        let hole = hole.filter(|_| scene.older > 0);
        let hole = hole.map(|(leg, place)| (leg, place.index(scene.older)));
        if let Some((leg, place)) = hole {
            candles[usize::from(leg == Leg::Denominator)].remove(place);
        }
        let [numerator, denominator] = candles;
        let legs = Legs::new(numerator, denominator).expect("in order");
        let newest = scene.at(scene.length - 1);
        let before = scene.start().plus_millis(number(since) * scene.interval.millis());
        let seen = strategy::observe(&legs, scene.interval, Some(before), newest, scene.length)
            .expect("the newest window has no fault");
        prop_assert_eq!(seen.last().map(|one| one.candle), Some(newest));
        for observation in &seen {
            let place = scene.interval.candles_between(scene.start(), observation.candle);
            let place = usize::try_from(place).expect("not before the first");
            let reaches = place + 1 >= scene.length;
            let first = (place + 1).saturating_sub(scene.length);
            let broken = hole.is_some_and(|(_, hole)| (first..=place).contains(&hole));
            prop_assert_eq!(observation.reading.is_some(), reaches && !broken);
        }
        let unseen: Vec<usize> = (since + 1..all)
            .filter(|place| hole != Some((Leg::Numerator, *place)))
            .collect();
        prop_assert_eq!(seen.len(), unseen.len().max(1));
    }
}

#[test]
fn a_candle_that_did_not_move_is_no_fault() {
    let minute = Interval::ALL[0];
    let candle = |number: i64| {
        let (price, open_time) =
            (Decimal::ONE, Timestamp::EPOCH.plus_millis(number * minute.millis()));
        Candle { open_time, open: price, high: price, low: price, close: price }
    };
    let candles = || vec![candle(0), candle(1)];
    let legs = Legs::new(candles(), candles()).expect("in order");
    assert!(Window::align(&legs, minute, candle(1).open_time, 2).is_ok());
}

#[test]
fn every_distrust_names_the_symbol_the_candle_and_what_is_wrong_with_it() {
    let asset = |code: &str| Asset::new(code).expect("an asset");
    let symbol = |code: &str| Symbol { base: asset(code), quote: asset("USDC") };
    let pair = Pair::new(symbol("SOL"), symbol("ADA")).expect("two legs");
    let at = Timestamp::from_millis(1_709_295_300_000).expect("a moment");
    let (then, before) = ("2024-03-01T12:15:00Z", "2024-03-01T12:00:00Z");
    let earlier = before.parse().expect("a moment");
    let rows = [
        (Fault::BadPrice { at, price: "-0.7".to_owned() }, vec![then, "`-0.7`"]),
        (Fault::Duplicate { at }, vec![then, "twice"]),
        (Fault::Gap { at }, vec![then, "missing"]),
        (Fault::HighBelowLow { at }, vec![then, "high below its low"]),
        (Fault::OffGrid { at }, vec![then, "may begin"]),
        (Fault::OutOfOrder { at }, vec![then, "out of order"]),
        (Fault::Stale { expected: at, newest: Some(earlier) }, vec![then, before]),
        (Fault::Stale { expected: at, newest: None }, vec![then, "no candle at all"]),
        (Fault::TooFew { have: 3, need: 4 }, vec!["there are 3", "4 are needed"]),
        (Fault::WrongColumns { have: 7 }, vec!["7 columns"]),
    ];
    for (fault, named) in rows {
        for (leg, name) in [(Leg::Numerator, "SOLUSDC"), (Leg::Denominator, "ADAUSDC")] {
            let sentence = Distrust { leg, fault: fault.clone() }.sentence(&pair);
            assert!(!sentence.contains('\n') && !sentence.contains("  "), "{sentence}");
            for name in named.iter().chain(&[name]) {
                assert!(sentence.contains(name), "`{name}` is not in: {sentence}");
            }
        }
    }
}

// --- time --------------------------------------------------------------------------------------

#[test]
fn every_interval_lasts_as_long_as_its_name_says() {
    let minutes = [
        ("1m", 1),
        ("3m", 3),
        ("5m", 5),
        ("15m", 15),
        ("30m", 30),
        ("1h", 60),
        ("2h", 120),
        ("4h", 240),
        ("6h", 360),
        ("8h", 480),
        ("12h", 720),
        ("1d", 1440),
    ];
    assert_eq!(minutes.len(), Interval::ALL.len());
    for (interval, (name, minutes)) in Interval::ALL.into_iter().zip(minutes) {
        assert_eq!((interval.name(), interval.to_string().as_str()), (name, name));
        assert_eq!(interval.millis(), minutes * 60 * 1000, "{name}");
        assert_eq!(Interval::named(name), Some(interval));
        let at = |candles: i64| Timestamp::EPOCH.plus_millis(candles * interval.millis());
        assert!(interval.is_on_grid(at(3)) && !interval.is_on_grid(at(3).plus_millis(1)));
        assert_eq!(interval.candles_between(at(3), at(10)), 7);
        assert_eq!(interval.candles_between(at(10), at(3)), -7);
    }
    for name in ["", "1M", "7m", "1w", "1s", "15"] {
        assert_eq!(Interval::named(name), None, "{name}");
    }
}

#[test]
fn milliseconds_and_microseconds_are_told_apart_by_their_size() {
    let read = |value| Timestamp::from_millis_or_micros(value).map(Timestamp::as_millis);
    let year_5138 = 100_000_000_000_000;
    assert_eq!(read(1_709_295_300_000), Some(1_709_295_300_000));
    assert_eq!(read(1_709_295_300_000_999), Some(1_709_295_300_000));
    assert_eq!(read(year_5138 - 1), Some(year_5138 - 1));
    assert_eq!(read(year_5138), Some(year_5138 / 1000));
    assert_eq!((read(0), read(-1), read(i64::MIN)), (Some(0), None, None));
}

#[test]
fn a_moment_is_written_for_files_and_for_logs_and_read_only_where_it_is_one() {
    let moment = Timestamp::from_millis(1_709_295_300_000).expect("within the calendar");
    assert_eq!(moment.to_string(), "2024-03-01T12:15:00Z");
    assert_eq!(moment.to_precise_text(), "2024-03-01T12:15:00.000Z");
    assert_eq!(moment.plus_millis(70).to_precise_text(), "2024-03-01T12:15:00.070Z");
    assert_eq!(moment.day().to_string(), "2024-03-01T00:00:00Z");
    assert_eq!("2024-03-01T13:15:00+01:00".parse().ok(), Some(moment));
    for text in ["", "2024-03-01", "2024-03-01T12:15:00", "1709295300000", "2024-02-30T00:00:00Z"] {
        assert!(text.parse::<Timestamp>().is_err(), "{text}");
    }
    assert_eq!(Timestamp::from_millis(i64::MAX), None, "beyond the calendar");
    assert_eq!(moment.plus_millis(i64::MAX), moment, "it ends there");
}

// --- names -------------------------------------------------------------------------------------

#[test]
fn an_asset_is_written_in_capitals_and_digits_and_not_too_long() {
    for code in ["B", "BTC", "1000SATS", "ABCDEFGHIJ0123456789"] {
        let asset = Asset::new(code).expect(code);
        assert_eq!((asset.code(), asset.to_string().as_str()), (code, code));
    }
    for code in ["", "btc", "BTC ", "BT-C", "ΒTC", "ABCDEFGHIJ0123456789X"] {
        assert_eq!(Asset::new(code), None, "{code}");
    }
}

#[test]
fn a_pair_is_two_assets_against_a_third() {
    let asset = |code: &str| Asset::new(code).expect("an asset");
    let symbol = |base: &str, quote: &str| Symbol { base: asset(base), quote: asset(quote) };
    let (upper, lower) = (symbol("BTC", "USDT"), symbol("ETH", "USDT"));
    let pair = Pair::new(upper.clone(), lower.clone()).expect("two legs");
    assert_eq!((pair.symbol(Leg::Numerator), pair.symbol(Leg::Denominator)), (&upper, &lower));
    assert_eq!(Leg::BOTH.map(|leg| pair.asset(leg).code()), ["BTC", "ETH"]);
    assert_eq!((pair.quote().code(), pair.to_string().as_str()), ("USDT", "BTC/ETH"));
    assert_eq!((upper.code().as_str(), upper.to_string().as_str()), ("BTCUSDT", "BTC/USDT"));
    assert_eq!(Pair::new(upper.clone(), upper.clone()), None, "one asset against itself");
    assert_eq!(Pair::new(upper, symbol("ETH", "USDC")), None, "two that pay");
    assert_eq!(Leg::BOTH.map(|leg| leg.to_string()), ["numerator", "denominator"]);
    assert_eq!([Side::Buy, Side::Sell].map(|side| side.to_string()), ["BUY", "SELL"]);
}

#[test]
fn only_a_symbol_that_is_trading_is_traded() {
    assert!(SymbolRules::unlimited().is_trading());
    for status in ["BREAK", "HALT", "CANCEL_ONLY", "TRADING2", "", "trading"] {
        let rules = SymbolRules { status: status.to_owned(), ..SymbolRules::unlimited() };
        assert!(!rules.is_trading(), "{status}");
    }
}

/// Candles of both legs without a fault: some before the window, the window, some after it.
#[derive(Debug, Clone)]
struct Scene {
    interval: Interval,
    older: usize,
    length: usize,
    newer: usize,
    first: i64,
    closes: Vec<[i64; 2]>,
}

/// What can be wrong with one candle, or with two neighbours.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Doubled,
    HighBelowLow,
    Missing,
    /// So much of an interval, in thousandths, and whether towards the future.
    OffGrid(i64, bool),
    /// Which of the four prices becomes this number of cents, zero or less.
    Price(usize, i64),
    Swapped,
}

impl Scene {
    /// The window and nothing else.
    fn alone(&self) -> Self {
        let closes = self.closes[self.older..][..self.length].to_vec();
        let first = self.first + number(self.older);
        Self { older: 0, newer: 0, first, closes, ..self.clone() }
    }

    fn start(&self) -> Timestamp {
        Timestamp::EPOCH.plus_millis(self.first * self.interval.millis())
    }

    /// The open time of the window's candle of this number.
    fn at(&self, place: usize) -> Timestamp {
        let steps = number(self.older) + number(place);
        self.start().plus_millis(steps * self.interval.millis())
    }

    /// The window's candle of this number.
    fn candle(&self, leg: Leg, place: usize) -> Candle {
        self.candles(leg)[self.older + place]
    }

    fn candles(&self, leg: Leg) -> Vec<Candle> {
        let all = self.older + self.length + self.newer;
        (0..all)
            .map(|number| {
                let cents = self.closes[number][usize::from(leg == Leg::Denominator)];
                let close = Decimal::new(cents, 2);
                let open_time =
                    self.start().plus_millis(self::number(number) * self.interval.millis());
                let (high, low) = (close + Decimal::ONE, close - Decimal::new(5, 3));
                Candle { open_time, open: close, high, low, close }
            })
            .collect()
    }

    fn legs(&self) -> Result<Legs, Distrust> {
        Legs::new(self.candles(Leg::Numerator), self.candles(Leg::Denominator))
    }

    fn align(&self, legs: &Legs) -> Result<Window, Distrust> {
        Window::align(legs, self.interval, self.at(self.length - 1), self.length)
    }

    /// Damages the window's candle of this number and says what must be found.
    fn inflict(&self, damage: Damage, candles: &mut Vec<Candle>, place: usize) -> Fault {
        let (at, newest) = (self.at(place), self.at(self.length - 1));
        let before = newest.plus_millis(-self.interval.millis());
        let stale = Fault::Stale { expected: newest, newest: Some(before) };
        let moved = self.spoil(damage, candles, self.older + place);
        match damage {
            Damage::Doubled => Fault::Duplicate { at },
            Damage::HighBelowLow => Fault::HighBelowLow { at },
            // A candle that begins after the newest is not looked at.
            Damage::Missing | Damage::OffGrid(_, true) if at == newest => stale,
            Damage::Missing if self.older == 0 => {
                Fault::TooFew { have: self.length - 1, need: self.length }
            }
            Damage::Missing => Fault::Gap { at },
            Damage::OffGrid(..) => Fault::OffGrid { at: moved },
            Damage::Price(_, cents) => {
                Fault::BadPrice { at, price: Decimal::new(cents, 2).to_string() }
            }
            Damage::Swapped => Fault::OutOfOrder { at: moved },
        }
    }

    /// Damages the candle of this index and returns its new place in time.
    fn spoil(&self, damage: Damage, candles: &mut Vec<Candle>, index: usize) -> Timestamp {
        let candle = &mut candles[index];
        match damage {
            Damage::Doubled => {
                let twin = *candle;
                candles.insert(index, twin);
                return twin.open_time;
            }
            Damage::HighBelowLow => candle.high = candle.low - Decimal::new(1, 8),
            Damage::Missing => return candles.remove(index).open_time,
            Damage::OffGrid(part, later) => {
                let moved = self.interval.millis() * part / 1000;
                candle.open_time = candle.open_time.plus_millis(if later { moved } else { -moved });
            }
            Damage::Price(field, cents) => {
                let Candle { open, high, low, close, .. } = candle;
                *[open, high, low, close][field] = Decimal::new(cents, 2);
            }
            Damage::Swapped => {
                let other = if index == 0 { 1 } else { index - 1 };
                candles.swap(index, other);
                return candles[index.max(other)].open_time;
            }
        }
        candles[index].open_time
    }
}

fn scene_reading(scene: &Scene, legs: &Legs) -> strategy::Reading {
    let newest = scene.at(scene.length - 1);
    let seen = strategy::observe(legs, scene.interval, None, newest, scene.length);
    let seen = seen.expect("no fault in the window");
    assert_eq!(seen.len(), 1, "a first run looks at the newest candle only");
    seen[0].reading.expect("the newest has a reading")
}

// --- what is tried -----------------------------------------------------------------------------

/// Any number of up to 28 digits and so many decimals, the long and the short alike.
fn digits_to(most_decimals: u32) -> impl Strategy<Value = Decimal> {
    (any::<u128>(), 32..128_u32, 0..=most_decimals).prop_map(|(bits, shift, scale)| {
        let mantissa = i128::try_from(bits >> shift).expect("at most 96 bits");
        Decimal::from_i128_with_scale(mantissa, scale)
    })
}

fn any_price() -> impl Strategy<Value = Price> {
    digits_to(28).prop_filter_map("above zero", Price::new)
}

fn any_step() -> impl Strategy<Value = LotStep> {
    digits_to(8).prop_filter_map("above zero", LotStep::new)
}

fn quantity() -> impl Strategy<Value = Quantity> {
    units().prop_map(quantity_of)
}

fn interval() -> impl Strategy<Value = Interval> {
    prop::sample::select(Interval::ALL.to_vec())
}

fn terms() -> impl Strategy<Value = Terms> {
    let small = || prop::sample::select(vec![0, 1, 33_333, 100_000, 1_000_000]);
    (1..=500 * UNIT, small(), small(), prop::option::of(small())).prop_map(
        |(amount, fee, slippage, most)| Terms {
            amount: amount_of(amount),
            fee: bps(fee),
            slippage: bps(slippage),
            max_slippage: most.map(bps),
        },
    )
}

fn everyday_terms() -> Terms {
    let none = BasisPoints::default();
    Terms { amount: amount_of(150 * UNIT), fee: bps(100_000), slippage: none, max_slippage: None }
}

fn rules() -> impl Strategy<Value = SymbolRules> {
    let status = prop::sample::select(vec!["TRADING", "TRADING", "TRADING", "TRADING", "HALT"]);
    let step = prop::sample::select(vec![1, 3, 1_000, 10_000, UNIT / 10]).prop_map(step_of);
    let least = prop::sample::select(vec![0, 1_000, 20_000, UNIT / 10]);
    let most = prop::option::of(prop::sample::select(vec![UNIT / 5, UNIT, 30 * UNIT]));
    let notional = prop::sample::select(vec!["0", "0.01", "5", "10"]);
    (status, step, least, most, notional).prop_map(|(status, step, least, most, notional)| {
        SymbolRules {
            status: status.to_owned(),
            step,
            min_quantity: quantity_of(least),
            max_quantity: most.map(quantity_of),
            min_notional: decimal(notional),
            ..SymbolRules::unlimited()
        }
    })
}

fn act() -> impl Strategy<Value = Act> {
    let z = ZScore::new(2.5).expect("finite");
    let cause = prop::sample::select(vec![
        Cause::Asked,
        Cause::HeldTooLong(3),
        Cause::Returned(Timestamp::EPOCH, z),
        Cause::Stopped(Timestamp::EPOCH, z),
    ]);
    let wish = prop_oneof![4 => cause.prop_map(Wish::Leave), 1 => Just(Wish::Stay)];
    let price = (1..=100_000_000_i64).prop_map(|cents| Price::new(Decimal::new(cents, 5)));
    let price = price.prop_map(|price| price.expect("above zero"));
    (leg(), price, rules(), terms(), wish).prop_map(|(leg, price, rules, terms, wish)| Act {
        leg,
        price,
        rules,
        terms,
        wish,
    })
}

fn scene() -> impl Strategy<Value = Scene> {
    (interval(), 0..6_usize, 2..30_usize, 0..3_usize, 20_000_000..20_100_000_i64).prop_flat_map(
        |(interval, older, length, newer, first)| {
            let first = first * Interval::ALL[0].millis() / interval.millis();
            let close = [1..10_000_000_i64, 1..10_000_000_i64];
            prop::collection::vec(close, older + length + newer).prop_map(move |closes| Scene {
                interval,
                older,
                length,
                newer,
                first,
                closes,
            })
        },
    )
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Doubled),
        Just(Damage::HighBelowLow),
        Just(Damage::Missing),
        (1..1000_i64, any::<bool>()).prop_map(|(part, later)| Damage::OffGrid(part, later)),
        (0..4_usize, -100..=0_i64).prop_map(|(field, cents)| Damage::Price(field, cents)),
        Just(Damage::Swapped),
    ]
}

// --- whole numbers of the smallest unit --------------------------------------------------------

fn number(index: usize) -> i64 {
    i64::try_from(index).expect("a few")
}

fn has_eight_decimals(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(whole, decimals)| digits(whole) && digits(decimals) && decimals.len() == 8)
}

/// The answer is the rounded one; or it is refused, and then there really are too many digits.
fn expect_exact(
    found: Result<Decimal, Overflow>,
    exact: &Exact,
    rounded: &Exact,
) -> Result<(), TestCaseError> {
    if let Ok(value) = found {
        prop_assert_eq!(&Exact::of(value), rounded);
    } else {
        // A product has 38 digits at most, a result 27, eight of them decimals.
        let digits = rounded.length() + 8 - rounded.places;
        prop_assert!(exact.length() > 38 || digits > 27);
    }
    Ok(())
}

// --- digits as at school -----------------------------------------------------------------------

/// A number that is not negative, in full: its decimal digits, however many.
#[derive(Clone)]
struct Exact {
    /// The last one first.
    digits: Vec<u8>,
    /// How many of them stand behind the point.
    places: usize,
}

impl Exact {
    fn of(value: impl fmt::Display) -> Self {
        let text = value.to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let digit = |byte: u8| {
            assert!(byte.is_ascii_digit(), "{text} is no plain number");
            byte - b'0'
        };
        let digits = whole.bytes().chain(decimals.bytes()).rev().map(digit).collect();
        Self { digits, places: decimals.len() }
    }

    fn times(&self, other: &Self) -> Self {
        let mut digits = vec![0; self.digits.len() + other.digits.len()];
        for (row, a) in self.digits.iter().enumerate() {
            let mut carried = 0;
            for (column, b) in other.digits.iter().enumerate() {
                let sum = digits[row + column] + a * b + carried;
                digits[row + column] = sum % 10;
                carried = sum / 10;
            }
            digits[row + other.digits.len()] = carried;
        }
        Self { digits, places: self.places + other.places }
    }

    fn plus(&self, other: &Self) -> Self {
        let places = self.places.max(other.places);
        let (a, b) = (self.with_places(places), other.with_places(places));
        let mut digits = Vec::new();
        let mut carried = 0;
        for place in 0..=a.len().max(b.len()) {
            let of = |digits: &[u8]| digits.get(place).copied().unwrap_or(0);
            let sum = of(&a) + of(&b) + carried;
            digits.push(sum % 10);
            carried = sum / 10;
        }
        Self { digits, places }
    }

    /// Rounded down to eight decimals.
    fn down(&self) -> Self {
        let surplus = self.places.saturating_sub(8);
        let digits = self.digits.get(surplus..).unwrap_or_default().to_vec();
        Self { digits, places: self.places.min(8) }
    }

    /// Rounded up to eight decimals.
    fn up(&self) -> Self {
        let down = self.down();
        if down == *self { down } else { down.plus(&Self::of(SMALLEST)) }
    }

    /// How many digits it has, zeros in front aside.
    fn length(&self) -> usize {
        self.digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1)
    }

    fn with_places(&self, places: usize) -> Vec<u8> {
        let zeros = std::iter::repeat_n(0, places - self.places);
        zeros.chain(self.digits.iter().copied()).collect()
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Exact {}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        let places = self.places.max(other.places);
        let (mut a, mut b) = (self.with_places(places), other.with_places(places));
        let length = a.len().max(b.len());
        a.resize(length, 0);
        b.resize(length, 0);
        a.iter().rev().cmp(b.iter().rev())
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
        write!(formatter, "{text}e-{}", self.places)
    }
}

#[test]
fn digits_as_at_school_are_right() {
    let of = |text: &str| Exact::of(text);
    assert_eq!(of("12.5").times(&of("0.08")), of("1"));
    assert_eq!(
        of("99999999999999999999").times(&of("99999999999999999999")),
        of("9999999999999999999800000000000000000001")
    );
    assert_eq!(of("0.999").plus(&of("0.0010")), of("1"));
    assert_eq!(of("0.123456789").down(), of("0.12345678"));
    assert_eq!(of("0.123456780001").up(), of("0.12345679"));
    assert_eq!(of("0.12345678").up(), of("0.12345678"));
    assert!(of("2") > of("1.99999") && of("10") > of("9"));
    assert_eq!(of("00120.50").length(), 5);
}

const SMALLEST: &str = "0.00000001";
