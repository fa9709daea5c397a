//! What an address and an account may ask for, and what happens to who goes on.
//! **Source**: Binance Spot REST, "Limits"; windows are fixed, not rolling.

use serde_json::{Value, json};

use super::world::World;

/// What was used so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    /// The minute, and the weight used in it.
    weight: (i64, u64),
    /// Requests over the limit, one after the other.
    over: u32,
    bans: u32,
    banned_until: i64,
    /// For ten seconds and for a day: which, and the orders in it.
    orders: [(i64, u64); 2],
    /// The same when the newest order was counted.
    shown: [u64; 2],
    /// Which of the two an order did not fit in.
    exceeded: usize,
}

const ORDER_WINDOWS_MS: [i64; 2] = [10_000, 86_400_000];
const MINUTE: i64 = 60_000;
/// A first ban, and the longest.
const BAN_MS: [i64; 2] = [120_000, 3 * 86_400_000];
/// Requests over the limit that are only told so.
const PATIENCE: u32 = 5;

impl Limits {
    /// A request turned out to weigh nothing.
    pub(super) fn give_back(&mut self, weight: u64) {
        self.weight.1 = self.weight.1.saturating_sub(weight);
    }

    /// What the headers say of it.
    pub(super) fn headers(
        &self,
        at: i64,
        status: u16,
        was_limited: bool,
        is_new: bool,
    ) -> Vec<(String, String)> {
        let used = self.weight.1.to_string();
        let mut headers = vec![
            ("x-mbx-used-weight".to_owned(), used.clone()),
            ("x-mbx-used-weight-1m".to_owned(), used),
        ];
        if is_new {
            headers.push(("x-mbx-order-count-10s".to_owned(), self.shown[0].to_string()));
            headers.push(("x-mbx-order-count-1d".to_owned(), self.shown[1].to_string()));
        }
        let until = match status {
            418 => self.banned_until,
            429 if was_limited => (at / MINUTE + 1) * MINUTE,
            429 => {
                let window = ORDER_WINDOWS_MS[self.exceeded];
                (at / window + 1) * window
            }
            _ => return headers,
        };
        headers.push(("Retry-After".to_owned(), ((until - at) / 1000 + 1).to_string()));
        headers
    }
}

impl World {
    /// A refusal before the request is even looked at.
    pub(super) fn refused_at_the_edge(&mut self, weight: u64) -> Option<(u16, Value)> {
        if self.is_restricted {
            let msg =
                "Service unavailable from a restricted location according to 'b. Eligibility'.";
            return Some((451, json!({ "code": 0, "msg": msg })));
        }
        let now = self.now();
        let limits = &mut self.limits;
        if limits.weight.0 != now / MINUTE {
            limits.weight = (now / MINUTE, 0);
        }
        if now < limits.banned_until {
            // Who goes on is banned for longer.
            limits.banned_until += MINUTE;
            return Some(banned(limits.banned_until));
        }
        limits.weight.1 += weight;
        if limits.weight.1 <= self.weight_limit {
            limits.over = 0;
            return None;
        }
        limits.over += 1;
        if limits.over > PATIENCE {
            let ban = BAN_MS[0].saturating_mul(4_i64.saturating_pow(limits.bans)).min(BAN_MS[1]);
            limits.banned_until = now + ban;
            limits.bans += 1;
            limits.over = 0;
            return Some(banned(limits.banned_until));
        }
        let msg = format!(
            "Too much request weight used; current limit is {} request weight per 1 MINUTE.",
            self.weight_limit
        );
        Some((429, json!({ "code": -1003, "msg": msg })))
    }

    /// Counts an order, or says that there are too many.
    pub(super) fn count_order(&mut self) -> Result<(), (u16, Value)> {
        let now = self.now();
        for (counted, window) in self.limits.orders.iter_mut().zip(ORDER_WINDOWS_MS) {
            if counted.0 != now / window {
                *counted = (now / window, 0);
            }
        }
        for (index, interval) in ["10 SECOND", "1 DAY"].into_iter().enumerate() {
            if self.limits.orders[index].1 >= self.order_limits[index] {
                self.limits.exceeded = index;
                let limit = self.order_limits[index];
                let msg =
                    format!("Too many new orders; current limit is {limit} orders per {interval}.");
                return Err((429, json!({ "code": -1015, "msg": msg })));
            }
        }
        self.limits.orders.iter_mut().for_each(|(_, count)| *count += 1);
        self.limits.shown = self.order_counts();
        Ok(())
    }

    /// An order that fills no longer counts.
    pub(super) fn uncount_order(&mut self) {
        self.limits.orders.iter_mut().for_each(|(_, count)| *count = count.saturating_sub(1));
    }

    /// Orders counted in these ten seconds and on this day.
    pub fn order_counts(&self) -> [u64; 2] {
        self.limits.orders.map(|(_, count)| count)
    }
}

fn banned(until: i64) -> (u16, Value) {
    let msg = format!(
        "Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live updates to \
         avoid bans."
    );
    (418, json!({ "code": -1003, "msg": msg }))
}
