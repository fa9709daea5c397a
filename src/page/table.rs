//! Tables: rows of words and numbers, and cells whose colour says how much they are.

#![expect(clippy::float_arithmetic, reason = "colours are no money")]

use std::fmt::Write as _;

use super::escape;

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words, from the left.
    Words(String),
    /// A number, from the right.
    Number(String),
    /// A number with a colour: how much it is of the most there is, from -1, the deepest loss, to 1;
    /// and what is said of it when it is pointed at.
    Heat(String, f64, String),
    /// Nothing.
    Empty,
}

/// A table. The first cell of each row is what the row is about.
#[must_use]
pub fn table(headings: &[String], rows: &[Vec<Cell>]) -> String {
    let mut html = "<div class=\"wide\"><table>\n<thead><tr>".to_owned();
    for (number, heading) in headings.iter().enumerate() {
        let is_words = |row: &Vec<Cell>| matches!(row.get(number), Some(Cell::Words(_)));
        let class = if rows.first().is_some_and(is_words) { " class=\"words\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (number, cell) in row.iter().enumerate() {
            html.push_str(&in_html(cell, number == 0));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn in_html(cell: &Cell, is_first: bool) -> String {
    match cell {
        Cell::Words(text) if is_first => format!("<th scope=\"row\">{}</th>", escape(text)),
        Cell::Words(text) => format!("<td class=\"words\">{}</td>", escape(text)),
        Cell::Number(text) => format!("<td>{}</td>", escape(text)),
        Cell::Heat(text, share, said) => {
            let colour = if *share < 0.0 { "loss" } else { "gain" };
            format!(
                "<td class=\"heat {colour}\" style=\"--share:{:.0}%\" title=\"{}\">{}</td>",
                share.abs().min(1.0) * 60.0,
                escape(said),
                escape(text)
            )
        }
        Cell::Empty => "<td></td>".to_owned(),
    }
}
