//! Plots as inline SVG: scales, axes, lines, bands, bars.
//!
//! Invariant: colours come from the style sheet by class, so a plot follows light, dark and print; all text is escaped;
//! coordinates that are not finite are never drawn. Knows nothing of what is plotted.

use std::fmt::Write;

use super::html::escape;

/// One axis of a plot.
pub struct Axis<'a> {
    /// What it measures, with unit.
    pub title: &'a str,
    /// Smallest and largest value shown.
    pub domain: (f64, f64),
    /// How ticks are written.
    pub label: fn(f64) -> String,
}

/// A mapping of values to places.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    domain: (f64, f64),
    range: (f64, f64),
}

impl Scale {
    /// Maps `domain` linearly to `range`; an empty domain is widened.
    pub fn new(domain: (f64, f64), range: (f64, f64)) -> Self {
        let (low, high) = if domain.0.is_finite() && domain.1.is_finite() { domain } else { (0.0, 1.0) };
        Scale { domain: (low, if high > low { high } else { low + 1.0 }), range }
    }

    /// The place of a value; values outside lie on the border.
    pub fn at(&self, value: f64) -> f64 {
        let share = (value - self.domain.0) / (self.domain.1 - self.domain.0);
        self.range.0 + share.clamp(0.0, 1.0) * (self.range.1 - self.range.0)
    }

    /// Round values about `count` in number.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        let raw = (self.domain.1 - self.domain.0) / count.max(1) as f64;
        let mut step = 1.0;
        while step > raw {
            step /= 10.0;
        }
        while step * 10.0 <= raw {
            step *= 10.0;
        }
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * step).find(|&s| s >= raw).unwrap_or(step);
        let first = (self.domain.0 / step - 1e-9).ceil() as i64;
        let last = (self.domain.1 / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

/// A rectangle in user units.
#[derive(Clone, Copy, Debug)]
pub struct Rect {
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// An SVG in the making, without axes.
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty canvas in user units.
    pub fn new(width: f64, height: f64) -> Self {
        Canvas { width, height, body: String::new() }
    }

    /// A rectangle with a hover title.
    pub fn rect(&mut self, place: Rect, class: &str, title: &str) {
        self.styled_rect(place, &format!("class=\"{class}\""), title);
    }

    /// A rectangle whose opacity states a value between 0 and 1.
    pub fn shade(&mut self, place: Rect, class: &str, opacity: f64, title: &str) {
        let opacity = if opacity.is_finite() { opacity.clamp(0.0, 1.0) } else { 0.0 };
        self.styled_rect(place, &format!("class=\"{class}\" fill-opacity=\"{opacity:.2}\""), title);
    }

    fn styled_rect(&mut self, place: Rect, style: &str, title: &str) {
        let Rect { x, y, width, height } = place;
        if !(x.is_finite() && y.is_finite() && width > 0.0 && height > 0.0) {
            return;
        }
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}"
        );
        self.close("rect", title);
    }

    /// A line through points.
    pub fn path(&mut self, points: impl IntoIterator<Item = (f64, f64)>, class: &str, title: &str) {
        let data = path_data(points);
        if !data.is_empty() {
            let _ = write!(self.body, "<path d=\"{data}\" class=\"{class}\"");
            self.close("path", title);
        }
    }

    /// A filled shape through points.
    pub fn polygon(&mut self, points: impl IntoIterator<Item = (f64, f64)>, class: &str, title: &str) {
        let data = path_data(points);
        if !data.is_empty() {
            let _ = write!(self.body, "<path d=\"{data}Z\" class=\"{class}\"");
            self.close("path", title);
        }
    }

    /// A dot.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str, title: &str) {
        if x.is_finite() && y.is_finite() {
            let _ =
                write!(self.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"{class}\"");
            self.close("circle", title);
        }
    }

    /// A straight line.
    pub fn rule(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// Text; `anchor` is start, middle or end.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escape(text)
        );
    }

    fn close(&mut self, element: &str, title: &str) {
        let _ = match title {
            "" => writeln!(self.body, "/>"),
            title => writeln!(self.body, "><title>{}</title></{element}>", escape(title)),
        };
    }

    /// The SVG element; `label` says what it shows to those who do not see it.
    pub fn finish(self, label: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            self.width,
            self.height,
            escape(label),
            self.body
        )
    }
}

fn path_data(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut data = String::new();
    for (x, y) in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let command = if data.is_empty() { 'M' } else { 'L' };
        let _ = write!(data, "{command}{x:.1} {y:.1}");
    }
    data
}

/// A canvas with two axes; what is drawn is given in values.
pub struct Plot {
    canvas: Canvas,
    x: Scale,
    y: Scale,
}

