//! What each exit code and each halt means, what is safe then, and what to type.
//!
//! The text is `docs/help.md`, inside the binary: whoever needs it may have no network.

/// One part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// What it is asked for by.
    pub(crate) topic: &'static str,
    /// What it is about, in a few words.
    pub(crate) title: &'static str,
    /// The text, as Markdown.
    pub(crate) text: &'static str,
}

/// All parts, in their order.
pub(crate) fn parts() -> impl Iterator<Item = Part> {
    HELP.split(HEAD).skip(1).filter_map(|part| {
        let (head, text) = part.split_once('\n')?;
        let (topic, title) = head.split_once(", ")?;
        Some(Part { topic, title, text: text.trim() })
    })
}

/// What stands before the parts.
#[must_use]
pub(crate) fn opening() -> &'static str {
    HELP.split(HEAD).next().unwrap_or_default().trim()
}

/// The part about a halt, by its reason: it begins with how the reason is told, in quotes, with dots
/// for what differs from one to the next.
pub(crate) fn about_halt(reason: &str) -> Option<Part> {
    parts().find(|part| {
        let told = part.text.strip_prefix('"').and_then(|text| text.split('"').next());
        told.is_some_and(|told| told.split("...").all(|words| reason.contains(words)))
    })
}

const HELP: &str = include_str!("../docs/help.md");
const HEAD: &str = "\n## ";

#[cfg(test)]
mod tests {
    use super::{about_halt, parts};
    use crate::failure::Kind;

    #[test]
    fn every_exit_code_has_its_part_and_every_part_that_is_named_exists() {
        let topics: Vec<&str> = parts().map(|part| part.topic).collect();
        for code in ["0", "2"]
            .map(str::to_owned)
            .into_iter()
            .chain(Kind::ALL.map(|it| it.code().to_string()))
        {
            assert!(topics.contains(&&*code), "{code}");
        }
        for part in parts() {
            assert!(!part.text.is_empty(), "{}", part.topic);
            for named in part.text.split('`').skip(1).step_by(2) {
                let is_topic = named.contains('-')
                    && !named.starts_with('-')
                    && named.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                assert!(!is_topic || topics.contains(&named), "{} names `{named}`", part.topic);
            }
        }
    }

    #[test]
    fn each_reason_of_a_halt_has_its_part() {
        for (reason, topic) in [
            ("an exit was refused 3 times: Account has insufficient balance", "exit-refused"),
            (
                "the account has 0.1 ETH free, the book says 0.2 ETH: 0.1 ETH are missing",
                "coins-missing",
            ),
            (
                "the exchange has orders of this instance that the book does not know: ouro-1",
                "unknown-orders",
            ),
            (
                "an order ouro-1 exists already: another machine or a restored backup decides the same",
                "id-exists",
            ),
            ("the order ouro-1 is open for a day: it is not shown", "open-for-a-day"),
            ("the order ouro-1 can't be explained: its trades don't sum up", "unexplained"),
            (
                "there is no book here, but the account 7 has orders of this instance, such as ouro-1",
                "no-book",
            ),
        ] {
            assert_eq!(about_halt(reason).map(|part| part.topic), Some(topic), "{reason}");
        }
        assert_eq!(about_halt("flatten was asked for"), None);
    }
}
