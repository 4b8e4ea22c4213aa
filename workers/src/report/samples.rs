//! One row a sample: the numbers people compare first, what became of its reads, and how right it is where that is
//! known.

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

/// A horizontal stacked bar per sample: `(class, label, share)` in order.
pub(super) fn stacked_bars(
    view: &View<'_>,
    label: &str,
    parts: impl Fn(usize) -> Vec<(&'static str, String, f64)>,
) -> String {
    const WIDTH: f64 = 480.0;
    const NAMES: f64 = 120.0;
    let count = view.data.samples.len();
    let row = if view.is_small() { 22.0 } else { (420.0 / count as f64).clamp(1.0, 14.0) };
    let bar = if row > 8.0 { row * 0.68 } else { row };
    let mut canvas = Canvas::new(WIDTH, row * count as f64 + 22.0);
    for (index, sample) in view.data.samples.iter().enumerate() {
        let top = index as f64 * row;
        if row > 10.0 {
            canvas.text(0.0, top + row * 0.62, "start", "name", &shortened(&sample.name, 17));
        }
        let mut left = NAMES;
        for (class, name, share) in parts(index) {
            let width = share * (WIDTH - NAMES);
            let title = format!("{}: {name}, {:.2} %", sample.name, share * 100.0);
            canvas.rect(Rect { x: left, y: top + (row - bar) / 2.0, width, height: bar }, class, &title);
            left += width;
        }
    }
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let x = NAMES + percent / 100.0 * (WIDTH - NAMES);
        let anchor = if percent == 100.0 { "end" } else { "middle" };
        canvas.text(x, row * count as f64 + 16.0, anchor, "tick", &format!("{percent} %"));
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
    let heads = [
        "Sample",
        "Reads in",
        "Accounted for",
        "Mapped",
        "Unmapped",
        "Duplicates",
        "Secondary",
        "Supplementary",
        "QC fail",
    ];
    let mut table = Table::new("Reads by fate", 1, &heads);
    for sample in &view.data.samples {
        let reads = &sample.counters.alignment.reads;
        let counts = [
            sample.reads_in,
            sample.fates.values().sum(),
            reads.mapped,
            reads.unmapped,
            reads.duplicate,
            reads.secondary,
            reads.supplementary,
            reads.qc_fail,
        ];
        let mut row = vec![escape(&sample.name)];
        row.extend(counts.map(integer));
        table.row(&row);
    }
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
        below: legend(&keys) + &table.folded("Counts"),
        wide: false,
    }
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
        row.extend(CLASSES.map(|(_, _, from, to)| format!("{:.2} %", share(index, from, to) * 100.0)));
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
            vec![escape(&sample.name), placed.map_or("–".to_owned(), |percent| format!("{percent:.2} %"))];
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
