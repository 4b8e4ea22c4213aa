//! Many samples in one drawing: a line each in a small cohort, bands with the flagged samples on top in a large one;
//! small multiples or heat strips where lines would hide each other.

use super::html::escape;
use super::svg::{Canvas, Plot, Rect};
use super::{Aspect, View};

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
pub(super) fn overlay(view: &View<'_>, plot: &mut Plot, curves: &Curves, aspect: Aspect) {
    let name = |sample: usize| view.data.samples[sample].name.as_str();
    let points = |sample: usize| -> Vec<(f64, f64)> {
        curves.xs.iter().copied().zip(curves.ys[sample].iter().copied()).collect()
    };
    let flagged = (0..curves.ys.len()).filter(|&sample| view.is_flagged(sample, aspect));
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
    let plain = (0..curves.ys.len()).filter(|&sample| !view.is_flagged(sample, aspect));
    for sample in plain.chain(flagged) {
        plot.line(
            &points(sample),
            &format!("line many-lines {}", view.series_class(sample, aspect)),
            name(sample),
        );
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

/// Width of a drawing over the whole page, and where its rows begin, right of the names.
pub(super) const WIDE: f64 = 1100.0;
pub(super) const WIDE_NAMES: f64 = 110.0;

/// A row per sample, shaded by value between 0 and 1, for cohorts too large for plots of their own. Gives the canvas,
/// with room for an axis below, and the lower end of the rows. `write` says a value in words.
pub(super) fn heat_strip(view: &View<'_>, rows: &[Vec<f64>], write: fn(f64) -> String) -> (Canvas, f64) {
    // Neighbours that differ by less cannot be told apart by eye and are drawn as one.
    const SHADES: f64 = 20.0;
    let height = (420.0 / rows.len().max(1) as f64).clamp(1.0, 12.0);
    let bottom = height * rows.len() as f64;
    let mut canvas = Canvas::new(WIDE, bottom + 36.0);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let width = (WIDE - WIDE_NAMES) / columns as f64;
    let named_every = (12.0 / height).ceil() as usize;
    for (sample, row) in rows.iter().enumerate() {
        let name = &view.data.samples[sample].name;
        let top = sample as f64 * height;
        if sample.is_multiple_of(named_every) {
            canvas.text(
                0.0,
                top + height.max(9.0) - 1.0,
                "start",
                "tick",
                &super::samples::shortened(name, 16),
            );
        }
        let mut column = 0;
        for run in row.chunk_by(|a, b| (a * SHADES).round() == (b * SHADES).round()) {
            let left = WIDE_NAMES + column as f64 * width;
            let place = Rect { x: left, y: top, width: run.len() as f64 * width, height };
            canvas.shade(place, "c-blue", run[0], &format!("{name}: {}", write(run[0])));
            column += run.len();
        }
    }
    (canvas, bottom)
}
