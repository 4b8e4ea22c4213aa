//! Variants per sample: how many, of which kind, and whether their ratios are those of a genome.

use std::collections::BTreeMap;

use super::html::{Figure, Table, decimal, escape, integer, legend, tick};
use super::samples::shortened;
use super::svg::{Axis, Canvas, Plot, Rect, Scale};
use super::{Aspect, View};
use crate::qc::metrics::Metrics;

pub(super) fn section(view: &View<'_>) -> String {
    if view.data.samples.iter().all(|sample| sample.counters.variants.filters.is_empty()) {
        return "<p>No variants were called.</p>".to_owned();
    }
    let figures = [counts(view), ratios(view), indel_lengths(view), filters(view)].map(Figure::html);
    format!(
        "<p>Sites at which the sample carries another allele than the reference, that passed the filters, on \
         autosomes.</p><div class=\"grid\">{}</div>",
        figures.concat()
    )
}

fn counts(view: &View<'_>) -> Figure<'static> {
    const WIDTH: f64 = 520.0;
    let names = if view.is_small() { 120.0 } else { 4.0 };
    let most = view.metrics.iter().map(total).max().unwrap_or(1).max(1);
    let row = if view.is_small() { 22.0 } else { (420.0 / view.metrics.len() as f64).clamp(1.0, 14.0) };
    let scale = Scale::new((0.0, most as f64), (names, WIDTH - 14.0));
    let bottom = row * view.metrics.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 36.0);
    for value in scale.ticks(4) {
        canvas.rule((scale.at(value), 0.0), (scale.at(value), bottom), "grid");
        canvas.text(scale.at(value), bottom + 15.0, "middle", "tick", &tick(value));
    }
    let mut order: Vec<usize> = (0..view.metrics.len()).collect();
    if !view.is_small() {
        order.sort_by_key(|&sample| std::cmp::Reverse(total(&view.metrics[sample])));
    }
    for (place, sample) in order.into_iter().enumerate() {
        let (metrics, name) = (&view.metrics[sample], &view.data.samples[sample].name);
        let top = place as f64 * row;
        if view.is_small() {
            canvas.text(0.0, top + row * 0.62, "start", "name", &shortened(name, 17));
        }
        let height = if view.is_small() { row * 0.68 } else { row + 0.4 };
        let indels = metrics.count_insertions + metrics.count_deletions;
        let mut left = 0;
        for (class, count, kind) in [("c-blue", metrics.count_snvs, "SNVs"), ("c-amber", indels, "indels")] {
            let (from, to) = (scale.at(left as f64), scale.at((left + count) as f64));
            let title = format!("{name}: {} {kind}", integer(count));
            let place = Rect { x: from, y: top + (row - height) / 2.0, width: to - from, height };
            canvas.rect(place, class, &title);
            left += count;
        }
    }
    canvas.text(WIDTH - 14.0, bottom + 31.0, "end", "title", "variant sites");
    let mut table = Table::new(
        "Variants",
        1,
        &["Sample", "SNVs", "Insertions", "Deletions", "Ins/del", "Multi-allelic", "No call"],
    );
    for (sample, metrics) in view.data.samples.iter().zip(&view.metrics) {
        let variants = &sample.counters.variants;
        table.row(&[
            escape(&sample.name),
            integer(metrics.count_snvs),
            integer(metrics.count_insertions),
            integer(metrics.count_deletions),
            decimal(metrics.ratio_insertion_deletion, 2),
            integer(variants.total().multi_allelic),
            integer(variants.no_call),
        ]);
    }
    Figure {
        title: "Variants per sample",
        note: if view.is_small() {
            "Samples of one ancestry should be alike."
        } else {
            "One bar per sample, most variants first."
        },
        drawing: canvas.finish("Number of variants, one bar a sample"),
        below: legend(&[("c-blue", "SNVs"), ("c-amber", "indels")]) + &table.folded("Counts"),
        wide: false,
    }
}

fn total(metrics: &Metrics) -> u64 {
    metrics.count_snvs + metrics.count_insertions + metrics.count_deletions
}

