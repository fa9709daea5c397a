//! The picture of a day: the ratio with its band, z with its thresholds, what was bought and sold.
//! A PNG of sixteen colours at most, with letters of its own: a phone shows it as it is.

#![expect(clippy::float_arithmetic, reason = "places on a picture are no money")]

use std::convert::Infallible;
use std::io::Write as _;

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::{FONT_8X13, FONT_9X18_BOLD};
use embedded_graphics::pixelcolor::PixelColor;
use embedded_graphics::prelude::{
    DrawTarget, Drawable as _, OriginDimensions, Pixel, Point, Primitive as _, Size,
};
use embedded_graphics::primitives::{Line, PrimitiveStyle, Triangle};
use embedded_graphics::text::{Alignment, Text};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::page::scale::{self, Scale};
use crate::trading::market::Side;
use crate::trading::time::Timestamp;

/// What is drawn.
pub(super) struct Day {
    /// What stands above it. ASCII.
    pub(super) title: String,
    /// The candles that were decided on, oldest first.
    pub(super) points: Vec<Reading>,
    /// What was bought (the spread falls to us) or sold, on the candle that opened then.
    pub(super) trades: Vec<(Timestamp, Side)>,
    /// `ENTRY_THRESHOLD`.
    pub(super) entry: f64,
    /// From one candle to the next. **Units**: ms.
    pub(super) step: i64,
}

/// One candle.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: Timestamp,
    pub(super) spread: f64,
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) z: f64,
}

/// The picture; `None` where there is too little to be seen.
pub(super) fn png(day: &Day) -> Option<Vec<u8>> {
    let (first, last) = (day.points.first()?, day.points.last()?);
    if first.at >= last.at {
        return None;
    }
    let mut canvas = Canvas(vec![Ink::Paper; WIDTH * HEIGHT]);
    // Nothing can go wrong on a canvas of bytes.
    let Ok(()) = draw(&mut canvas, day, first.at, last.at);
    encoded(&canvas).ok()
}

fn draw(canvas: &mut Canvas, day: &Day, from: Timestamp, to: Timestamp) -> Result<(), Infallible> {
    let title = MonoTextStyle::new(&FONT_9X18_BOLD, Ink::Text);
    let _ = Text::new(&day.title, Point::new(LEFT, 24), title).draw(canvas)?;
    let band = |reading: &Reading, sign: f64| reading.mean + sign * day.entry * reading.std;
    let ratios = day.points.iter().flat_map(|it| [it.spread, band(it, 1.0), band(it, -1.0)]);
    let zs = day.points.iter().map(|it| it.z).chain([day.entry, -day.entry]);
    let small = MonoTextStyle::new(&FONT_8X13, Ink::Text);
    let _ = Text::new("z", Point::new(LEFT, 346), small).draw(canvas)?;
    let above = Frame { top: 40, bottom: 330, scale: Scale::over(ratios, 5), from, to };
    let below = Frame { top: 350, bottom: 500, scale: Scale::over(zs, 4), from, to };

    for pair in joined(day) {
        let [a, b] = pair;
        for x in above.x(a.at)..=above.x(b.at) {
            let share = above.share(x, a.at, b.at);
            let between = |sign| (1.0 - share) * band(&a, sign) + share * band(&b, sign);
            let (top, bottom) = (above.y(between(1.0)), above.y(between(-1.0)));
            line(canvas, Point::new(x, top), Point::new(x, bottom), Ink::Band, 1)?;
        }
    }
    above.axes(canvas, false)?;
    below.axes(canvas, true)?;
    for (at, label) in scale::moments(from, to, 8) {
        let x = below.x(at);
        let ends = [Point::new(x, above.top), Point::new(x, below.bottom)];
        line(canvas, ends[0], ends[1], Ink::Grid, 1)?;
        let place = Point::new(x, below.bottom + 30);
        let _ = Text::with_alignment(&label, place, small, Alignment::Center).draw(canvas)?;
    }
    for sign in [1.0, -1.0] {
        let y = below.y(sign * day.entry);
        line(canvas, Point::new(LEFT, y), Point::new(RIGHT, y), Ink::Threshold, 1)?;
    }
    for [a, b] in joined(day) {
        line(canvas, above.at(a.at, a.mean), above.at(b.at, b.mean), Ink::Mean, 1)?;
        line(canvas, above.at(a.at, a.spread), above.at(b.at, b.spread), Ink::Ratio, 2)?;
        line(canvas, below.at(a.at, a.z), below.at(b.at, b.z), Ink::Ratio, 2)?;
    }
    for (at, side) in &day.trades {
        if let Some(reading) = day.points.iter().find(|it| it.at == *at) {
            mark(canvas, above.at(*at, reading.spread), *side)?;
            mark(canvas, below.at(*at, reading.z), *side)?;
        }
    }
    Ok(())
}

/// A candle and the next, where nothing is missing between them.
fn joined(day: &Day) -> impl Iterator<Item = [Reading; 2]> + '_ {
    let pairs = day.points.windows(2).map(|pair| [pair[0], pair[1]]);
    pairs.filter(|[a, b]| b.at.millis_since(a.at) == day.step)
}

fn line(canvas: &mut Canvas, a: Point, b: Point, ink: Ink, width: u32) -> Result<(), Infallible> {
    Line::new(a, b).into_styled(PrimitiveStyle::with_stroke(ink, width)).draw(canvas)
}

