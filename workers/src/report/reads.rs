//! What the reads look like: fates, mapping quality, insert size, qualities, bases and mismatches by cycle.

use super::html::{Figure, Table, decimal, escape, legend, short, tick};
use super::series::{Curves, WIDE, WIDE_NAMES, heat_strip, multiples, overlay};
use super::svg::{Axis, Plot, Scale};
use super::{Aspect, SampleReport, View, samples};
use crate::qc::alignment::{CYCLES_MAX, MateCounters, QUALITIES};
use crate::qc::histogram::Histogram;

/// Largest quality drawn.
const QUALITY_SHOWN_MAX: f64 = 45.0;

/// Read length up to which every cycle has a point of its own.
const POINTS_MAX: usize = 150;

pub(super) fn section(view: &View<'_>) -> String {
    let figures = [
        samples::fates(view),
        samples::mapping_quality(view),
        insert_size(view),
        mismatches(view),
        qualities(view),
        composition(view),
    ];
    format!(
        "<p>Cycles count in the order in which the instrument read the bases; first and second mates stand apart.</p>\
         <div class=\"grid\">{}</div>",
        figures.map(Figure::html).concat()
    )
}

fn insert_size(view: &View<'_>) -> Figure<'static> {
    let all = &view.data.samples;
    let sizes: Vec<_> = all.iter().map(|sample| sample.counters.alignment.inserts.all()).collect();
    let longest = sizes.iter().filter_map(|sizes| sizes.percentile(99)).max();
    let longest = (longest.unwrap_or(500) + 1) * 11 / 10;
    let step = longest.div_ceil(120).max(1);
    let curve = |histogram: &Histogram| -> Vec<f64> {
        if histogram.total() == 0 {
            return Vec::new();
        }
        let total = histogram.total() as f64;
        let share = |from: usize| (from..from + step).map(|size| histogram.count(size)).sum::<u64>() as f64;
        (0..longest).step_by(step).map(|from| share(from) / total * 100.0 / step as f64).collect()
    };
    let xs = (0..longest).step_by(step).map(|from| from as f64 + step as f64 / 2.0).collect();
    let curves = Curves { xs, ys: sizes.iter().map(curve).collect() };
    let x = Axis {
        title: "insert size (bases)",
        domain: (0.0, longest as f64),
        label: |value| format!("{value:.0}"),
    };
    let y = Axis { title: "pairs (% per base)", domain: (0.0, curves.max() * 1.05), label: tick };
    let mut plot = Plot::new(520.0, 280.0, &x, &y);
    overlay(view, &mut plot, &curves, Aspect::Reads);
    let mut table = Table::new("Insert size", 1, &["Sample", "Mean", "Standard deviation", "Median"]);
    for (sample, metrics) in all.iter().zip(&view.metrics) {
        table.row(&[
            escape(&sample.name),
            decimal(metrics.mean_insert_size, 1),
            decimal(metrics.insert_size_std_deviation, 1),
            metrics.median_insert_size.map_or_else(|| "–".to_owned(), |median| median.to_string()),
        ]);
    }
    Figure {
        title: "Insert size",
        note: "Distance between the outer ends of mates on one contig, duplicates included.",
        drawing: plot.finish("Distribution of insert sizes, one line a sample"),
        below: view.series_legend(Aspect::Reads) + &table.folded("Numbers"),
        wide: false,
    }
}

/// Cycles with data, and how many share a point.
fn cycles(view: &View<'_>) -> (usize, usize) {
    let mates = view.data.samples.iter().flat_map(|sample| &sample.counters.alignment.mates);
    let cycles = mates.map(|mate| mate.composition.rows().len()).max().unwrap_or(0).clamp(1, CYCLES_MAX);
    (cycles, cycles.div_ceil(POINTS_MAX))
}

fn mismatches(view: &View<'_>) -> Figure<'static> {
    let (count, step) = cycles(view);
    let rate = |mate: &MateCounters, from: usize| {
        let sum = |of: &Histogram| (from..from + step).map(|c| of.count(c)).sum::<u64>() as f64;
        sum(&mate.mismatches) * 100.0 / sum(&mate.compared).max(1.0)
    };
    let curve = |sample: &SampleReport| -> Vec<f64> {
        let mates = &sample.counters.alignment.mates;
        let lines = mates.iter().flat_map(|mate| (0..count).step_by(step).map(|from| rate(mate, from)));
        if mates.iter().all(|mate| mate.compared.total() == 0) { Vec::new() } else { lines.collect() }
    };
    // Second mates follow the first ones on the same axis, so that one line is one sample.
    let xs: Vec<f64> = (0..2)
        .flat_map(|mate| (0..count).step_by(step).map(move |from| (mate * count + from + 1) as f64))
        .collect();
    let curves = Curves { xs, ys: view.data.samples.iter().map(curve).collect() };
    let x = Axis {
        title: "cycle, first then second mate",
        domain: (1.0, 2.0 * count as f64),
        label: |value| format!("{value:.0}"),
    };
    let y = Axis {
        title: "mismatches (% of aligned bases)",
        domain: (0.0, curves.max().max(0.1) * 1.05),
        label: tick,
    };
    let mut plot = Plot::new(520.0, 280.0, &x, &y);
    plot.mark_x(count as f64 + 0.5, "second mate");
    overlay(view, &mut plot, &curves, Aspect::Reads);
    let mut table = Table::new(
        "Differences from the reference",
        1,
        &["Sample", "NM per aligned base %", "Soft-clipped %"],
    );
    for (sample, metrics) in view.data.samples.iter().zip(&view.metrics) {
        table.row(&[
            escape(&sample.name),
            decimal(metrics.pct_mismatches, 3),
            decimal(metrics.pct_soft_clipped, 3),
        ]);
    }
    Figure {
        title: "Mismatches by cycle",
        note: "Sequencing errors and true variants together; a spike is a bad cycle.",
        drawing: plot.finish("Mismatch rate by cycle, one line a sample"),
        below: view.series_legend(Aspect::Reads) + &table.folded("Numbers"),
        wide: false,
    }
}

/// Mean of a row of counts by quality, and its 10th and 90th percentile.
fn quality_of(row: &[u64; QUALITIES]) -> Option<(f64, f64, f64)> {
    let total: u64 = row.iter().sum();
    let sum: u64 = row.iter().enumerate().map(|(quality, &count)| quality as u64 * count).sum();
    let rank = |tenths: u64| {
        let mut seen = 0;
        row.iter().position(|&count| {
            seen += count;
            seen * 10 >= total * tenths
        })
    };
    (total > 0).then_some(())?;
    Some((sum as f64 / total as f64, rank(1)? as f64, rank(9)? as f64))
}

fn qualities(view: &View<'_>) -> Figure<'static> {
    let (count, step) = cycles(view);
    let drawing = if view.is_small() {
        multiples(view, |sample| quality_plot(&view.data.samples[sample], count, step))
    } else {
        quality_heat(view, count, step)
    };
    let below = if view.is_small() {
        legend(&[("c-blue", "first mate"), ("c-green", "second mate")])
    } else {
        String::new()
    };
    let mut table = Table::new("Base quality", 1, &["Sample", "Q20 %", "Q30 %", "Bases of Q30 or more"]);
    for (sample, metrics) in view.data.samples.iter().zip(&view.metrics) {
        table.row(&[
            escape(&sample.name),
            decimal(metrics.pct_bases_q20, 2),
            decimal(metrics.pct_bases_q30, 2),
            short(metrics.yield_bp_q30 as f64),
        ]);
    }
    Figure {
        title: "Base quality by cycle",
        note: if view.is_small() {
            "Mean, and the range that holds four fifths of the bases."
        } else {
            "Mean quality; full colour is 45."
        },
        drawing,
        below: below + &table.folded("Numbers"),
        wide: view.data.samples.len() > 2,
    }
}

fn quality_plot(sample: &SampleReport, count: usize, step: usize) -> String {
    let x = Axis { title: "cycle", domain: (1.0, count.max(2) as f64), label: |value| format!("{value:.0}") };
    let y = Axis {
        title: "quality (phred)",
        domain: (0.0, QUALITY_SHOWN_MAX),
        label: |value| format!("{value:.0}"),
    };
    let mut plot = Plot::new(270.0, 170.0, &x, &y);
    for (mate, class) in sample.counters.alignment.mates.iter().zip(["", "second"]) {
        let rows = mate.quality.rows().iter().enumerate().step_by(step);
        let points: Vec<_> = rows
            .filter_map(|(cycle, row)| quality_of(row).map(|quality| ((cycle + 1) as f64, quality)))
            .collect();
        let band: Vec<_> = points.iter().map(|&(cycle, (_, low, high))| (cycle, low, high)).collect();
        let line: Vec<_> = points.iter().map(|&(cycle, (mean, _, _))| (cycle, mean)).collect();
        plot.band(&band, &format!("area {class}"), "");
        plot.line(
            &line,
            &format!("line {class}"),
            if class.is_empty() { "first mate" } else { "second mate" },
        );
    }
    plot.finish(&format!("Base quality by cycle of {}", sample.name))
}

fn quality_heat(view: &View<'_>, count: usize, step: usize) -> String {
    let row = |sample: &SampleReport| -> Vec<f64> {
        let mates = &sample.counters.alignment.mates;
        let of = |mate: &MateCounters| -> Vec<f64> {
            let at = |cycle: usize| mate.quality.rows().get(cycle).and_then(quality_of);
            (0..count)
                .step_by(step)
                .map(|cycle| at(cycle).map_or(0.0, |(mean, _, _)| mean / QUALITY_SHOWN_MAX))
                .collect()
        };
        mates.iter().flat_map(of).collect()
    };
    let rows: Vec<_> = view.data.samples.iter().map(row).collect();
    let write = |value: f64| format!("mean quality {:.0}", value * QUALITY_SHOWN_MAX);
    let (mut canvas, bottom) = heat_strip(view, &rows, write);
    let cycles = Scale::new((1.0, 2.0 * count as f64), (WIDE_NAMES, WIDE));
    for tick in cycles.ticks(8) {
        let anchor = if cycles.at(tick) > WIDE - 12.0 { "end" } else { "middle" };
        canvas.text(cycles.at(tick), bottom + 15.0, anchor, "tick", &format!("{tick:.0}"));
    }
    canvas.text(WIDE, bottom + 31.0, "end", "title", "cycle, first then second mate");
    canvas.finish("Mean base quality by cycle, one row a sample")
}

/// Base composition is a matter of the library: drawn for small cohorts only, a table of GC says enough of others.
fn composition(view: &View<'_>) -> Figure<'static> {
    const CLASSES: [&str; 4] = ["base-a", "base-c", "base-g", "base-t"];
    let (count, step) = cycles(view);
    let plot = |sample: &SampleReport| {
        let x = Axis {
            title: "cycle, first mate",
            domain: (1.0, count.max(2) as f64),
            label: |value| format!("{value:.0}"),
        };
        let y = Axis { title: "bases (%)", domain: (0.0, 50.0), label: |value| format!("{value:.0}") };
        let mut plot = Plot::new(270.0, 150.0, &x, &y);
        let rows = sample.counters.alignment.mates[0].composition.rows();
        for (base, class) in CLASSES.iter().enumerate() {
            let share = |row: &[u64; 5]| row[base] as f64 * 100.0 / row.iter().sum::<u64>().max(1) as f64;
            let points: Vec<_> = rows
                .iter()
                .enumerate()
                .step_by(step)
                .map(|(cycle, row)| ((cycle + 1) as f64, share(row)))
                .collect();
            plot.line(&points, &format!("line thin {class}"), ["A", "C", "G", "T"][base]);
        }
        plot.finish(&format!("Bases by cycle of {}", sample.name))
    };
    let mut table = Table::new("GC of reads", 1, &["Sample", "Mean GC %", "Mean read length"]);
    for (sample, metrics) in view.data.samples.iter().zip(&view.metrics) {
        table.row(&[
            escape(&sample.name),
            decimal(metrics.mean_gc_percent, 2),
            decimal(metrics.mean_read_length, 1),
        ]);
    }
    let (drawing, below) = if view.is_small() {
        let keys = [("c-green", "A"), ("c-blue", "C"), ("c-amber", "G"), ("c-red", "T")];
        let plots = multiples(view, |sample| plot(&view.data.samples[sample]));
        let folded = format!("<details><summary>Plots</summary>{plots}{}</details>", legend(&keys));
        (String::new(), folded + &table.folded("Numbers"))
    } else {
        (String::new(), table.folded("Numbers"))
    };
    Figure {
        title: "Bases by cycle",
        note: "Level lines, A with T and C with G; waves at the start come from the library's enzyme.",
        drawing,
        below,
        wide: view.data.samples.len() > 2,
    }
}
