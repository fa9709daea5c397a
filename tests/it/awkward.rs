//! Live trading at awkward moments: what an owner, a slow replica or an impatient person may do in
//! between.

use crate::exchange::{Execute, Lag, Reply, Rule};
use crate::support::clock::{DAY, HOUR};
use crate::support::live::{Live, kind};

/// An exit whose outcome a person must look at is no reason to sell again, nor a bug.
#[test]
fn a_flatten_while_an_order_calls_for_a_person_is_76_and_orders_nothing() {
    for is_exit in [true, false] {
        let live = if is_exit { Live::exit_ahead() } else { Live::entry_ahead() };
        let posts = live.with(|world| world.posts());
        live.exchange.fault(Rule::order(Execute::Never, Reply::Close));
        live.exchange.fault(Rule::every("GET /api/v3/order", Reply::Html(502)));
        let _ = live.run().expect_exit(75);
        live.with(|world| world.rules.clear());
        live.with(|world| world.lag.order = Lag::Millis(i64::MAX));
        // A deposit that can't be told from what the order would have moved keeps it open.
        live.with(|world| world.deposit("ETH", if is_exit { "-0.5" } else { "0.5" }));
        live.advance(DAY + HOUR);
        let _ = live.run().expect_exit(76);
        assert!(live.is_pending());
        let outcome = live.command(&["flatten", "--yes", "--json"]).expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        assert!(live.is_pending());
        assert_eq!(live.with(|world| world.posts()), posts + 1);
    }
}
