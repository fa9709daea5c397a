//! How far a long command is, in one line of a terminal's standard error that is gone at the end.

use std::io::{IsTerminal as _, Write as _};

/// A line that is written anew with each step; nothing where nobody looks at a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    all: usize,
    what: &'static str,
    is_shown: bool,
}

impl Progress {
    /// Of so many `what`, nothing is done yet.
    #[must_use]
    pub(super) fn of(all: usize, what: &'static str) -> Self {
        Self { all, what, is_shown: std::io::stderr().is_terminal() }
    }

    /// Not for those who want to hear of problems only.
    #[must_use]
    pub(super) fn unless(self, is_quiet: bool) -> Self {
        Self { is_shown: self.is_shown && !is_quiet, ..self }
    }

    /// So many are done.
    pub(super) fn show(&self, done: usize) {
        if self.is_shown {
            // Nothing depends on whether it is seen.
            let _ = write!(std::io::stderr(), "\r{}", line(done, self.all, self.what));
        }
    }

    /// Makes room for what comes after it.
    pub(super) fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: usize, all: usize, what: &str) -> String {
    let full = (done * WIDTH).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    let (full, empty) = ("#".repeat(full), ".".repeat(WIDTH - full));
    format!("[{full}{empty}] {done} of {all} {what}")
}

const WIDTH: usize = 24;

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_is_full_when_all_is_done_and_not_before() {
        assert_eq!(line(0, 3, "months"), "[........................] 0 of 3 months");
        assert_eq!(line(2, 3, "months"), "[################........] 2 of 3 months");
        assert_eq!(line(99, 100, "cells"), "[#######################.] 99 of 100 cells");
        assert_eq!(line(3, 3, "months"), "[########################] 3 of 3 months");
        assert_eq!(line(0, 0, "months"), "[########################] 0 of 0 months");
    }
}
