//! `status --all`: every instance of this machine in one table. Reads their states alone, no
//! configuration: a state knows its pair, its timeframe and its world.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use crate::failure::Failure;
use crate::store::disk::{Disk, System};
use crate::store::outside::Outside;
use crate::store::{self, State};
use crate::trading::book::Position;

/// One book, or why it can't be shown.
struct Instance {
    /// The folder's name.
    name: String,
    world: &'static str,
    book: Result<Shown, Failure>,
}

/// What is shown of a book.
struct Shown {
    pair: String,
    timeframe: String,
    state: String,
    z: Option<f64>,
    realized: String,
    round_trips: u64,
    last_candle: Option<String>,
    /// What a person should know: halted, pending, failing.
    remarks: Vec<String>,
}

/// Each instance below `folder`, and the folder itself where it is one; the failure is that of the
/// first book that can't be trusted or read.
///
/// **Errors**: the folder can't be read, or nothing is in it.
pub fn instances(folder: Option<&Path>) -> Result<(Answer, Option<Failure>), Failure> {
    let folder = folder.unwrap_or(Path::new(FOLDER));
    let mut places = vec![folder.to_owned()];
    places.extend(below(folder)?);
    let mut found: Vec<Instance> = Vec::new();
    for place in places {
        for world in WORLDS {
            let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = place.join(world);
            match look(&path) {
                Ok(None) => {}
                Ok(Some(shown)) => found.push(Instance { name, world, book: Ok(shown) }),
                Err(failure) => found.push(Instance { name, world, book: Err(failure) }),
            }
        }
    }
    if found.is_empty() {
        return Err(nothing(folder));
    }
    let failure = found.iter().find_map(|it| it.book.as_ref().err()).cloned();
    let json = json!({ "instances": found.iter().map(to_json).collect::<Vec<_>>() });
    Ok((Answer { text: table(&found), json }, failure))
}

fn nothing(folder: &Path) -> Failure {
    Failure::configuration(
        format!("there is no book in `{}` nor in the folders below it", folder.display()),
        "give `--state-dir` the folder that holds the instances' state directories",
    )
}

fn below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| {
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
            return nothing(folder);
        }
        let error = anyhow::Error::new(error);
        Failure::storage(&error.context(format!("failed to look into `{}`", folder.display())))
    };
    let mut places = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // systemd may have made it a link.
        if std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir()) {
            places.push(entry.path());
        }
    }
    places.sort();
    Ok(places)
}

fn look(path: &Path) -> Result<Option<Shown>, Failure> {
    // A folder's state may be a link no less than a folder's book must not be one.
    let Some(state) = store::peek(&System, path)? else { return Ok(None) };
    let disk = System::shared();
    shown(disk.as_ref(), path, &state).map(Some)
}

fn shown(disk: &dyn Disk, path: &Path, state: &State) -> Result<Shown, Failure> {
    let (book, identity) = (&state.book, &state.identity);
    let asset = |symbol: &str| symbol.split('/').next().unwrap_or(symbol).to_owned();
    let legs = [asset(&identity.numerator), asset(&identity.denominator)];
    let held = book.position.holding().map(|holding| &legs[holding.leg.index()]);
    let records = store::recent_records(disk, path, state)?;
    let last = records.iter().map(|record| &record["result"]).find(|it| it.is_object());
    let mut remarks = Vec::new();
    if let Some(intent) = book.pending() {
        remarks.push(format!("pending since {}", intent.timestamp));
    }
    match store::read_halt(disk, path)?.or(book.halt.as_ref().map(|halt| halt.reason.clone())) {
        Some(reason) => remarks.push(format!("halted: {reason}")),
        None if matches!(book.position, Position::Leaving(_)) => {
            remarks.push("an exit is not finished".to_owned());
        }
        None => {}
    }
    let outside = Outside::load(System::shared(), path);
    for (kind, failure) in &outside.memory.failures {
        remarks.push(format!("{kind} since {} ({} runs)", failure.since, failure.runs));
    }
    Ok(Shown {
        pair: legs.join("/"),
        timeframe: identity.timeframe.clone(),
        state: held.map_or_else(|| "NONE".to_owned(), |asset| format!("HOLDING_{asset}")),
        z: last.and_then(|last| last["z"].as_f64()),
        realized: book.realized.to_string(),
        round_trips: book.round_trips,
        last_candle: book.last_candle.map(|candle| candle.to_string()),
        remarks,
    })
}

fn to_json(instance: &Instance) -> Value {
    let Instance { name, world, book } = instance;
    match book {
        Ok(shown) => json!({
            "instance": name, "mode": world, "pair": shown.pair, "timeframe": shown.timeframe,
            "state": shown.state, "z": shown.z, "realized_pnl": shown.realized,
            "trades": shown.round_trips, "last_candle": shown.last_candle,
            "remarks": shown.remarks,
        }),
        Err(failure) => {
            json!({ "instance": name, "mode": world, "error": failure.to_json() })
        }
    }
}

fn table(instances: &[Instance]) -> String {
    let head =
        ["instance", "mode", "pair", "every", "state", "z", "realized", "trips", "last candle"];
    let mut rows: Vec<(Vec<String>, String)> =
        vec![(head.map(str::to_owned).to_vec(), String::new())];
    for Instance { name, world, book } in instances {
        let mut cells = vec![name.clone(), (*world).to_owned()];
        let remarks = match book {
            Ok(it) => {
                cells.extend([
                    it.pair.clone(),
                    it.timeframe.clone(),
                    it.state.clone(),
                    it.z.map_or_else(|| "-".to_owned(), |z| format!("{z:+.4}")),
                    it.realized.clone(),
                    it.round_trips.to_string(),
                    it.last_candle.clone().unwrap_or_else(|| "none".to_owned()),
                ]);
                it.remarks.join("; ")
            }
            Err(failure) => failure.message.clone(),
        };
        rows.push((cells, remarks));
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|(cells, _)| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |(cells, remarks): &(Vec<String>, String)| {
        let cell = |(column, text): (usize, &String)| {
            let width = widths[column];
            // Numbers stand at the right.
            if (5..8).contains(&column) {
                format!("{text:>width$}")
            } else {
                format!("{text:<width$}")
            }
        };
        let mut cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
        cells.push(remarks.clone());
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Where the units keep the states of all instances.
const FOLDER: &str = "/var/lib/ouroboros";
const WORLDS: [&str; 2] = ["live", "paper"];
