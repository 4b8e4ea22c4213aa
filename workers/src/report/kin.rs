//! How samples are related and which sex chromosomes they have, against what the cohort sheet says.

use super::html::{Figure, Table, decimal, escape, legend};
use super::samples::shortened;
use super::svg::{Axis, Canvas, Plot, Rect};
use super::{Level, PairReport, View};
use crate::qc::pedigree::{contradicts, expected};
use crate::qc::relatedness::Relation;
use crate::qc::sex::Karyotype;

/// Pairs listed in the table: relatives and contradictions first.
const PAIRS_SHOWN_MAX: usize = 200;

/// Samples up to which the matrix is drawn.
const MATRIX_SAMPLES_MAX: usize = 600;

pub(super) fn section(view: &View<'_>) -> String {
    let mut figures = Vec::new();
    if !view.data.pairs.is_empty() {
        figures.push(matrix(view).html());
    }
    figures.push(sex(view).html());
    figures.push(pairs(view).html());
    format!(
        "<p>Kinship by KING-robust over biallelic SNVs of the joint call: 0.5 is one person, 0.25 parent and child or \
         siblings, 0 strangers. Over a few megabases it scatters; parents and children stay recognisable since they \
         share an allele at every site.</p><div class=\"grid\">{}</div>",
        figures.concat()
    )
}

/// What was found, what the sheet says, and whether they clash.
struct Verdict {
    found: Option<Relation>,
    expected: Option<Relation>,
    clash: bool,
}

fn verdict(view: &View<'_>, pair: &PairReport) -> Option<Verdict> {
    let (a, b) = (view.data.samples.get(pair.first)?, view.data.samples.get(pair.second)?);
    let (found, expected) = (pair.counts.relation(), expected(&a.declared, &b.declared));
    Some(Verdict { found, expected, clash: found.is_some_and(|found| contradicts(expected, found)) })
}

