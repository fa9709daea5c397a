//! What the tests stand on: a scripted exchange, the real binary in an empty folder, candles from text.

pub(crate) mod binance;
pub(crate) mod clock;
pub(crate) mod desk;
pub(crate) mod dice;
pub(crate) mod dump;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod law;
pub(crate) mod live;
pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod tls;
pub(crate) mod trace;
