//! The health check: one ping at the end of a run, as healthchecks.io and its like take it.

use std::time::Duration;

use reqwest::Url;

use crate::exchange::http::{Http, Request};

/// Pings `url` itself after a good run, `url/fail` after any other, with one line as the body.
pub(super) fn ping(http: &Http, url: &Url, line: &str, is_good: bool) {
    let mut url = url.clone();
    if !is_good {
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/fail"));
    }
    let request = Request::post(url, "text/plain; charset=utf-8", line.replace('\n', " "));
    match http.ask_one(request, http.clock().deadline(ONE_PING)) {
        Ok(answer) if (200..300).contains(&answer.status) => {}
        Ok(answer) => log::warn!("the health check answered with HTTP {}", answer.status),
        Err(error) => log::warn!("the health check was not reached: {error:#}"),
    }
}

const ONE_PING: Duration = Duration::from_secs(4);