/// A triangle: up from below for what was bought, down from above for what was sold.
fn mark(canvas: &mut Canvas, at: Point, side: Side) -> Result<(), Infallible> {
    let (way, ink) = match side {
        Side::Buy => (1, Ink::Bought),
        Side::Sell => (-1, Ink::Sold),
    };
    let corner = |x: i32| at + Point::new(x, way * 18);
    let triangle = Triangle::new(at + Point::new(0, way * 4), corner(-8), corner(8));
    triangle.into_styled(PrimitiveStyle::with_fill(ink)).draw(canvas)
}

/// One drawing among others.
struct Frame {
    top: i32,
    bottom: i32,
    scale: Scale,
    from: Timestamp,
    to: Timestamp,
}

impl Frame {
    fn at(&self, at: Timestamp, value: f64) -> Point {
        Point::new(self.x(at), self.y(value))
    }

    fn x(&self, at: Timestamp) -> i32 {
        let (all, passed) = (self.to.millis_since(self.from), at.millis_since(self.from));
        let width = i64::from(RIGHT - LEFT);
        let x = passed.saturating_mul(width) / all.max(1);
        LEFT + i32::try_from(x.clamp(0, width)).unwrap_or(0)
    }

    /// How far between two candles a column stands.
    fn share(&self, x: i32, a: Timestamp, b: Timestamp) -> f64 {
        let (a, b) = (self.x(a), self.x(b));
        f64::from(x - a) / f64::from((b - a).max(1))
    }

    fn y(&self, value: f64) -> i32 {
        let height = f64::from(self.bottom - self.top);
        self.top + whole(self.scale.from_top(value).clamp(0.0, 1.0) * height)
    }

    fn axes(&self, canvas: &mut Canvas, is_signed: bool) -> Result<(), Infallible> {
        let style = MonoTextStyle::new(&FONT_8X13, Ink::Text);
        for tick in &self.scale.ticks {
            let y = self.y(*tick);
            line(canvas, Point::new(LEFT, y), Point::new(RIGHT, y), Ink::Grid, 1)?;
            let (label, place) = (self.scale.label(*tick, is_signed), Point::new(LEFT - 8, y + 4));
            let _ = Text::with_alignment(&label, place, style, Alignment::Right).draw(canvas)?;
        }
        Ok(())
    }
}

/// The nearest whole number of pixels.
#[expect(clippy::cast_possible_truncation, reason = "it is between 0 and the picture's height")]
fn whole(pixels: f64) -> i32 {
    pixels.round() as i32
}

/// A colour, by its number in the palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Paper,
    Grid,
    Text,
    Band,
    Mean,
    Ratio,
    Threshold,
    Bought,
    Sold,
}

impl PixelColor for Ink {
    type Raw = ();
}

/// Red, green, blue of each [`Ink`], in their order.
const PALETTE: [[u8; 3]; 9] = [
    [0xff, 0xff, 0xff],
    [0xe4, 0xe7, 0xeb],
    [0x3b, 0x43, 0x4d],
    [0xe3, 0xec, 0xf8],
    [0x9a, 0xa7, 0xb8],
    [0x1f, 0x5f, 0xbf],
    [0xc2, 0x7c, 0x0e],
    [0x1a, 0x86, 0x4b],
    [0xc0, 0x30, 0x2b],
];

struct Canvas(Vec<Ink>);

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        let side = |side: usize| u32::try_from(side).unwrap_or(0);
        Size::new(side(WIDTH), side(HEIGHT))
    }
}

impl DrawTarget for Canvas {
    type Color = Ink;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Ink>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(point, ink) in pixels {
            let place = |value: i32, end| usize::try_from(value).ok().filter(|value| *value < end);
            if let (Some(x), Some(y)) = (place(point.x, WIDTH), place(point.y, HEIGHT)) {
                self.0[y * WIDTH + x] = ink;
            }
        }
        Ok(())
    }
}

/// **Source**: Portable Network Graphics, second edition. The inflating crate can deflate and sum as
/// well, and a crate for PNG would bring a second one of its kind.
fn encoded(canvas: &Canvas) -> std::io::Result<Vec<u8>> {
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::best());
    for line in canvas.0.chunks_exact(WIDTH) {
        // No filter; two pixels a byte.
        lines.write_all(&[0])?;
        let bytes: Vec<u8> =
            line.chunks_exact(2).map(|two| (two[0] as u8) << 4 | two[1] as u8).collect();
        lines.write_all(&bytes)?;
    }
    let side = |side: usize| u32::try_from(side).unwrap_or(0).to_be_bytes();
    // Four bits a pixel, which are numbers of the palette.
    let head = [&side(WIDTH)[..], &side(HEIGHT)[..], &[4, 3, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [
        (b"IHDR", head),
        (b"PLTE", PALETTE.concat()),
        (b"IDAT", lines.finish()?),
        (b"IEND", Vec::new()),
    ] {
        let length = u32::try_from(content.len()).unwrap_or(0);
        let summed = [&name[..], &content].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&summed);
        file.extend([&length.to_be_bytes()[..], &summed, &sum.sum().to_be_bytes()].concat());
    }
    Ok(file)
}

const WIDTH: usize = 960;
const HEIGHT: usize = 540;
const LEFT: i32 = 90;
const RIGHT: i32 = 940;
