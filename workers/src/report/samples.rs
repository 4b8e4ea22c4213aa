//! One row a sample: the numbers people compare first, what became of its reads, and how right it is where that is
//! known.

use std::collections::BTreeSet;

use super::html::{Figure, Table, decimal, escape, integer, legend, short};
use super::svg::{Canvas, Rect};
use super::{Confusion, View};

pub(super) fn section(view: &View<'_>) -> String {
    let mut html = String::from(
        "<p>Coverage counts primary, non-duplicate reads with mapping and base quality of 20 or more, and overlapping \
         mates once; variants are those that passed.</p>",
    );
    html += &format!("<div class=\"card wide\">{}</div>", table(view));
    if view.data.samples.iter().any(|sample| sample.accuracy.is_some()) {
        html += &accuracy(view);
    }
    html
}

/// A horizontal stacked bar per sample: `(class, label, share)` in order. Bars of a large cohort lose their names and
/// are sorted by the first share, so that they read as one profile.
pub(super) fn stacked_bars(
    view: &View<'_>,
    label: &str,
    parts: impl Fn(usize) -> Vec<(&'static str, String, f64)>,
) -> String {
    const WIDTH: f64 = 480.0;
    let mut bars: Vec<_> = (0..view.data.samples.len()).map(|sample| (sample, parts(sample))).collect();
    let small = view.is_small();
    let (names, row) =
        if small { (120.0, 22.0) } else { (10.0, (420.0 / bars.len() as f64).clamp(1.0, 14.0)) };
    if !small {
        let first = |parts: &[(&str, String, f64)]| parts.first().map_or(0.0, |part| part.2);
        bars.sort_by(|(_, a), (_, b)| first(b).total_cmp(&first(a)));
    }
    let height = if small { row * 0.68 } else { row + 0.4 };
    let bottom = row * bars.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 22.0);
    for (place, (sample, parts)) in bars.into_iter().enumerate() {
        let (top, name) = (place as f64 * row, &view.data.samples[sample].name);
        if small {
            canvas.text(0.0, top + row * 0.62, "start", "name", &shortened(name, 17));
        }
        let mut left = names;
        for (class, part, share) in parts {
            let width = share * (WIDTH - names);
            let title = format!("{name}: {part}, {:.2}%", share * 100.0);
            canvas.rect(Rect { x: left, y: top + (row - height) / 2.0, width, height }, class, &title);
            left += width;
        }
    }
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let x = names + percent / 100.0 * (WIDTH - names);
        let anchor = if percent == 100.0 { "end" } else { "middle" };
        canvas.text(x, bottom + 16.0, anchor, "tick", &format!("{percent}%"));
    }
    canvas.finish(label)
}

