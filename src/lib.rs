//! Trades a pair by mean reversion on Binance Spot: one safe step per start.
//!
//! A start is a function from what was (the state on disk), what is (the exchange's candles) and
//! when to what happens next. Deciding is pure and can't fail: that is [`trading`]. Everything
//! that can fail is a thin line around it, in [`run`]. There is no shutdown path and no recovery
//! mode: every start is the recovery. The modules, in reading order:

pub mod run;
pub mod trading;

pub mod command;
pub mod exchange;
pub mod history;
pub mod notify;
pub mod page;
pub mod preflight;
pub mod report;
pub mod store;
pub mod world;

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod failure;
mod help;
pub mod instance;
pub mod logging;
pub mod random;
pub mod stop;
