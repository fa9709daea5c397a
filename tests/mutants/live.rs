//! The tests of `tests/it` that trade with real orders against the simulated exchange, as a program
//! of their own: see `pure.rs`.

#![allow(dead_code, reason = "each of the shared modules is used in part")]

#[path = "../it/accounts.rs"]
mod accounts;
#[path = "../exchange/mod.rs"]
mod exchange;
#[path = "../it/faults.rs"]
mod faults;
#[path = "../it/halt_live.rs"]
mod halt_live;
#[path = "../it/live.rs"]
mod live;
#[path = "../it/orders_live.rs"]
mod orders_live;
#[path = "../it/settling.rs"]
mod settling;
#[path = "../it/support/mod.rs"]
mod support;
