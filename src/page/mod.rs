//! Pages: one HTML file that holds all it needs, to be opened from a disk, on a phone, or printed.
//!
//! It knows shapes and words, and nothing of what they mean. Invariant: a page asks nobody for
//! anything, and its own header forbids it to; every text in it is escaped.

pub mod chart;
pub mod history;
pub mod scale;
pub mod sweep;
pub mod table;

use std::fmt::Write as _;

/// A page that is being written, from its top to its end.
#[derive(Debug, Clone)]
pub struct Page {
    html: String,
}

/// How a number is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Something was gained.
    Good,
    /// Something was lost.
    Bad,
}

impl Tone {
    /// Good above nothing, bad below it.
    #[must_use]
    pub fn of(value: f64) -> Self {
        match value.partial_cmp(&0.0) {
            Some(std::cmp::Ordering::Greater) => Self::Good,
            Some(std::cmp::Ordering::Less) => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

impl Page {
    /// A page with its heading: what it is about, a line below that, and what it comes to.
    #[must_use]
    pub fn new(kind: &str, title: &str, subtitle: &str, verdict: &str) -> Self {
        let (kind, title) = (escape(kind), escape(title));
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{ALLOWED}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<title>{title} · {kind}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        );
        let _ = write!(
            html,
            "<header>\n<p class=\"kind\">Ouroboros {kind}</p>\n<h1>{title}</h1>\n\
             <p class=\"subtitle\">{}</p>\n<p class=\"verdict\">{}</p>\n</header>\n",
            escape(subtitle),
            // A number and its unit stay on one line.
            escape(verdict).replace(" %", "\u{a0}%").replace(" bp", "\u{a0}bp")
        );
        Self { html }
    }

    /// The figures that are read first: a name, the value, and a few words below it.
    pub fn tiles<'a>(&mut self, tiles: impl IntoIterator<Item = (&'a str, String, String, Tone)>) {
        self.html.push_str("<dl class=\"tiles\">\n");
        for (name, value, below, tone) in tiles {
            let _ = writeln!(
                self.html,
                "<div><dt>{}</dt><dd class=\"{}\">{}</dd><dd class=\"below\">{}</dd></div>",
                escape(name),
                tone.class(),
                escape(&value),
                escape(&below)
            );
        }
        self.html.push_str("</dl>\n");
    }

    /// A part of the page with a heading; `note` says how to read it. `html` is put there as it is.
    pub fn section(&mut self, heading: &str, note: &str, html: &str) {
        let _ = write!(self.html, "<section>\n<h2>{}</h2>\n", escape(heading));
        if !note.is_empty() {
            let _ = writeln!(self.html, "<p class=\"note\">{}</p>", escape(note));
        }
        let _ = write!(self.html, "{html}\n</section>\n");
    }

    /// The page, with a line of small print at its end.
    #[must_use]
    pub fn finish(mut self, small: &str) -> String {
        let _ = write!(
            self.html,
            "<footer>{}</footer>\n</main>\n<script>\n{HOVER}</script>\n</body>\n</html>\n",
            escape(small)
        );
        self.html
    }
}

/// A text as it may stand in HTML, within tags and attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// What a browser may do with the page: nothing but to show it.
const ALLOWED: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                       img-src data:; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("page.css");
const HOVER: &str = include_str!("hover.js");
