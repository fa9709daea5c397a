//! `explain`: a part of the help, or the list of them.

use std::fmt::Write as _;

use serde_json::json;

use super::Answer;
use crate::help::{self, Part};

/// The part about this topic; the list of them where there is none.
#[must_use]
pub fn explain(topic: Option<&str>) -> Answer {
    let part = topic.and_then(|topic| help::parts().find(|part| part.topic == topic));
    if let Some(Part { topic, title, text }) = part {
        let json = json!({ "topic": topic, "title": title, "text": text });
        return Answer { text: format!("{topic}, {title}\n\n{text}"), json };
    }
    let mut text = format!("{}\n", help::opening());
    for Part { topic, title, .. } in help::parts() {
        let _ = write!(text, "\n  {topic:<16} {title}");
    }
    let topics: Vec<&str> = help::parts().map(|part| part.topic).collect();
    Answer { text, json: json!({ "topics": topics }) }
}
