//! The tests of `tests/it` that need nothing but the core, as a program of their own: it is built
//! in seconds, and a mutant is built for each of a thousand changes. `cargo test` leaves it out.

#![allow(dead_code, reason = "each of the shared modules is used in part")]

#[path = "../it/account.rs"]
mod account;
#[path = "../it/machine.rs"]
mod machine;
#[path = "../it/money.rs"]
mod money;
#[path = "../it/orders.rs"]
mod orders;
#[path = "../it/settlement.rs"]
mod settlement;
#[path = "../it/sign.rs"]
mod sign;
#[path = "../it/statistics.rs"]
mod statistics;

/// What those stand on.
#[path = "../it/support"]
mod support {
    pub(crate) mod clock;
    pub(crate) mod law;
    pub(crate) mod table;
}
