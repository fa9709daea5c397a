//! Telegram's messages, bot and chat. **Source**: Telegram Bot API, "Making requests", "getMe",
//! "getChat", "sendMessage".

use std::time::Duration;

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};

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

/// Why there is no good answer.
pub(super) struct Trouble {
    /// In words, without the token.
    pub(super) why: String,
    /// So many seconds of silence were asked for.
    pub(super) silent_for: Option<i64>,
    /// Telegram understood and said no: asked again it says the same.
    pub(super) is_refusal: bool,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
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
        let body = json!({
            "chat_id": self.chat_id(),
            "text": cut(text),
            "link_preview_options": { "is_disabled": true },
        });
        match self.call("sendMessage", &body) {
            Ok(_) => Delivery::Delivered,
            Err(Trouble { why, silent_for, .. }) => {
                log::warn!("Telegram was not told: {why}; what waits is told by a later run");
                Delivery::Failed { silent_for }
            }
        }
    }

    /// The bot's name.
    pub(super) fn bot(&self) -> Result<String, Trouble> {
        let bot = self.call("getMe", &json!({}))?;
        Ok(plain(bot["username"].as_str().unwrap_or("a bot without a name")))
    }

    /// What kind of chat it is.
    pub(super) fn kind(&self) -> Result<String, Trouble> {
        let chat = self.call("getChat", &json!({ "chat_id": self.chat_id() }))?;
        Ok(plain(chat["type"].as_str().unwrap_or("unknown")))
    }

    fn call(&self, method: &str, body: &Value) -> Result<Value, Trouble> {
        let request = Request::post(self.url(method), "application/json", body.to_string());
        let trouble = |why: String| Trouble { why, silent_for: None, is_refusal: false };
        let answer = self
            .http
            .ask_one(request, self.deadline.within(ONE_MESSAGE))
            .map_err(|error| trouble(format!("{error:#}")))?;
        let status = answer.status;
        let parsed: Option<Answer> = serde_json::from_slice(&answer.body).ok();
        match parsed {
            Some(Answer { ok: true, result, .. }) if status == 200 => Ok(result),
            Some(Answer { description, parameters, .. }) => Err(Trouble {
                why: format!("HTTP {status}, {}", plain(&description.unwrap_or_default())),
                silent_for: parameters
                    .and_then(|parameters| parameters.retry_after)
                    .filter(|seconds| *seconds > 0),
                is_refusal: matches!(status, 400 | 401 | 403 | 404),
            }),
            None => Err(trouble(format!("HTTP {status}"))),
        }
    }

    fn chat_id(&self) -> Value {
        match self.telegram.chat_id.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => json!(self.telegram.chat_id),
        }
    }

    /// The token is part of the address, so the address is never shown.
    fn url(&self, method: &str) -> Url {
        let mut url = self.telegram.api_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/bot{}/{method}", self.telegram.token.expose_secret()));
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

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

const ONE_MESSAGE: Duration = Duration::from_secs(5);
