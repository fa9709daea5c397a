//! Charts: panels one above the other over the same time, drawn as SVG that stretches to any width.
//!
//! Shapes stretch, words don't: labels are HTML beside the drawing, lines keep their width and a
//! dot is a line of no length with a round end. What the pointer is at is told by the page's script,
//! from the numbers that stand beside each chart.

#![expect(clippy::float_arithmetic, reason = "places on a page are no money")]

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::escape;
use super::scale::{Scale, moments};
use crate::trading::time::Timestamp;

/// Panels that share an axis of time.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The moments that values belong to, rising.
    pub times: Vec<Timestamp>,
    /// From top to bottom.
    pub panels: Vec<Panel>,
    /// What is told at a moment besides its values.
    pub notes: Vec<(usize, String)>,
}

/// Values with one scale.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What it shows.
    pub name: String,
    /// What stands behind each number, such as ` %`.
    pub unit: &'static str,
    /// Whether numbers have a sign.
    pub is_signed: bool,
    /// Whether it is as tall as it can be, or half of that.
    pub is_tall: bool,
    /// Lines from left to right, such as thresholds.
    pub levels: Vec<f64>,
    /// From back to front.
    pub series: Vec<Series>,
}

/// Values over time.
#[derive(Debug, Clone)]
pub struct Series {
    /// As in the legend; it is not there without one.
    pub name: String,
    /// Its colour's name in the style sheet.
    pub colour: &'static str,
    /// How they are drawn.
    pub shape: Shape,
}

/// How values are drawn. A value for each moment of the chart; `None` breaks the line.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A line.
    Line(Vec<Option<f64>>),
    /// A line through the lowest and the highest value at each moment.
    Span(Vec<Option<(f64, f64)>>),
    /// What lies between two lines.
    Area(Vec<Option<(f64, f64)>>),
    /// Dots, each at a moment of the chart.
    Dots(Vec<(usize, f64)>),
}

impl Shape {
    fn extent(&self) -> Vec<f64> {
        match self {
            Self::Line(values) => values.iter().flatten().copied().collect(),
            Self::Span(values) | Self::Area(values) => {
                values.iter().flatten().flat_map(|(low, high)| [*low, *high]).collect()
            }
            Self::Dots(dots) => dots.iter().map(|(_, value)| *value).collect(),
        }
    }

    /// What the pointer is told.
    fn told(&self) -> Option<Value> {
        let rounded = |value: f64| json!(format!("{value:.4}").parse::<f64>().unwrap_or(value));
        match self {
            Self::Line(values) => {
                Some(values.iter().map(|it| it.map_or(Value::Null, rounded)).collect())
            }
            Self::Span(values) | Self::Area(values) => {
                let pair = |it: &Option<(f64, f64)>| match it {
                    None => Value::Null,
                    Some((low, high)) if low.total_cmp(high).is_eq() => rounded(*low),
                    Some((low, high)) => json!([rounded(*low), rounded(*high)]),
                };
                Some(values.iter().map(pair).collect())
            }
            Self::Dots(_) => None,
        }
    }
}

impl Chart {
    /// The chart as HTML. Nothing but a sentence where there are fewer than two moments.
    #[must_use]
    pub fn to_html(&self) -> String {
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else {
            return "<p class=\"note\">There is nothing to draw yet.</p>".to_owned();
        };
        if first == last {
            return "<p class=\"note\">One candle is too little to draw.</p>".to_owned();
        }
        let mut html = "<figure class=\"chart\">\n".to_owned();
        for panel in &self.panels {
            self.panel(&mut html, panel);
        }
        html.push_str("<div class=\"times\">");
        for (at, label) in moments(*first, *last, 8) {
            let _ = write!(
                html,
                "<span style=\"left:{:.2}%\">{}</span>",
                self.across(at) / 10.0,
                escape(&label)
            );
        }
        html.push_str("</div>\n");
        // In a script nothing is escaped, but a tag would end it.
        let numbers = self.numbers().to_string().replace('<', "\\u003c");
        let _ = write!(html, "<script type=\"application/json\">{numbers}</script>\n</figure>");
        html
    }

    fn panel(&self, html: &mut String, panel: &Panel) {
        let extents = panel.series.iter().flat_map(|series| series.shape.extent());
        let lines = if panel.is_tall { 5 } else { 3 };
        let scale = Scale::over(extents.chain(panel.levels.iter().copied()), lines);
        let _ = write!(html, "<figcaption>{}", escape(&panel.name));
        for series in panel.series.iter().filter(|series| !series.name.is_empty()) {
            let _ = write!(
                html,
                "<span class=\"key {}\">{}</span>",
                series.colour,
                escape(&series.name)
            );
        }
        let height = if panel.is_tall { "tall" } else { "low" };
        let _ = write!(
            html,
            "</figcaption>\n<div class=\"panel {height}\"><svg viewBox=\"0 0 1000 1000\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">\n",
            escape(&panel.name)
        );
        let line_at = |value: f64| format!("M0 {:.1}H1000", scale.from_top(value) * 1000.0);
        let grid: String = scale.ticks.iter().map(|tick| line_at(*tick)).collect();
        let _ = writeln!(html, "<path class=\"grid\" d=\"{grid}\"/>");
        let levels: String = panel.levels.iter().map(|level| line_at(*level)).collect();
        if !levels.is_empty() {
            let _ = writeln!(html, "<path class=\"level\" d=\"{levels}\"/>");
        }
        for series in &panel.series {
            let (kind, path) = self.path(&series.shape, &scale);
            if !path.is_empty() {
                let _ = writeln!(html, "<path class=\"{kind} {}\" d=\"{path}\"/>", series.colour);
            }
        }
        html.push_str("</svg>");
        for tick in &scale.ticks {
            let from_top = scale.from_top(*tick);
            // A label stands on its line, but for one at the top, which hangs below it.
            let class = if from_top < 0.07 { " class=\"below\"" } else { "" };
            let _ = write!(
                html,
                "<span{class} style=\"top:{:.2}%\">{}{}</span>",
                from_top * 100.0,
                scale.label(*tick, panel.is_signed),
                panel.unit
            );
        }
        html.push_str("</div>\n");
    }

