//! A simulated Binance Spot: balances, books, filters, fills, commission, candles, weights and bans, and everything that
//! can go wrong between it and a client. It knows nothing of the program that it judges; its rules are the exchange's
//! documents'.
//!
//! The tests start it in their own process, `cargo run --example exchange` by hand. Telegram and a health check answer
//! on the same port, and so do the dumps of past months.

#![allow(dead_code, unused_imports, reason = "the tests and the program each use a part of it")]
#![allow(unreachable_pub, reason = "public within either of them")]

mod answers;
mod chaos;
mod door;
mod dumps;
mod fault;
mod http;
mod limits;
mod market;
mod orders;
mod questions;
mod sign;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use answers::as_read;
pub use chaos::Chaos;
pub use dumps::{Dumps, zip};
pub use fault::{Execute, Fault, On, Reply, Rule};
pub use http::Response;
pub use market::{Candle, Recording, Symbol};
pub use orders::Order;
pub use world::{Asked, Balance, FeeAsset, Lag, Lags, Logged, Setup, World};

/// A running exchange; it ends when it is dropped.
pub struct Exchange {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What the threads of the connections share.
struct Shared {
    world: Mutex<World>,
    stop: std::sync::atomic::AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        // A test that failed while it looked must not hide its reason behind a poisoned lock.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// Starts one on a free port of the loopback.
    pub fn start(setup: Setup) -> Self {
        Self::start_at(setup, 0)
    }

    /// Starts one on this port of the loopback.
    pub fn start_at(setup: Setup, port: u16) -> Self {
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(setup)),
            stop: std::sync::atomic::AtomicBool::new(false),
        });
        let address = http::listen(&shared, port);
        Self { shared, address }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The key that it knows.
    pub fn key(&self) -> String {
        self.with(|world| world.key.clone())
    }

    /// The secret of that key.
    pub fn secret(&self) -> String {
        self.with(|world| world.secret.clone())
    }

    /// Looks at it, or changes it, between two requests.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.shared.lock();
        world.execute_late();
        look(&mut world)
    }

    /// One more rule of what goes wrong.
    pub fn fault(&self, rule: Rule) {
        self.with(|world| world.rules.push(rule));
    }

    /// Moves its clock on.
    pub fn advance(&self, millis: i64) {
        self.with(|world| world.offset_ms += millis);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        // The listener wakes up to see it.
        let _ = std::net::TcpStream::connect(self.address);
    }
}