fn ratios(view: &View<'_>) -> Figure<'static> {
    let mut points: Vec<(usize, f64, f64)> = view
        .metrics
        .iter()
        .enumerate()
        .filter_map(|(index, m)| {
            Some((index, m.ratio_transitions_transversions?, m.ratio_heterozygous_homzygous_snv?))
        })
        .collect();
    let domain = |values: Vec<f64>, least: f64| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let room = ((high - low) * 0.15).max(least);
        if values.is_empty() { (0.0, 3.0) } else { ((low - room).max(0.0), high + room) }
    };
    let x = Axis {
        title: "transitions per transversion",
        domain: domain(points.iter().map(|point| point.1).collect(), 0.1),
        label: |value| format!("{value:.2}"),
    };
    let y = Axis {
        title: "heterozygous per homozygous SNV",
        domain: domain(points.iter().map(|point| point.2).collect(), 0.1),
        label: |value| format!("{value:.2}"),
    };
    let mut plot = Plot::new(520.0, 300.0, &x, &y);
    // Flagged samples last, so that they lie on top.
    points.sort_by_key(|&(index, ..)| view.is_flagged(index, Aspect::Variants));
    for &(index, titv, hethom) in &points {
        let class = match view.series_class(index, Aspect::Variants) {
            "flagged" => "c-red",
            "tumour" => "c-purple",
            _ => "c-blue",
        };
        let title = format!("{}: Ti/Tv {titv:.2}, het/hom {hethom:.2}", view.data.samples[index].name);
        plot.dot(titv, hethom, class, &title);
    }
    let mut table = Table::new("Ratios", 1, &["Sample", "Ti/Tv", "Het/hom SNV", "Het/hom indel"]);
    for (sample, metrics) in view.data.samples.iter().zip(&view.metrics) {
        table.row(&[
            escape(&sample.name),
            decimal(metrics.ratio_transitions_transversions, 3),
            decimal(metrics.ratio_heterozygous_homzygous_snv, 3),
            decimal(metrics.ratio_heterozygous_homzygous_indel, 3),
        ]);
    }
    Figure {
        title: "Ti/Tv and heterozygosity",
        note: "Whole human genomes lie near 2.0 to 2.1 and 1.4 to 2.0; false calls pull Ti/Tv towards 0.5.",
        drawing: plot.finish("Transitions per transversion against heterozygosity, one dot a sample"),
        below: view.dot_legend(Aspect::Variants) + &table.folded("Numbers"),
        wide: false,
    }
}

fn indel_lengths(view: &View<'_>) -> Figure<'static> {
    let mut lengths: BTreeMap<i32, u64> = BTreeMap::new();
    for sample in &view.data.samples {
        for (length, count) in sample.counters.variants.total().indel_lengths {
            *lengths.entry(length).or_default() += count;
        }
    }
    let all = lengths.values().sum::<u64>().max(1) as f64;
    let most = lengths.values().max().copied().unwrap_or(1) as f64 / all * 100.0;
    // The root keeps the long tail visible beside the single bases.
    let x = Axis {
        title: "length (bases; deletions negative)",
        domain: (-51.0, 51.0),
        label: |value| format!("{value:.0}"),
    };
    let y = Axis {
        title: "indels (%, square-root scale)",
        domain: (0.0, most.sqrt() * 1.05),
        label: |root| if root == 0.0 { "0".to_owned() } else { tick((root * root * 10.0).round() / 10.0) },
    };
    let mut plot = Plot::new(520.0, 300.0, &x, &y);
    let mut table = Table::new("Indels by length", 1, &["Length", "Indels", "%"]);
    for (&length, &count) in &lengths {
        let percent = count as f64 / all * 100.0;
        let class = if length < 0 { "c-purple" } else { "c-green" };
        let middle = f64::from(length);
        plot.bar(
            middle - 0.42,
            middle + 0.42,
            percent.sqrt(),
            class,
            &format!("{length} bases: {}", integer(count)),
        );
        table.row(&[length.to_string(), integer(count), format!("{percent:.2}")]);
    }
    Figure {
        title: "Indel lengths",
        note: "All samples together. Both sides fall alike; lengths of 50 and more stand in the last bar.",
        drawing: plot.finish("Indels by length over all samples"),
        below: legend(&[("c-purple", "deletions"), ("c-green", "insertions")]) + &table.folded("Counts"),
        wide: false,
    }
}

fn filters(view: &View<'_>) -> Figure<'static> {
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in &view.data.samples {
        for (name, count) in &sample.counters.variants.filters {
            *names.entry(name).or_default() += count;
        }
    }
    let heads: Vec<&str> = ["Sample"].into_iter().chain(names.keys().copied()).collect();
    let mut table = Table::new("Sites by filter", 1, &heads);
    for sample in &view.data.samples {
        let mut row = vec![escape(&sample.name)];
        let filters = &sample.counters.variants.filters;
        row.extend(names.keys().map(|&name| integer(filters.get(name).copied().unwrap_or(0))));
        table.row(&row);
    }
    Figure {
        title: "Filters",
        note: "Sites by FILTER; a site that failed several stands under each.",
        drawing: String::new(),
        below: table.finish(),
        wide: false,
    }
}