    fn path(&self, shape: &Shape, scale: &Scale) -> (&'static str, String) {
        let x = |index: usize| self.across(self.times[index]);
        let y = |value: f64| scale.from_top(value) * 1000.0;
        let mut path = String::new();
        match shape {
            Shape::Line(values) => {
                for stretch in stretches(values) {
                    for (step, (index, value)) in stretch.iter().enumerate() {
                        let letter = if step == 0 { 'M' } else { 'L' };
                        let _ = write!(path, "{letter}{:.1} {:.1}", x(*index), y(*value));
                    }
                }
                ("line", path)
            }
            Shape::Span(values) => {
                for stretch in stretches(values) {
                    for (step, (index, (low, high))) in stretch.iter().enumerate() {
                        let letter = if step == 0 { 'M' } else { 'L' };
                        let _ = write!(path, "{letter}{:.1} {:.1}", x(*index), y(*low));
                        if low.total_cmp(high).is_ne() {
                            let _ = write!(path, "V{:.1}", y(*high));
                        }
                    }
                }
                ("line", path)
            }
            Shape::Area(values) => {
                for stretch in stretches(values) {
                    for (step, (index, (_, high))) in stretch.iter().enumerate() {
                        let letter = if step == 0 { 'M' } else { 'L' };
                        let _ = write!(path, "{letter}{:.1} {:.1}", x(*index), y(*high));
                    }
                    for (index, (low, _)) in stretch.iter().rev() {
                        let _ = write!(path, "L{:.1} {:.1}", x(*index), y(*low));
                    }
                    path.push('Z');
                }
                ("area", path)
            }
            Shape::Dots(dots) => {
                for (index, value) in dots {
                    let _ = write!(path, "M{:.1} {:.1}h0", x(*index), y(*value));
                }
                ("dots", path)
            }
        }
    }

    /// How far from the left a moment stands, of 1000.
    fn across(&self, at: Timestamp) -> f64 {
        let (first, last) = (self.times[0], self.times[self.times.len() - 1]);
        share(at.millis_since(first), last.millis_since(first)) * 1000.0
    }

    fn numbers(&self) -> Value {
        let series: Vec<Value> = self
            .panels
            .iter()
            .flat_map(|panel| panel.series.iter().map(move |series| (panel, series)))
            .filter_map(|(panel, series)| {
                let told = series.shape.told()?;
                Some(json!({
                    "name": series.name,
                    "colour": series.colour,
                    "unit": panel.unit,
                    "values": told,
                }))
            })
            .collect();
        let times: Vec<i64> = self.times.iter().map(|at| at.as_millis()).collect();
        json!({ "times": times, "series": series, "notes": self.notes })
    }
}

/// The stretches of values without a break, each with the numbers of its moments.
fn stretches<T: Copy>(values: &[Option<T>]) -> Vec<Vec<(usize, T)>> {
    let numbered = values.iter().enumerate().collect::<Vec<_>>();
    numbered
        .split(|(_, value)| value.is_none())
        .map(|stretch| stretch.iter().filter_map(|(index, it)| Some((*index, (**it)?))).collect())
        .filter(|stretch: &Vec<(usize, T)>| !stretch.is_empty())
        .collect()
}

/// Bars beside each other, such as how often values fall between two borders.
///
/// **Shape**: each bar has its label, of which the first word stands below it; what it counts; and
/// whether it stands for a gain.
#[must_use]
pub fn bars(name: &str, bars: &[(String, usize, bool)]) -> String {
    let most = bars.iter().map(|(_, count, _)| *count).max().unwrap_or(0).max(1);
    let mut html = format!("<div class=\"bars\" role=\"img\" aria-label=\"{}\">", escape(name));
    for (label, count, is_gain) in bars {
        let height = share(
            i64::try_from(*count).unwrap_or(i64::MAX),
            i64::try_from(most).unwrap_or(i64::MAX),
        );
        let colour = if *is_gain { "gain" } else { "loss" };
        let _ = write!(
            html,
            "<div title=\"{0}: {count}\"><i class=\"{colour}\" style=\"height:{1:.1}%\"></i>\
             <span>{2}</span></div>",
            escape(label),
            height * 100.0,
            escape(label.split(' ').next().unwrap_or(label))
        );
    }
    html.push_str("</div>");
    html
}

/// A part of a whole, both of which a double holds well enough to be drawn.
#[expect(clippy::cast_precision_loss, reason = "a thousandth of a page is enough")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}
