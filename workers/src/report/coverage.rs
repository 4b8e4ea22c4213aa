//! Depth of coverage: how it is distributed, where on the genome it lies, and how reads follow GC.

use super::html::{Figure, Table, decimal, escape, short, tick};
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
    let x = Axis { title: "depth (×)", domain: (0.0, deepest as f64), label: tick };
    // Bases that no read reaches may outnumber all others; they must not flatten the hill.
    let highest = curves.ys.iter().flat_map(|ys| ys.iter().skip(1)).copied().fold(0.0, f64::max);
    let y = Axis { title: "bases (%)", domain: (0.0, highest * 1.1), label: tick };
    let mut plot = Plot::new(520.0, 280.0, &x, &y);
    plot.mark_x(view.data.thresholds.mean_autosome_coverage_min, "least mean");
    overlay(view, &mut plot, &curves, Aspect::Coverage);
    Figure {
        title: "Depth distribution",
        note: "One narrow hill is good; what rises at 0 is sequence that no read reaches.",
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
    // Where the genome has next to no windows, counts are noise.
    const SHARE_MIN: f64 = 0.001;
    let samples = &view.data.samples;
    let rows = samples.first().map_or(&[][..], |first| first.counters.alignment.gc_bias.rows.rows());
    let all = rows.iter().map(|row| row[0]).sum::<u64>() as f64;
    let bins: Vec<usize> = (0..rows.len()).filter(|&gc| rows[gc][0] as f64 > SHARE_MIN * all).collect();
    let curve = |sample: &SampleReport| -> Vec<f64> {
        let bias = sample.counters.alignment.gc_bias.normalized();
        if bias.iter().all(Option::is_none) {
            return Vec::new();
        }
        bins.iter().map(|&gc| bias.get(gc).copied().flatten().unwrap_or(0.0)).collect()
    };
    let curves =
        Curves { xs: bins.iter().map(|&gc| gc as f64).collect(), ys: samples.iter().map(curve).collect() };
    let ends = (bins.first().map_or(20.0, |&gc| gc as f64), bins.last().map_or(70.0, |&gc| gc as f64));
    let x = Axis { title: "GC of 100-base windows (%)", domain: ends, label: tick };
    let y =
        Axis { title: "reads / expected reads", domain: (0.0, curves.max().clamp(1.5, 3.0)), label: tick };
    let mut plot = Plot::new(520.0, 280.0, &x, &y);
    let most = rows.iter().map(|row| row[0]).max().unwrap_or(1).max(1) as f64;
    for &gc in &bins {
        let height = rows[gc][0] as f64 / most * 0.5;
        plot.bar(gc as f64 - 0.5, gc as f64 + 0.5, height, "c-tint", "windows of the reference");
    }
    plot.mark_y(1.0);
    overlay(view, &mut plot, &curves, Aspect::Coverage);
    let mut table =
        Table::new("Reads by GC, relative to the mean", 1, &["GC %", "Lowest sample", "Highest sample"]);
    for (index, bin) in bins.iter().enumerate() {
        let values: Vec<f64> = curves.ys.iter().filter_map(|ys| ys.get(index).copied()).collect();
        let end = |pick: fn(f64, f64) -> f64| decimal(values.iter().copied().reduce(pick), 2);
        table.row(&[bin.to_string(), end(f64::min), end(f64::max)]);
    }
    Figure {
        title: "Reads by GC",
        note: "Reads that begin where the reference has that GC, against as many as there are such places: flat at 1 is \
               unbiased. Grey shows how much of the reference has each GC.",
        drawing: plot.finish("Relative number of reads by GC content, one line a sample"),
        below: view.series_legend(Aspect::Coverage) + &table.folded("Numbers"),
        wide: false,
    }
}

/// The genome as one line: contigs one after another.
struct Track {
    contigs: Vec<Place>,
    /// Length of the line in bases.
    length: f64,
}

/// Where a contig lies on the line, in bases.
struct Place {
    from: f64,
    to: f64,
    name: String,
}

/// A stretch of the line and the mean depth of its known bases.
struct Depth {
    from: f64,
    to: f64,
    mean: f64,
}

impl Track {
    fn new(view: &View<'_>) -> Self {
        let mut track = Track { contigs: Vec::new(), length: 0.0 };
        for contig in &view.data.reference.contigs {
            let from = track.length;
            track.length += f64::from(contig.length);
            track.contigs.push(Place { from, to: track.length, name: contig.name.clone() });
        }
        track
    }

