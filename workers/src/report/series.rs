//! Many samples in one drawing: a line each in a small cohort, bands with the flagged samples on top in a large one;
//! small multiples or a heat strip where lines would hide each other.

use super::html::escape;
use super::svg::{Axis, Canvas, Plot};
use super::{Level, View};

/// Flagged samples drawn over the bands of a large cohort.
const FLAGGED_LINES_MAX: usize = 24;

/// One curve per sample over the same abscissae.
pub(super) struct Curves {
    /// Abscissae.
    pub xs: Vec<f64>,
    /// Ordinates by sample; as long as `xs`, or empty where a sample has none.
    pub ys: Vec<Vec<f64>>,
}

impl Curves {
    /// The largest ordinate.
    pub fn max(&self) -> f64 {
        self.ys.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max)
    }
}

/// Draws all samples into one plot.
pub(super) fn overlay(view: &View<'_>, plot: &mut Plot, curves: &Curves) {
    let name = |sample: usize| view.data.samples[sample].name.as_str();
    let points = |sample: usize| -> Vec<(f64, f64)> {
        curves.xs.iter().copied().zip(curves.ys[sample].iter().copied()).collect()
    };
    let flagged = (0..curves.ys.len()).filter(|&sample| view.levels[sample] != Level::Pass);
    if !view.is_small() {
        for (low, high, label) in [(10, 90, "four fifths of the samples"), (25, 75, "half of the samples")] {
            plot.band(&band(curves, low, high), "area", label);
        }
        let median: Vec<_> = band(curves, 50, 50).into_iter().map(|(x, y, _)| (x, y)).collect();
        plot.line(&median, "line", "median sample");
        flagged
            .take(FLAGGED_LINES_MAX)
            .for_each(|sample| plot.line(&points(sample), "line thin flagged", name(sample)));
        return;
    }
    let plain = (0..curves.ys.len()).filter(|&sample| view.levels[sample] == Level::Pass);
    for sample in plain.chain(flagged) {
        plot.line(&points(sample), &format!("line many-lines {}", view.series_class(sample)), name(sample));
    }
}

fn band(curves: &Curves, low: usize, high: usize) -> Vec<(f64, f64, f64)> {
    let at = |index: usize| {
        let mut values: Vec<f64> = curves.ys.iter().filter_map(|ys| ys.get(index).copied()).collect();
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| values.get((values.len().max(1) - 1) * percent / 100).copied();
        Some((curves.xs[index], rank(low)?, rank(high)?))
    };
    (0..curves.xs.len()).filter_map(at).collect()
}

/// A small plot per sample, under its name.
pub(super) fn multiples(view: &View<'_>, mut draw: impl FnMut(usize) -> String) -> String {
    let one = |sample: usize| {
        format!("<div><h4>{}</h4>{}</div>", escape(&view.data.samples[sample].name), draw(sample))
    };
    let all: String = (0..view.data.samples.len()).map(one).collect();
    format!("<div class=\"many\">{all}</div>")
}

/// A row per sample, shaded by value between 0 and 1; for cohorts too large for plots of their own.
pub(super) struct HeatStrip<'a> {
    /// What it shows.
    pub label: &'a str,
    /// What runs along it, with unit, and its largest value.
    pub axis: Axis<'a>,
    /// Values by sample and column.
    pub rows: Vec<Vec<f64>>,
    /// Values 0 and 1 in words.
    pub write: fn(f64) -> String,
}

impl HeatStrip<'_> {
    /// Draws it; rows are one to eight units high.
    pub fn draw(&self, view: &View<'_>) -> String {
        const WIDTH: f64 = 1100.0;
        const NAMES: f64 = 110.0;
        let height = (900.0 / self.rows.len().max(1) as f64).clamp(1.2, 12.0);
        let total = height * self.rows.len() as f64;
        let mut canvas = Canvas::new(WIDTH, total + 36.0);
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let width = (WIDTH - NAMES) / columns as f64;
        let label_every = (12.0 / height).ceil() as usize;
        for (sample, row) in self.rows.iter().enumerate() {
            let name = &view.data.samples[sample].name;
            let top = sample as f64 * height;
            if sample.is_multiple_of(label_every) {
                canvas.text(
                    0.0,
                    top + height.max(9.0) - 1.0,
                    "start",
                    "tick",
                    &super::samples::shortened(name, 16),
                );
            }
            for run in row.chunk_by(|a, b| (a * 20.0).round() == (b * 20.0).round()).scan(0, |from, run| {
                let at = *from;
                *from += run.len();
                Some((at, run))
            }) {
                let (at, values) = run;
                let title = format!("{name}: {}", (self.write)(values[0]));
                let left = NAMES + at as f64 * width;
                canvas.shade(
                    left,
                    top,
                    values.len() as f64 * width + 0.3,
                    height,
                    "c-blue",
                    values[0],
                    &title,
                );
            }
        }
        let scale = super::svg::Scale::new(self.axis.domain, (NAMES, WIDTH - 14.0));
        for tick in scale.ticks(8) {
            canvas.text(scale.at(tick), total + 15.0, "middle", "tick", &(self.axis.label)(tick));
        }
        canvas.text(WIDTH, total + 31.0, "end", "title", self.axis.title);
        canvas.finish(self.label)
    }
}
