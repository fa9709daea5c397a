//! The tests of `tests/it` that break what is written to disk, as a program of their own: see
//! `pure.rs`.

#![allow(dead_code, reason = "each of the shared modules is used in part")]

#[path = "../it/audit.rs"]
mod audit;
#[path = "../it/crash_points.rs"]
mod crash_points;
#[path = "../it/damage.rs"]
mod damage;
#[path = "../exchange/mod.rs"]
mod exchange;
#[path = "../it/halt.rs"]
mod halt;
#[path = "../it/halt_live.rs"]
mod halt_live;
#[path = "../it/inside/mod.rs"]
mod inside;
#[path = "../it/simulator.rs"]
mod simulator;
#[path = "../it/state.rs"]
mod state;
#[path = "../it/support/mod.rs"]
mod support;
#[path = "../it/telling.rs"]
mod telling;
#[path = "../it/years.rs"]
mod years;
