//! Telegram's `sendMessage`. **Source**: Telegram Bot API, "sendMessage", "Making requests".

use std::time::Duration;

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use crate::clock::Deadline;
use crate::config::Telegram;
use crate::exchange::http::{Http, Request};

/// Telegram takes 4096 UTF-16 units; a byte is never less than one.
pub(super) const MOST_TEXT: usize = 4096;

/// The chat that is told.
pub(super) struct Chat<'a> {
    http: &'a Http,
    telegram: &'a Telegram,
    deadline: Deadline,
}

/// What became of a message.
pub(super) enum Delivery {
    /// It arrived.
    Delivered,
    /// It did not, or nobody knows; then it is sent again with the same number.
    Failed {
        /// So many seconds of silence were asked for.
        silent_for: Option<i64>,
    },
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    description: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<i64>,
}

impl<'a> Chat<'a> {
    pub(super) fn new(http: &'a Http, telegram: &'a Telegram, deadline: Deadline) -> Self {
        Self { http, telegram, deadline }
    }

    pub(super) fn send(&self, text: &str) -> Delivery {
        let chat_id = match self.telegram.chat_id.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => json!(self.telegram.chat_id),
        };
        let body = json!({
            "chat_id": chat_id,
            "text": cut(text),
            "link_preview_options": { "is_disabled": true },
        });
        let request = Request::post(self.url(), "application/json", body.to_string());
        let answer = self.http.ask_one(request, self.deadline.within(ONE_MESSAGE));
        let failed = |why: &str, silent_for| {
            log::warn!("Telegram was not told: {why}; what waits is told by a later run");
            Delivery::Failed { silent_for }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return failed(&format!("{error:#}"), None),
        };
        let parsed: Option<Answer> = serde_json::from_slice(&answer.body).ok();
        match parsed {
            Some(Answer { ok: true, .. }) if answer.status == 200 => Delivery::Delivered,
            Some(Answer { description, parameters, .. }) => {
                let why = description.unwrap_or_default();
                let silent_for = parameters
                    .and_then(|parameters| parameters.retry_after)
                    .filter(|seconds| *seconds > 0);
                failed(&format!("HTTP {}, {why}", answer.status), silent_for)
            }
            None => failed(&format!("HTTP {}", answer.status), None),
        }
    }

    /// The token is part of the address, so the address is never shown.
    fn url(&self) -> Url {
        let mut url = self.telegram.api_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/bot{}/sendMessage", self.telegram.token.expose_secret()));
        url
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

const ONE_MESSAGE: Duration = Duration::from_secs(5);