fn matrix(view: &View<'_>) -> Figure<'static> {
    const NAMES: f64 = 92.0;
    let count = view.data.samples.len();
    let side = (420.0 / count as f64).clamp(0.8, 34.0);
    let left = if side >= 9.0 { NAMES } else { 10.0 };
    let extent = side * count as f64;
    let mut canvas = Canvas::new(520.0, extent.max(40.0) + 6.0);
    if count > MATRIX_SAMPLES_MAX {
        canvas.text(0.0, 20.0, "start", "tick", "too many samples to draw; see the pairs");
    }
    let drawn = if count > MATRIX_SAMPLES_MAX { &[][..] } else { &view.data.pairs[..] };
    canvas.rect(square(left, 0.0, extent), "c-tint", "");
    for pair in drawn {
        let (Some(kinship), Some(verdict)) = (pair.counts.kinship(), verdict(view, pair)) else { continue };
        // Unremarkable pairs of a large cohort would only add weight to the page.
        if kinship < 0.02 && count > 60 && !verdict.clash {
            continue;
        }
        let names = (&view.data.samples[pair.first].name, &view.data.samples[pair.second].name);
        let found = verdict.found.map_or("not determinable", Relation::name);
        let title = format!("{} and {}: kinship {kinship:.3}, {found}", names.0, names.1);
        for (row, column) in [(pair.first, pair.second), (pair.second, pair.first)] {
            let (x, y) = (left + column as f64 * side, row as f64 * side);
            let gap = if side > 6.0 { 1.0 } else { 0.0 };
            canvas.shade(square(x, y, side - gap), "c-blue", kinship * 2.0, &title);
            if verdict.clash {
                canvas.rect(square(x + 1.0, y + 1.0, (side - gap - 2.0).max(0.5)), "mismatch", &title);
            }
            // Numbers near 0 are noise; they stay in the hover title.
            if side >= 26.0 && kinship >= 0.04 {
                let class = if kinship > 0.3 { "tick on-dark" } else { "tick on-mid" };
                canvas.text(x + side / 2.0, y + side / 2.0 + 4.0, "middle", class, &format!("{kinship:.2}"));
            }
        }
    }
    for (index, sample) in view.data.samples.iter().enumerate().filter(|_| side >= 9.0) {
        let place = index as f64 * side + side / 2.0;
        canvas.text(left - 6.0, place + 4.0, "end", "tick", &shortened(&sample.name, 14));
        canvas.shade(
            square(left + index as f64 * side, index as f64 * side, side - 1.0),
            "c-grey",
            0.5,
            &sample.name,
        );
    }
    Figure {
        title: "Kinship",
        note: "Stronger colour is closer. A red frame contradicts the cohort sheet.",
        drawing: canvas.finish("Kinship of all pairs of samples"),
        below: String::new(),
        wide: false,
    }
}

fn square(x: f64, y: f64, side: f64) -> Rect {
    Rect { x, y, width: side, height: side }
}

fn pairs(view: &View<'_>) -> Figure<'static> {
    let mut noted: Vec<(&PairReport, Verdict)> = view
        .data
        .pairs
        .iter()
        .filter_map(|pair| Some((pair, verdict(view, pair)?)))
        .filter(|(_, verdict)| {
            let stated = verdict.expected.is_some_and(|relation| relation != Relation::Unrelated);
            verdict.clash || stated || verdict.found.is_some_and(|found| found < Relation::ThirdDegree)
        })
        .collect();
    noted.sort_by_key(|(pair, verdict)| (!verdict.clash, verdict.found, pair.first, pair.second));
    let heads = ["Pair", "Found", "Sheet", "State", "Kinship", "IBS0 %", "Same %", "Sites"];
    let mut table = Table::new("Related pairs", 4, &heads);
    let word = |relation: Option<Relation>| relation.map_or("–", Relation::name).to_owned();
    for (pair, verdict) in noted.iter().take(PAIRS_SHOWN_MAX) {
        let names = [pair.first, pair.second].map(|index| escape(&view.data.samples[index].name));
        let level = if verdict.clash { Level::Problem } else { Level::Pass }.name();
        let counts = &pair.counts;
        let ibs0 = (counts.sites > 0).then(|| counts.ibs0 as f64 * 100.0 / counts.sites as f64);
        table.row(&[
            names.join(", "),
            word(verdict.found),
            word(verdict.expected),
            format!("<span class=\"state {level}\">{level}</span>"),
            decimal(counts.kinship(), 3),
            decimal(ibs0, 2),
            decimal(counts.concordance().map(|share| share * 100.0), 2),
            super::html::integer(counts.sites),
        ]);
    }
    let below = match (noted.len(), view.data.pairs.is_empty()) {
        (_, true) => "<p>Nothing to compare: fewer than two samples with genotypes.</p>".to_owned(),
        (0, false) => "<p>No pair is related, and the sheet states no relation.</p>".to_owned(),
        (count, false) if count > PAIRS_SHOWN_MAX => {
            format!("{}<p>{} more pairs are not listed.</p>", table.finish(), count - PAIRS_SHOWN_MAX)
        }
        _ => table.finish(),
    };
    Figure {
        title: "Relatives",
        note: "Pairs that are related or that the sheet states, contradictions first. A tumour must be identical with \
               its participant's other samples.",
        drawing: String::new(),
        below,
        wide: true,
    }
}

fn sex(view: &View<'_>) -> Figure<'static> {
    let known = view.sexes.iter().any(|sex| sex.karyotype != Karyotype::NotDeterminable);
    let mut table =
        Table::new("Sex", 3, &["Sample", "Declared", "Seen", "X / autosomes", "Y / autosomes", "X het. %"]);
    for (sample, sex) in view.data.samples.iter().zip(&view.sexes) {
        table.row(&[
            escape(&sample.name),
            sample.declared.sex.as_deref().map_or_else(|| "–".to_owned(), escape),
            sex.karyotype.name().to_owned(),
            decimal(sex.x_ratio, 2),
            decimal(sex.y_ratio, 2),
            decimal(sex.x_heterozygosity.map(|share| share * 100.0), 1),
        ]);
    }
    if !known {
        return Figure {
            title: "Sex chromosomes",
            note: "Not determinable: the reference has no X or no Y contig.",
            drawing: String::new(),
            below: table.folded("What the sheet says"),
            wide: false,
        };
    }
    let x = Axis {
        title: "depth of X / depth of autosomes",
        domain: (0.2, 1.6),
        label: |value| format!("{value:.1}"),
    };
    let y = Axis {
        title: "depth of Y / depth of autosomes",
        domain: (0.0, 1.0),
        label: |value| format!("{value:.1}"),
    };
    let mut plot = Plot::new(520.0, 300.0, &x, &y);
    plot.text(1.0, 0.2, "middle", "XX");
    plot.text(0.5, 0.82, "middle", "XY");
    let class = |clash: bool, karyotype| match (clash, karyotype) {
        (true, _) => "c-red",
        (false, Karyotype::Unusual) => "c-amber",
        (false, _) => "c-blue",
    };
    // Contradictions last, so that they lie on top.
    for drawn in [false, true] {
        for (sample, sex) in view.data.samples.iter().zip(&view.sexes) {
            let declared = sample.declared.sex.as_deref().unwrap_or("nothing");
            let clash = sex.karyotype.contradicts(declared);
            if let (Some(x), Some(y), true) = (sex.x_ratio, sex.y_ratio, clash == drawn) {
                let title = format!("{}: seen {}, declared {declared}", sample.name, sex.karyotype.name());
                plot.dot(x, y, class(clash, sex.karyotype), &title);
            }
        }
    }
    let keys = [("c-blue", "as declared"), ("c-amber", "unusual"), ("c-red", "contradicts the sheet")];
    Figure {
        title: "Sex chromosomes",
        note: "Two X and no Y lie at 1 and 0, one of each at a half.",
        drawing: plot.finish("Depth of X and Y against the autosomes, one dot a sample"),
        below: legend(&keys) + &table.folded("Numbers"),
        wide: false,
    }
}
