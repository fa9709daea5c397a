//! Telegram's messages, bot and chat. **Source**: Telegram Bot API, "Making requests", "getMe",
//! "getChat", "getUpdates", "sendMessage", "sendPhoto", "HTML style".

use std::time::Duration;

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Deadline;
use crate::config::{Bot, Telegram};
use crate::exchange::http::{Http, Request};
use crate::trading::time::Timestamp;

/// Telegram takes 4096 UTF-16 units, markup not counted; a byte is never less than one.
pub(super) const MOST_TEXT: usize = 4096;

/// So much beneath a picture.
pub(super) const MOST_CAPTION: usize = 1024;

/// The bot's side of Telegram.
pub(super) struct Api<'a> {
    http: &'a Http,
    bot: &'a Bot,
    deadline: Deadline,
}

/// The chat that is told.
pub(super) struct Chat<'a> {
    pub(super) api: Api<'a>,
    chat_id: &'a str,
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
    /// The chat has another number now.
    moved_to: Option<i64>,
}

/// What somebody wrote to the bot.
pub(super) struct Received {
    /// Its number; a later one is higher.
    pub(super) update: i64,
    /// In which chat.
    pub(super) chat: i64,
    /// What the chat is called.
    pub(super) chat_name: String,
    /// Who; nobody in a channel.
    pub(super) user: Option<i64>,
    /// When, by Telegram's clock.
    pub(super) at: Option<Timestamp>,
    /// What; empty where it was no text.
    pub(super) text: String,
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
    migrate_to_chat_id: Option<i64>,
}

impl<'a> Chat<'a> {
    pub(super) fn new(http: &'a Http, telegram: &'a Telegram, deadline: Deadline) -> Self {
        Self { api: Api { http, bot: &telegram.bot, deadline }, chat_id: &telegram.chat_id }
    }

    /// Sends a text, in as many messages as it takes.
    pub(super) fn send(&self, text: &str) -> Delivery {
        for part in parts(text, MOST_TEXT) {
            let fields = json!({ "link_preview_options": { "is_disabled": true } });
            let put = |fields: &Value| {
                self.api.call("sendMessage", "application/json", fields.to_string().into_bytes())
            };
            if let Err(trouble) = self.tell("text", part, fields, &put) {
                return failed(&trouble);
            }
        }
        Delivery::Delivered
    }

    /// Sends a picture (PNG) with a text beneath it; the text alone where the picture is not taken.
    pub(super) fn send_picture(&self, png: &[u8], text: &str) -> Delivery {
        if text.len() > MOST_CAPTION {
            return self.send(text);
        }
        let put = |fields: &Value| {
            let (kind, body) = form(fields, png);
            self.api.call("sendPhoto", kind, body)
        };
        match self.tell("caption", text, json!({}), &put) {
            Ok(()) => Delivery::Delivered,
            Err(trouble) if trouble.is_refusal => {
                log::warn!("Telegram did not take the picture: {}", trouble.why);
                self.send(text)
            }
            Err(trouble) => failed(&trouble),
        }
    }

    /// One message, with what is worth a second try: a chat that has moved, and markup that
    /// Telegram does not understand. An alert must arrive.
    fn tell(
        &self,
        field: &str,
        text: &str,
        mut fields: Value,
        put: &dyn Fn(&Value) -> Result<Value, Trouble>,
    ) -> Result<(), Trouble> {
        fields["chat_id"] = self.chat_id();
        fields[field] = json!(html(text));
        fields["parse_mode"] = json!("HTML");
        let mut done = put(&fields);
        if let Err(Trouble { moved_to: Some(id), .. }) = done {
            log::warn!(
                "the chat {} has become {id}; set `TELEGRAM_CHAT_ID` to that number",
                self.chat_id
            );
            fields["chat_id"] = json!(id);
            done = put(&fields);
        }
        if done.as_ref().is_err_and(|trouble| trouble.why.contains(NOT_PARSED)) {
            fields[field] = json!(text);
            fields["parse_mode"].take();
            done = put(&fields);
        }
        done.map(drop)
    }

    /// What kind of chat it is.
    pub(super) fn kind(&self) -> Result<String, Trouble> {
        let chat = self.api.ask("getChat", &json!({ "chat_id": self.chat_id() }))?;
        Ok(plain(chat["type"].as_str().unwrap_or("unknown")))
    }

    fn chat_id(&self) -> Value {
        match self.chat_id.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => json!(self.chat_id),
        }
    }
}

impl<'a> Api<'a> {
    pub(super) fn new(http: &'a Http, bot: &'a Bot, deadline: Deadline) -> Self {
        Self { http, bot, deadline }
    }

