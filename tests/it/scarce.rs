//! A machine that has run out of something, while real orders are at stake: no order without a durable intent, the exact
//! exit code, nothing lost, and the next run on a machine that is well goes on.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::iter;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::exchange::{Execute, Lag, Lags, Reply, Rule};
use crate::support::clock::{self, MINUTE, SECOND};
use crate::support::folder::walk;
use crate::support::live::Live;
use crate::support::run::{Outcome, Run, succeeds};

#[test]
fn a_full_disk_is_74_and_no_order() {
    hinder(("no space left on device", 74), Small::fill, |it| it.empty("bot.log.filler"));
}

#[test]
fn a_disk_without_inodes_is_74_and_no_order() {
    hinder(("no space left on device", 74), Small::crowd, |it| it.empty("bot.log.crowd"));
}

#[test]
fn a_disk_that_cannot_be_written_is_74_and_no_order() {
    let protect = |it: &Small| it.mount("remount,ro");
    hinder(("read-only file system", 74), protect, |it| it.mount("remount,rw"));
}

#[test]
fn a_state_of_another_user_is_65_and_no_order() {
    let says = "belongs to user 4242, not to user 0 who runs this";
    hinder((says, 65), |it| it.give_to(4242), |it| it.give_to(0));
}

/// Nothing open, an entry due; then an order left open. The hindered run ends with this code and says this and changes
/// nothing; once all is well again, the entry is made, and the order settled.
fn hinder((says, code): (&str, i32), hinder: impl Fn(&Small), relieve: impl Fn(&Small)) {
    for is_open in [false, true] {
        let live = Live::new();
        let Some(small) = Small::new(&live.state()) else {
            println!("skipped, because no small disk can be mounted here");
            return;
        };
        at_stake(&live, is_open);
        hinder(&small);
        let outcome = untouched(&live, live.run(), code);
        assert!(outcome.said().contains(says), "{}", outcome.transcript());
        relieve(&small);
        goes_on(&live, is_open);
    }
}

#[test]
fn a_state_that_may_not_be_looked_into_is_74_and_no_order() {
    for is_open in [false, true] {
        let live = Live::new();
        at_stake(&live, is_open);
        // Nobody's folder, but the way there is open to all.
        let nobody = "exec setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all -- \"$0\" \"$@\"";
        for path in live.state().ancestors().take_while(|path| path.parent().is_some()) {
            let is_state = path == live.state();
            let mode = fs::metadata(path).expect("it is there").permissions().mode();
            let open = if is_state { mode } else { mode | 0o055 };
            fs::set_permissions(path, Permissions::from_mode(open)).expect("ours");
        }
        let outcome = untouched(&live, live.run().shell(nobody), 74);
        assert!(outcome.said().contains("permission denied"), "{}", outcome.transcript());
        goes_on(&live, is_open);
    }
}

#[test]
fn too_few_descriptors_are_74_or_69_and_no_order() {
    for is_open in [false, true] {
        let live = Live::new();
        at_stake(&live, is_open);
        let mut codes = BTreeSet::new();
        for most in 4.. {
            let sent = live.with(|world| world.orders.len());
            let run = live.run().shell(&format!("ulimit -n {most}")).unchecked();
            let outcome = run.expect_one_of(&[0, 69, 74, 75]);
            codes.insert(outcome.code);
            if outcome.code == 0 {
                break;
            }
            assert!(most < 40, "{}", outcome.transcript());
            assert_eq!(live.with(|world| world.orders.len()), sent, "{most}: an order was sent");
            // What is open may be settled by a run that can do no more.
            assert!(is_open || !live.is_pending(), "{most}");
        }
        assert!(codes.is_superset(&BTreeSet::from([0, 69, 74])), "{codes:?}");
        assert_eq!(live.with(|world| world.orders.len()), 1);
        live.check();
    }
}

#[test]
fn a_clock_of_1970_or_2038_decides_nothing_and_settles_nothing_too_early() {
    for is_open in [false, true] {
        let live = Live::new();
        at_stake(&live, is_open);
        // The replicas are behind: that they know of no order means nothing yet, whatever this machine takes the time for.
        live.with(|world| world.lag = Lags::all(Lag::Millis(20 * SECOND)));
        for moment in ["1970-01-01T00:00:05Z", "2038-01-19T03:14:06Z", "2106-02-07T06:28:14Z"] {
            let moment: jiff::Timestamp = moment.parse().expect("a time");
            let shift = moment.as_millisecond() - clock::now();
            let run = live.run().env("CLOCK_SHIFT_MS", shift.to_string());
            let (code, says) = if is_open { (75, "believed only after") } else { (69, "clock") };
            let outcome = untouched(&live, run, code);
            assert!(outcome.said().contains(says), "{}", outcome.transcript());
        }
        live.advance(MINUTE);
        goes_on(&live, is_open);
    }
}

/// An entry due, or an order that left and was not heard of.
fn at_stake(live: &Live, is_open: bool) {
    live.expect_hold();
    live.next_candle("21");
    if is_open {
        live.with(|world| {
            world.rules.push(Rule::order(Execute::Now, Reply::Close));
            world.rules.push(Rule::every("GET /api/v3/order", Reply::Html(502)));
        });
        let _ = live.run().expect_exit(75);
        live.with(|world| world.rules.clear());
        assert!(live.is_pending());
    }
}

/// This code, no order, and not a byte changed.
#[track_caller]
fn untouched(live: &Live, run: Run, code: i32) -> Outcome {
    let (before, sent) = (live.folder().snapshot(), live.with(|world| world.orders.len()));
    let outcome = run.unchecked().expect_exit(code);
    assert_eq!(live.with(|world| world.orders.len()), sent, "an order was sent");
    assert_eq!(live.folder().snapshot(), before, "something was changed");
    outcome
}

/// What was due is done, once.
#[track_caller]
fn goes_on(live: &Live, is_open: bool) {
    let action = if is_open { "already-processed" } else { "buy" };
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!(action))]);
    assert_eq!(live.with(|world| world.orders.len()), 1);
    live.check();
}

/// A disk with room for a state and little else.
struct Small {
    place: PathBuf,
}

impl Small {
    /// Mounted there, which takes the rights of root.
    fn new(place: &Path) -> Option<Self> {
        fs::create_dir(place).expect("a folder");
        let small = Self { place: place.to_owned() };
        let options = "size=256k,nr_inodes=64,mode=0700";
        succeeds("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &place.to_string_lossy()])
            .then_some(small)
    }

    fn mount(&self, options: &str) {
        assert!(succeeds("mount", &["-o", options, &self.place.to_string_lossy()]));
    }

    /// Takes what room there is.
    fn fill(&self) {
        let bytes = vec![0; 512 << 10];
        fs::write(self.place.join("bot.log.filler"), bytes).expect_err("there is no such room");
    }

    /// Makes files until no other can be made.
    fn crowd(&self) {
        let crowd = self.place.join("bot.log.crowd");
        fs::create_dir(&crowd).expect("room for a folder");
        let made = (0..100).take_while(|it| fs::write(crowd.join(it.to_string()), "").is_ok());
        assert!(made.count() < 100, "there are inodes left");
    }

    /// Gives all of it to this user.
    fn give_to(&self, user: u32) {
        for path in iter::once(self.place.clone()).chain(walk(&self.place)) {
            chown(path, Some(user), None).expect("as root");
        }
    }

    /// Takes away what was put there.
    fn empty(&self, name: &str) {
        let path = self.place.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("ours");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        succeeds("umount", &["-l", &self.place.to_string_lossy()]);
    }
}
