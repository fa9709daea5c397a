//! `telegram-setup`: finds out which number a chat has, so that nobody has to look it up.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::json;

use super::Answer;
use crate::config::Bot;
use crate::exchange::http::Http;
use crate::failure::Failure;
use crate::notify;

/// The chats in which somebody wrote to the bot, as lines for `.env`.
///
/// **Errors**: as [`notify::find_chats`].
pub fn telegram_setup(bot: &Bot, http: &Http) -> Result<Answer, Failure> {
    let ask = |name: &str| {
        // Whoever does not see it reads it in the help.
        let _ = writeln!(
            std::io::stderr(),
            "write anything to @{name} in Telegram now; in a group, /start@{name}"
        );
    };
    let (bot, found) = notify::find_chats(bot, http, ask)?;
    let mut text = format!("@{bot} was written to. Put the lines of one chat into your .env:");
    for chat in &found {
        let kind = if chat.chat < 0 { "group" } else { "chat" };
        let _ = write!(text, "\n\n# {kind} {}\nTELEGRAM_CHAT_ID={}", chat.name, chat.chat);
        if let Some(user) = chat.user {
            let _ = write!(text, "\nTELEGRAM_USER_ID={user}");
        }
    }
    text.push_str("\n\nthen: ouroboros check");
    let chats: Vec<_> = found
        .iter()
        .map(|it| json!({ "chat_id": it.chat, "name": it.name, "user_id": it.user }))
        .collect();
    Ok(Answer { text, json: json!({ "bot": bot, "chats": chats }) })
}