impl Plot {
    /// A frame with ticks: the vertical axis is titled above, where it can be read.
    pub fn new(width: f64, height: f64, x: &Axis<'_>, y: &Axis<'_>) -> Self {
        const LEFT: f64 = 46.0;
        const RIGHT: f64 = 12.0;
        const TOP: f64 = 24.0;
        const BOTTOM: f64 = 38.0;
        let mut canvas = Canvas::new(width, height);
        let x_scale = Scale::new(x.domain, (LEFT, width - RIGHT));
        let y_scale = Scale::new(y.domain, (height - BOTTOM, TOP));
        for tick in y_scale.ticks(4) {
            canvas.rule((LEFT, y_scale.at(tick)), (width - RIGHT, y_scale.at(tick)), "grid");
            canvas.text(LEFT - 6.0, y_scale.at(tick) + 3.5, "end", "tick", &(y.label)(tick));
        }
        canvas.rule((LEFT, height - BOTTOM), (width - RIGHT, height - BOTTOM), "axis");
        for tick in x_scale.ticks(if width < 360.0 { 4 } else { 6 }) {
            canvas.rule(
                (x_scale.at(tick), height - BOTTOM),
                (x_scale.at(tick), height - BOTTOM + 4.0),
                "axis",
            );
            canvas.text(x_scale.at(tick), height - BOTTOM + 16.0, "middle", "tick", &(x.label)(tick));
        }
        canvas.text(2.0, 11.0, "start", "title", y.title);
        canvas.text(width - RIGHT, height - 4.0, "end", "title", x.title);
        Plot { canvas, x: x_scale, y: y_scale }
    }

    /// A line through values.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str, title: &str) {
        let (x, y) = (self.x, self.y);
        self.canvas.path(points.iter().map(|&(a, b)| (x.at(a), y.at(b))), class, title);
    }

    /// The area between two lines over the same abscissae: `(x, low, high)`.
    pub fn band(&mut self, points: &[(f64, f64, f64)], class: &str, title: &str) {
        let (x, y) = (self.x, self.y);
        let there = points.iter().map(|&(a, _, high)| (x.at(a), y.at(high)));
        let back = points.iter().rev().map(|&(a, low, _)| (x.at(a), y.at(low)));
        self.canvas.polygon(there.chain(back), class, title);
    }

    /// A bar from the axis up to `value` over `from..to`.
    pub fn bar(&mut self, from: f64, to: f64, value: f64, class: &str, title: &str) {
        let (left, right, top, floor) = (self.x.at(from), self.x.at(to), self.y.at(value), self.y.range.0);
        let place = Rect { x: left, y: top, width: right - left, height: floor - top };
        self.canvas.rect(place, class, title);
    }

    /// A dot.
    pub fn dot(&mut self, x: f64, y: f64, class: &str, title: &str) {
        self.canvas.dot(self.x.at(x), self.y.at(y), 4.0, class, title);
    }

    /// Text near a value.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.canvas.text(self.x.at(x), self.y.at(y), anchor, "tick", text);
    }

    /// A vertical line through the plot with a word at its top.
    pub fn mark_x(&mut self, value: f64, word: &str) {
        let x = self.x.at(value);
        self.canvas.rule((x, self.y.range.0), (x, self.y.range.1), "mark");
        self.canvas.text(x + 4.0, self.y.range.1 + 9.0, "start", "tick", word);
    }

    /// A horizontal line through the plot.
    pub fn mark_y(&mut self, value: f64) {
        let y = self.y.at(value);
        self.canvas.rule((self.x.range.0, y), (self.x.range.1, y), "mark");
    }

    /// The SVG element.
    pub fn finish(self, label: &str) -> String {
        self.canvas.finish(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_domain() {
        let check = |domain, count, expect: &[f64]| {
            let ticks = Scale::new(domain, (0.0, 1.0)).ticks(count);
            assert_eq!(ticks.len(), expect.len(), "{ticks:?}");
            assert!(ticks.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-9), "{ticks:?}");
        };
        check((0.0, 100.0), 4, &[0.0, 50.0, 100.0]);
        check((0.0, 40.0), 4, &[0.0, 10.0, 20.0, 30.0, 40.0]);
        check((0.0, 0.0), 2, &[0.0, 0.5, 1.0]);
        check((-0.2, 0.5), 5, &[-0.2, 0.0, 0.2, 0.4]);
        check((f64::NAN, f64::INFINITY), 1, &[0.0, 1.0]);
    }

    #[test]
    fn nothing_that_is_not_a_number_is_drawn() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.path([(f64::NAN, 1.0), (1.0, f64::INFINITY)], "a", "");
        canvas.dot(f64::NAN, 0.0, 1.0, "a", "");
        canvas.rect(Rect { x: f64::NAN, y: 0.0, width: 1.0, height: 1.0 }, "a", "");
        assert!(canvas.body.is_empty());
    }
}