    /// What was written to the bot, from the update of this number on; asking for one says that
    /// those before were received. Without a number nothing is said to be received.
    pub(super) fn received(&self, from: Option<i64>) -> Result<Vec<Received>, Trouble> {
        let question = json!({
            "offset": from, "limit": 100, "timeout": 0, "allowed_updates": ["message"],
        });
        let updates = self.ask("getUpdates", &question)?;
        let read = |update: &Value| {
            let message = &update["message"];
            let chat = &message["chat"];
            let name = ["title", "username", "first_name"].iter().find_map(|it| chat[it].as_str());
            let seconds = message["date"].as_i64();
            Some(Received {
                update: update["update_id"].as_i64()?,
                chat: chat["id"].as_i64().unwrap_or_default(),
                chat_name: plain(name.unwrap_or_default()),
                user: message["from"]["id"].as_i64(),
                at: seconds.and_then(|at| Timestamp::from_millis(at.checked_mul(1000)?)),
                text: plain(message["text"].as_str().unwrap_or_default()),
            })
        };
        Ok(updates.as_array().into_iter().flatten().filter_map(read).collect())
    }

    /// The bot's name.
    pub(super) fn bot(&self) -> Result<String, Trouble> {
        let bot = self.ask("getMe", &json!({}))?;
        Ok(plain(bot["username"].as_str().unwrap_or("a bot without a name")))
    }

    fn ask(&self, method: &str, question: &Value) -> Result<Value, Trouble> {
        self.call(method, "application/json", question.to_string().into_bytes())
    }

    fn call(&self, method: &str, kind: &'static str, body: Vec<u8>) -> Result<Value, Trouble> {
        let request = Request::post(self.url(method), kind, body);
        let trouble =
            |why: String| Trouble { why, silent_for: None, is_refusal: false, moved_to: None };
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
                    .as_ref()
                    .and_then(|parameters| parameters.retry_after)
                    .filter(|seconds| *seconds > 0),
                moved_to: parameters.and_then(|parameters| parameters.migrate_to_chat_id),
                is_refusal: matches!(status, 400 | 401 | 403 | 404),
            }),
            None => Err(trouble(format!("HTTP {status}"))),
        }
    }

    /// The token is part of the address, so the address is never shown.
    fn url(&self, method: &str) -> Url {
        let mut url = self.bot.api_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/bot{}/{method}", self.bot.token.expose_secret()));
        url
    }
}

fn failed(trouble: &Trouble) -> Delivery {
    log::warn!("Telegram was not told: {}; what waits is told by a later run", trouble.why);
    Delivery::Failed { silent_for: trouble.silent_for }
}

/// A text in parts of so many bytes at most, cut after a line where there is one.
fn parts(text: &str, most: usize) -> Vec<&str> {
    let (mut rest, mut parts) = (text, Vec::new());
    while rest.len() > most {
        let line = rest.as_bytes()[..most].iter().rposition(|byte| *byte == b'\n');
        let end = line.filter(|end| *end > 0).unwrap_or_else(|| char_boundary(rest, most));
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    parts.push(rest);
    parts
}

/// The last place up to `most` bytes where no character is cut.
fn char_boundary(text: &str, most: usize) -> usize {
    (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// A text as Telegram's HTML: what it begins with, up to the first colon and blank or line end, in bold.
fn html(text: &str) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let line = text.find('\n').unwrap_or(text.len());
    let end = text[..line].find(": ").map_or(line, |colon| colon + 1);
    let (head, rest) = text.split_at(end);
    format!("<b>{}</b>{}", escaped(head), escaped(rest))
}

/// A picture and its fields as a form. **Source**: RFC 7578.
fn form(fields: &Value, png: &[u8]) -> (&'static str, Vec<u8>) {
    let mut body = Vec::with_capacity(png.len() + 2048);
    let mut begin = |name: &str, more: &str, content: &[u8]| {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    for (name, value) in
        fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null())
    {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        begin(name, "", text.as_bytes());
    }
    begin("photo", "; filename=\"day.png\"\r\nContent-Type: image/png", png);
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (FORM, body)
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

const ONE_MESSAGE: Duration = Duration::from_secs(5);

/// How Telegram begins to say that it does not understand the markup.
const NOT_PARSED: &str = "can't parse entities";

/// Between the parts of a form: no text of ours has it, and no picture but by a chance of 2^-128.
const BOUNDARY: &str = "ouroboros-5b1c7e0d9a3f4826b0e7d1c94f6a2385";
const FORM: &str = "multipart/form-data; boundary=ouroboros-5b1c7e0d9a3f4826b0e7d1c94f6a2385";
