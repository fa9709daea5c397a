//! What coins cost, first in, first out: the order in which most tax offices want them sold.

use std::collections::VecDeque;

use rust_decimal::Decimal;

use crate::trading::money::DECIMALS;

/// Coins of one asset, oldest first, each lot with what it cost.
///
/// **Units**: coins; quote asset.
#[derive(Debug, Clone, Default)]
pub struct Lots(VecDeque<(Decimal, Decimal)>);

impl Lots {
    /// Adds coins and what was paid for all of them.
    pub fn add(&mut self, quantity: Decimal, cost: Decimal) {
        if quantity > Decimal::ZERO {
            self.0.push_back((quantity, cost));
        }
    }

    /// Takes coins out, the oldest first; what they cost. Coins that nobody added cost nothing.
    ///
    /// **Rounding**: a part of a lot costs its share to 8 decimals; what is left of it costs the
    /// rest, so that no digit is lost.
    pub fn take(&mut self, mut quantity: Decimal) -> Decimal {
        let mut cost = Decimal::ZERO;
        while quantity > Decimal::ZERO
            && let Some((held, paid)) = self.0.front_mut()
        {
            if *held <= quantity {
                quantity -= *held;
                cost += *paid;
                self.0.pop_front();
            } else {
                let share = (*paid * quantity / *held).round_dp(DECIMALS);
                *held -= quantity;
                *paid -= share;
                cost += share;
                quantity = Decimal::ZERO;
            }
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a number")
    }

    #[test]
    fn the_oldest_coins_go_first_and_no_digit_is_lost() {
        let mut lots = Lots::default();
        lots.add(decimal("3"), decimal("100"));
        lots.add(decimal("1"), decimal("50"));
        assert_eq!(lots.take(decimal("1")), decimal("33.33333333"));
        assert_eq!(lots.take(decimal("1")), decimal("33.33333334"));
        // The rest of the first, and half of the second.
        assert_eq!(lots.take(decimal("1.5")), decimal("58.33333333"));
        assert_eq!(lots.take(decimal("0.5")), decimal("25"));
        assert_eq!(lots.take(decimal("7")), Decimal::ZERO, "nobody added those");
    }
}