    /// One sample's depths in stretches of whole windows, about `most` at most; those without a known base are left out.
    fn depths(&self, sample: &SampleReport, most: usize) -> Vec<Depth> {
        let coverage = &sample.counters.coverage;
        let window = f64::from(coverage.window_bases.max(1));
        let together = (self.length / window / most as f64).ceil().max(1.0) as usize;
        let mut depths = Vec::new();
        for (contig, place) in self.contigs.iter().enumerate() {
            let Some(windows) = coverage.windows.get(&(contig as u32)) else { continue };
            let count = ((place.to - place.from) / window).ceil() as usize;
            for first in (0..count).step_by(together) {
                let mut stretch = Stretch::default();
                for (_, counted) in windows.range(first as u32..(first + together) as u32) {
                    stretch.merge(counted);
                }
                let at = |index: usize| (place.from + index as f64 * window).min(place.to);
                if let Some(mean) = stretch.mean() {
                    depths.push(Depth { from: at(first), to: at(first + together), mean });
                }
            }
        }
        depths
    }
}

fn along_genome(view: &View<'_>) -> Figure<'static> {
    let track = Track::new(view);
    let drawing = if view.is_small() { strips(view, &track) } else { heat(view, &track) };
    let names = track.contigs.iter().take(26).map(|contig| contig.name.as_str());
    let heads: Vec<&str> = ["Sample"].into_iter().chain(names).collect();
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
    let x = Scale::new((0.0, track.length), (WIDE_NAMES, WIDE));
    let bottom = ROW * samples.len() as f64;
    for (index, sample) in samples.iter().enumerate() {
        let mean = view.metrics[index].mean_autosome_coverage.unwrap_or(0.0);
        let floor = (index + 1) as f64 * ROW - 4.0;
        let y = Scale::new((0.0, (mean * 2.0).max(1.0)), (floor, floor - ROW + 10.0));
        canvas.text(0.0, floor - 16.0, "start", "name", &shortened(&sample.name, 15));
        canvas.text(0.0, floor - 2.0, "start", "tick", &format!("mean {mean:.1}×"));
        let class = format!("area solid {}", view.series_class(index, Aspect::Coverage));
        let depths = track.depths(sample, STRIP_POINTS);
        for run in depths.chunk_by(|a, b| a.to == b.from) {
            let ends = [x.at(run[0].from), x.at(run[run.len() - 1].to)].map(|x| (x, floor));
            let edge = run.iter().flat_map(|d| [(x.at(d.from), y.at(d.mean)), (x.at(d.to), y.at(d.mean))]);
            canvas.polygon(ends[..1].iter().copied().chain(edge).chain([ends[1]]), &class, &sample.name);
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
    for contig in &track.contigs {
        let (left, right) = (place.at(contig.from), place.at(contig.to));
        if contig.from > 0.0 && right - left > 3.0 {
            canvas.rule((left, 0.0), (left, bottom + 6.0), "contig");
        }
        if right - left > 7.0 * contig.name.chars().count() as f64 + 4.0 {
            canvas.text((left + right) / 2.0, bottom + 14.0, "middle", "tick", &contig.name);
        }
    }
    canvas.text(range.1, bottom + 30.0, "end", "title", &format!("{}b", short(track.length)));
}

fn heat(view: &View<'_>, track: &Track) -> String {
    let row = |(index, sample): (usize, &SampleReport)| -> Vec<f64> {
        let mean = view.metrics[index].mean_autosome_coverage.unwrap_or(0.0).max(0.1);
        let mut row = vec![0.0; HEAT_COLUMNS];
        let column = |at: f64| (at / track.length.max(1.0) * HEAT_COLUMNS as f64).round() as usize;
        for depth in track.depths(sample, HEAT_COLUMNS) {
            row[column(depth.from)..column(depth.to)].fill((depth.mean / mean / 2.0).clamp(0.0, 1.0));
        }
        row
    };
    let rows: Vec<_> = view.data.samples.iter().enumerate().map(row).collect();
    let (mut canvas, bottom) =
        heat_strip(view, &rows, |value| format!("{:.1} times its mean depth", value * 2.0));
    contig_axis(&mut canvas, track, (WIDE_NAMES, WIDE), bottom);
    canvas.finish("Depth along the genome, one row a sample")
}