/// Reads by fate.
pub(super) fn fates(view: &View<'_>) -> Figure<'static> {
    let drawing = stacked_bars(view, "Reads by fate, one bar a sample", |index| {
        let reads = &view.data.samples[index].counters.alignment.reads;
        let share = |count: u64| count as f64 / reads.primary.max(1) as f64;
        let proper = reads.properly_paired_unique;
        let otherwise = reads.mapped.saturating_sub(reads.duplicate + proper);
        vec![
            ("c-blue", "mapped in proper pairs".to_owned(), share(proper)),
            ("c-green", "mapped otherwise".to_owned(), share(otherwise)),
            ("c-amber", "duplicates".to_owned(), share(reads.duplicate)),
            ("c-grey", "unmapped".to_owned(), share(reads.unmapped)),
        ]
    });
    let keys = [
        ("c-blue", "mapped in proper pairs"),
        ("c-green", "mapped otherwise"),
        ("c-amber", "duplicates"),
        ("c-grey", "unmapped"),
    ];
    Figure {
        title: "Reads by fate",
        note: "Share of all reads. Duplicates should be few and alike among samples of one library protocol.",
        drawing,
        below: legend(&keys) + &ledger(view),
        wide: false,
    }
}

/// Reads in, and what became of them, in the ledger's own words.
fn ledger(view: &View<'_>) -> String {
    let fates: BTreeSet<&str> =
        view.data.samples.iter().flat_map(|sample| sample.fates.keys().map(String::as_str)).collect();
    let heads: Vec<&str> = ["Sample", "Reads in"]
        .into_iter()
        .chain(fates.iter().copied())
        .chain(["Unaccounted", "Secondary records", "Supplementary records"])
        .collect();
    let mut table = Table::new("Reads by fate", 1, &heads);
    for sample in &view.data.samples {
        let reads = &sample.counters.alignment.reads;
        let accounted: u64 = sample.fates.values().sum();
        let mut row = vec![escape(&sample.name), integer(sample.reads_in)];
        row.extend(fates.iter().map(|&fate| integer(sample.fates.get(fate).copied().unwrap_or(0))));
        row.extend([sample.reads_in.abs_diff(accounted), reads.secondary, reads.supplementary].map(integer));
        table.row(&row);
    }
    table.folded("Ledger")
}

/// Mapping quality in four classes.
pub(super) fn mapping_quality(view: &View<'_>) -> Figure<'static> {
    const CLASSES: [(&str, &str, usize, usize); 4] = [
        ("c-blue", "60", 60, 256),
        ("c-sky", "20 to 59", 20, 60),
        ("c-amber", "1 to 19", 1, 20),
        ("c-grey", "0", 0, 1),
    ];
    let share = |index: usize, from: usize, to: usize| {
        let mapq = &view.data.samples[index].counters.alignment.mapq;
        (mapq.at_least(from) - mapq.at_least(to)) as f64 / mapq.total().max(1) as f64
    };
    let drawing = stacked_bars(view, "Mapping quality of mapped reads, one bar a sample", |index| {
        CLASSES
            .iter()
            .map(|&(class, name, from, to)| (class, format!("MAPQ {name}"), share(index, from, to)))
            .collect()
    });
    let mut table = Table::new("Mapping quality", 1, &["Sample", "MAPQ 60", "20 to 59", "1 to 19", "0"]);
    for (index, sample) in view.data.samples.iter().enumerate() {
        let mut row = vec![escape(&sample.name)];
        row.extend(CLASSES.map(|(_, _, from, to)| format!("{:.2}%", share(index, from, to) * 100.0)));
        table.row(&row);
    }
    Figure {
        title: "Mapping quality",
        note: "Share of mapped reads. Reads of quality 0 fit two places equally well.",
        drawing,
        below: legend(&CLASSES.map(|(class, name, _, _)| (class, name))) + &table.folded("Shares"),
        wide: false,
    }
}

/// A name cut to so many characters, with an ellipsis.
pub(super) fn shortened(name: &str, characters: usize) -> String {
    match name.char_indices().nth(characters) {
        Some(_) => name.chars().take(characters.saturating_sub(1)).chain(['…']).collect(),
        None => name.to_owned(),
    }
}

fn table(view: &View<'_>) -> String {
    let heads = [
        "Sample",
        "State",
        "Kind",
        "Sex",
        "Reads",
        "Mapped %",
        "Proper %",
        "Dup. %",
        "Coverage ×",
        "≥ 10× %",
        "≥ 20× %",
        "Insert",
        "Q30 %",
        "SNVs",
        "Indels",
        "Ti/Tv",
        "Het/hom",
    ];
    let mut table = Table::new("Samples", 4, &heads);
    for (index, sample) in view.data.samples.iter().enumerate() {
        let (metrics, level) = (&view.metrics[index], view.levels[index].name());
        let kind = match (sample.tumour, &sample.declared.relation) {
            (true, _) => "tumour".to_owned(),
            (false, Some(relation)) => escape(relation),
            (false, None) => "–".to_owned(),
        };
        let declared = sample.declared.sex.as_deref().map_or_else(|| "–".to_owned(), escape);
        table.row(&[
            escape(&sample.name),
            format!("<span class=\"state {level}\">{level}</span>"),
            kind,
            declared,
            short(metrics.reads as f64),
            decimal(metrics.pct_reads_mapped, 1),
            decimal(metrics.pct_reads_properly_paired, 1),
            decimal(metrics.pct_duplicates, 1),
            decimal(metrics.mean_autosome_coverage, 1),
            decimal(metrics.pct_autosomes_10x, 1),
            decimal(metrics.pct_autosomes_20x, 1),
            decimal(metrics.mean_insert_size, 0),
            decimal(metrics.pct_bases_q30, 1),
            integer(metrics.count_snvs),
            integer(metrics.count_insertions + metrics.count_deletions),
            decimal(metrics.ratio_transitions_transversions, 2),
            decimal(metrics.ratio_heterozygous_homzygous_snv, 2),
        ]);
    }
    table.finish()
}

fn accuracy(view: &View<'_>) -> String {
    let heads = [
        "Sample",
        "Reads placed right",
        "SNV recall",
        "SNV precision",
        "SNV F1",
        "Indel recall",
        "Indel precision",
        "Indel F1",
    ];
    let mut table = Table::new("Accuracy against truth", 1, &heads);
    for sample in &view.data.samples {
        let Some(accuracy) = &sample.accuracy else { continue };
        let placed =
            (accuracy.reads > 0).then(|| accuracy.reads_placed as f64 * 100.0 / accuracy.reads as f64);
        let mut row =
            vec![escape(&sample.name), placed.map_or("–".to_owned(), |percent| format!("{percent:.2}%"))];
        for calls in [accuracy.snv, accuracy.indel] {
            row.extend(
                [Confusion::recall, Confusion::precision, Confusion::f1].map(|of| decimal(of(&calls), 4)),
            );
        }
        table.row(&row);
    }
    format!(
        "<figure class=\"card wide\" style=\"margin-top:18px\"><figcaption><h3>Accuracy</h3><p>Against the simulation's truth; genotypes \
         must match.</p></figcaption>{}</figure>",
        table.finish()
    )
}
