//! Depth of coverage: how it is distributed, where on the genome it lies, and how it follows GC.

use super::html::{Figure, Table, decimal, escape, short};
use super::samples::shortened;
use super::series::{Curves, WIDE, WIDE_NAMES, heat_strip, overlay};
use super::svg::{Axis, Canvas, Plot, Scale};
use super::{Aspect, SampleReport, View};
use crate::qc::contig_class::ContigClass;
use crate::qc::coverage::{DepthCounters, Stretch};

/// Points drawn along the genome in a sample's strip.
const STRIP_POINTS: usize = 900;

/// Columns of the heat strip of a large cohort.
const HEAT_COLUMNS: usize = 150;

pub(super) fn section(view: &View<'_>) -> String {
    let figures = [distribution(view), gc(view), along_genome(view)].map(Figure::html);
    format!(
        "<p>Usable depth over known bases of the autosomes; a reference that numbers no chromosomes has all of its \
         contigs taken for autosomes.</p><div class=\"grid\">{}</div>",
        figures.concat()
    )
}

fn usable(sample: &SampleReport) -> Option<&DepthCounters> {
    sample.counters.coverage.class(ContigClass::Autosome).map(|depth| &depth.usable)
}

fn distribution(view: &View<'_>) -> Figure<'static> {
    let samples = &view.data.samples;
    let deepest =
        samples.iter().filter_map(|sample| usable(sample)?.histogram.percentile(99)).max().unwrap_or(10);
    let deepest = deepest.max(10) + 1;
    let step = deepest.div_ceil(150);
    let xs: Vec<f64> = (0..deepest).step_by(step).map(|depth| depth as f64).collect();
    let curve = |sample: &SampleReport| -> Vec<f64> {
        let Some(counters) = usable(sample) else { return Vec::new() };
        let total = counters.histogram.total().max(1) as f64;
        let share = |from: usize| {
            (from..from + step).map(|depth| counters.histogram.count(depth)).sum::<u64>() as f64
        };
        (0..deepest).step_by(step).map(|from| share(from) / total * 100.0 / step as f64).collect()
    };
    let curves = Curves { xs, ys: samples.iter().map(curve).collect() };
    let x = Axis { title: "depth (×)", domain: (0.0, deepest as f64), label: short };
    let y = Axis { title: "bases (%)", domain: (0.0, curves.max() * 1.05), label: short };
    let mut plot = Plot::new(520.0, 280.0, &x, &y);
    plot.mark_x(view.data.thresholds.mean_autosome_coverage_min, "least mean");
    overlay(view, &mut plot, &curves, Aspect::Coverage);
    Figure {
        title: "Depth distribution",
        note: "One narrow hill is good; a shoulder at 0 is sequence that no read reaches.",
        drawing: plot.finish("Distribution of depth over autosomes, one line a sample"),
        below: view.series_legend(Aspect::Coverage) + &table(view),
        wide: false,
    }
}

fn table(view: &View<'_>) -> String {
    let heads = [
        "Sample",
        "Mean",
        "Median",
        "MAD",
        "≥ 1× %",
        "≥ 10× %",
        "≥ 15× %",
        "≥ 20× %",
        "≥ 30× %",
        "Mean, all reads",
    ];
    let mut table = Table::new("Coverage of autosomes", 1, &heads);
    let count = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
    for (sample, metrics) in view.data.samples.iter().zip(&view.metrics) {
        table.row(&[
            escape(&sample.name),
            decimal(metrics.mean_autosome_coverage, 2),
            count(metrics.median_autosome_coverage),
            count(metrics.mad_autosome_coverage),
            decimal(metrics.pct_autosomes_1x, 2),
            decimal(metrics.pct_autosomes_10x, 2),
            decimal(metrics.pct_autosomes_15x, 2),
            decimal(metrics.pct_autosomes_20x, 2),
            decimal(metrics.pct_autosomes_30x, 2),
            decimal(metrics.mean_autosome_depth_all, 2),
        ]);
    }
    table.folded("Numbers")
}

fn gc(view: &View<'_>) -> Figure<'static> {
    // Where the genome has next to no windows, depth is noise.
    const SHARE_MIN: f64 = 0.001;
    let samples = &view.data.samples;
    let total = |sample: &SampleReport| {
        let mut total = Stretch::default();
        for stretch in sample.counters.coverage.gc.values() {
            total.bases += stretch.bases;
            total.depth_sum += stretch.depth_sum;
        }
        total
    };
    let bins: Vec<u8> = match samples.first() {
        Some(first) => {
            let bases = total(first).bases.max(1) as f64;
            let common =
                first.counters.coverage.gc.iter().filter(|(_, bin)| bin.bases as f64 / bases >= SHARE_MIN);
            common.map(|(&percent, _)| percent).collect()
        }
        None => Vec::new(),
    };
    let curve = |sample: &SampleReport| -> Vec<f64> {
        let mean = total(sample).mean().filter(|&mean| mean > 0.0);
        let Some(mean) = mean else { return Vec::new() };
        let at =
            |bin: &u8| sample.counters.coverage.gc.get(bin).and_then(Stretch::mean).unwrap_or(0.0) / mean;
        bins.iter().map(at).collect()
    };
    let curves = Curves {
        xs: bins.iter().map(|&bin| f64::from(bin)).collect(),
        ys: samples.iter().map(curve).collect(),
    };
    let ends =
        (bins.first().map_or(20.0, |&bin| f64::from(bin)), bins.last().map_or(70.0, |&bin| f64::from(bin)));
    let x = Axis { title: "GC of 128-base windows (%)", domain: ends, label: short };
    let y = Axis { title: "depth / mean depth", domain: (0.0, curves.max().clamp(1.5, 3.0)), label: short };
    let mut plot = Plot::new(520.0, 280.0, &x, &y);
    if let Some(first) = samples.first() {
        let bins = &first.counters.coverage.gc;
        let most = bins.values().map(|bin| bin.bases).max().unwrap_or(1).max(1) as f64;
        for (&percent, bin) in
            bins.iter().filter(|(percent, _)| (ends.0..=ends.1).contains(&f64::from(**percent)))
        {
            let (percent, height) = (f64::from(percent), bin.bases as f64 / most * 0.5);
            plot.bar(percent - 0.5, percent + 0.5, height, "c-tint", "windows of the reference");
        }
    }
    plot.mark_y(1.0);
    overlay(view, &mut plot, &curves, Aspect::Coverage);
    let mut table =
        Table::new("Depth by GC, relative to the mean", 1, &["GC %", "Lowest sample", "Highest sample"]);
    for (index, bin) in bins.iter().enumerate() {
        let values: Vec<f64> = curves.ys.iter().filter_map(|ys| ys.get(index).copied()).collect();
        let end = |pick: fn(f64, f64) -> f64| decimal(values.iter().copied().reduce(pick), 2);
        table.row(&[bin.to_string(), end(f64::min), end(f64::max)]);
    }
    Figure {
        title: "Depth by GC",
        note: "Flat at 1 is unbiased. Grey shows how much of the reference has each GC.",
        drawing: plot.finish("Relative depth by GC content, one line a sample"),
        below: view.series_legend(Aspect::Coverage) + &table.folded("Numbers"),
        wide: false,
    }
}

/// The genome as one line: windows of all contigs, one after another.
struct Track {
    /// Start of each contig on the line, in bases, and its name.
    contigs: Vec<(f64, String)>,
    /// Length of the line in bases.
    length: f64,
}

impl Track {
    fn new(view: &View<'_>) -> Self {
        let mut track = Track { contigs: Vec::new(), length: 0.0 };
        for contig in &view.data.reference.contigs {
            track.contigs.push((track.length, contig.name.clone()));
            track.length += f64::from(contig.length);
        }
        track
    }

    /// Depth of one sample in so many stretches of equal length; none where there is no base.
    fn depths(&self, sample: &SampleReport, points: usize) -> Vec<Option<f64>> {
        let coverage = &sample.counters.coverage;
        let mut stretches = vec![Stretch::default(); points];
        for (&contig, windows) in &coverage.windows {
            let Some(&(start, _)) = self.contigs.get(contig as usize) else { continue };
            for (index, window) in windows.iter().enumerate() {
                let at = start + (index as f64 + 0.5) * f64::from(coverage.window_bases);
                let point = ((at / self.length.max(1.0) * points as f64) as usize).min(points - 1);
                stretches[point].bases += window.bases;
                stretches[point].depth_sum += window.depth_sum;
            }
        }
        stretches.iter().map(Stretch::mean).collect()
    }

    /// Points to draw: never more than there are windows.
    fn points(&self, view: &View<'_>, most: usize) -> usize {
        let window = view.data.samples.first().map_or(1, |sample| sample.counters.coverage.window_bases);
        ((self.length / f64::from(window)).floor() as usize).clamp(1, most)
    }
}

fn along_genome(view: &View<'_>) -> Figure<'static> {
    let track = Track::new(view);
    let drawing = if view.is_small() { strips(view, &track) } else { heat(view, &track) };
    let heads: Vec<&str> =
        ["Sample"].into_iter().chain(track.contigs.iter().take(26).map(|(_, name)| name.as_str())).collect();
    let mut table = Table::new("Mean depth by contig", 1, &heads);
    for sample in &view.data.samples {
        let mut row = vec![escape(&sample.name)];
        row.extend(
            (1..heads.len())
                .map(|contig| decimal(sample.counters.coverage.contig(contig as u32 - 1).mean(), 1)),
        );
        table.row(&row);
    }
    Figure {
        title: "Depth along the genome",
        note: if view.is_small() {
            "Mean usable depth in windows, against the sample's own mean (dashed). Gaps are unknown bases."
        } else {
            "Mean usable depth against the sample's own mean: half the colour is the mean, full colour is twice as much."
        },
        drawing,
        below: table.folded("Mean depth by contig (the first 26)"),
        wide: true,
    }
}

fn strips(view: &View<'_>, track: &Track) -> String {
    const ROW: f64 = 46.0;
    let samples = &view.data.samples;
    let mut canvas = Canvas::new(WIDE, ROW * samples.len() as f64 + 34.0);
    let points = track.points(view, STRIP_POINTS);
    let x = Scale::new((0.0, points as f64), (WIDE_NAMES, WIDE));
    let bottom = ROW * samples.len() as f64;
    for (index, sample) in samples.iter().enumerate() {
        let mean = view.metrics[index].mean_autosome_coverage.unwrap_or(0.0);
        let floor = (index + 1) as f64 * ROW - 4.0;
        let y = Scale::new((0.0, (mean * 2.0).max(1.0)), (floor, floor - ROW + 10.0));
        canvas.text(0.0, floor - 16.0, "start", "name", &shortened(&sample.name, 15));
        canvas.text(0.0, floor - 2.0, "start", "tick", &format!("mean {mean:.1}×"));
        let depths = track.depths(sample, points);
        for (from, run) in known_runs(&depths) {
            let edge = run.iter().enumerate().flat_map(|(offset, &depth)| {
                let left = (from + offset) as f64;
                [(x.at(left), y.at(depth)), (x.at(left + 1.0), y.at(depth))]
            });
            let start = [(x.at(from as f64), floor)];
            let end = [(x.at((from + run.len()) as f64), floor)];
            let class = format!("area solid {}", view.series_class(index, Aspect::Coverage));
            canvas.polygon(start.into_iter().chain(edge).chain(end), &class, &sample.name);
        }
        canvas.rule((WIDE_NAMES, y.at(mean)), (WIDE, y.at(mean)), "mark");
        canvas.rule((WIDE_NAMES, floor), (WIDE, floor), "grid");
    }
    contig_axis(&mut canvas, track, (WIDE_NAMES, WIDE), bottom);
    canvas.finish("Depth along the genome, one strip a sample")
}

/// Names under the contigs that are wide enough, lines between all.
fn contig_axis(canvas: &mut Canvas, track: &Track, range: (f64, f64), bottom: f64) {
    let place = Scale::new((0.0, track.length), range);
    for (index, (start, name)) in track.contigs.iter().enumerate() {
        let end = track.contigs.get(index + 1).map_or(track.length, |(next, _)| *next);
        let (left, right) = (place.at(*start), place.at(end));
        if index > 0 && right - left > 3.0 {
            canvas.rule((left, 0.0), (left, bottom + 6.0), "contig");
        }
        if right - left > 7.0 * name.chars().count() as f64 + 4.0 {
            canvas.text((left + right) / 2.0, bottom + 14.0, "middle", "tick", name);
        }
    }
    canvas.text(range.1, bottom + 30.0, "end", "title", &format!("{}b", short(track.length)));
}

/// Runs of stretches that have a depth: where each begins, and its depths.
fn known_runs(depths: &[Option<f64>]) -> Vec<(usize, Vec<f64>)> {
    let mut runs: Vec<(usize, Vec<f64>)> = Vec::new();
    for (index, depth) in depths.iter().enumerate() {
        match (depth, runs.last_mut()) {
            (Some(depth), Some((from, run))) if *from + run.len() == index => run.push(*depth),
            (Some(depth), _) => runs.push((index, vec![*depth])),
            (None, _) => {}
        }
    }
    runs
}

fn heat(view: &View<'_>, track: &Track) -> String {
    let points = track.points(view, HEAT_COLUMNS);
    let row = |(index, sample): (usize, &SampleReport)| -> Vec<f64> {
        let mean = view.metrics[index].mean_autosome_coverage.unwrap_or(0.0).max(0.1);
        track
            .depths(sample, points)
            .into_iter()
            .map(|depth| (depth.unwrap_or(0.0) / mean / 2.0).clamp(0.0, 1.0))
            .collect()
    };
    let rows: Vec<_> = view.data.samples.iter().enumerate().map(row).collect();
    let (mut canvas, bottom) =
        heat_strip(view, &rows, |value| format!("{:.1} times its mean depth", value * 2.0));
    contig_axis(&mut canvas, track, (WIDE_NAMES, WIDE), bottom);
    canvas.finish("Depth along the genome, one row a sample")
}
