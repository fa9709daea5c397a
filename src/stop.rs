//! SIGTERM and SIGINT: a flag that is looked at wherever a run could still change its mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Kind};

/// Whether the run was told to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that SIGTERM and SIGINT set. Where they can't be caught they end the process as
    /// ever; the state on disk is made for that.
    #[must_use]
    pub fn on_signals() -> Self {
        let stop = Self::default();
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop.0)) {
                log::warn!("signal {signal} can't be caught: {error}");
            }
        }
        stop
    }

    /// Whether it was told to.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Goes on unless the run was told to stop. `standing` says how things stand.
    pub fn check(&self, standing: &str) -> Result<(), Failure> {
        if self.is_asked() {
            let message = format!("told to stop by a signal; {standing}");
            return Err(Failure::new(Kind::Stopped, message, "the next run goes on from here"));
        }
        Ok(())
    }
}
