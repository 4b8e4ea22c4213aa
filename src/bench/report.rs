//! The report of a scaling benchmark: one page without scripts or links, light and dark.
//!
//! Invariant: every figure says whether it was simulated or measured.

use super::check::Checked;
use super::figures::{Figure, Goal, Origin};
use super::plot::{self, Axis, Line, Scale, number};
use cluster::sim::{Costs, Kind, Rule, Trace};
use std::fmt::Write as _;

/// What the page is made of.
pub struct Page<'a> {
    /// The command that made it.
    pub command: &'a str,
    /// What was run, in words.
    pub about: &'a str,
    /// All runs.
    pub figures: &'a [Figure],
    /// Goals.
    pub goals: &'a [Goal],
    /// Runs to be drawn, by title.
    pub runs: &'a [(String, Trace)],
    /// Costs the simulation used.
    pub costs: &'a Costs,
    /// Predictions against a real run, if one was made.
    pub checked: Option<&'a Checked>,
}

/// Colours of the lines, in order.
const CLASSES: [&str; 5] = ["c0", "c1", "c2", "c3", "c4"];

/// The page.
pub fn render(page: &Page<'_>) -> String {
    let mut body = format!(
        "<h1>Scaling</h1><p class=\"lead\">{}</p><p class=\"soft\"><code>{}</code></p>",
        escape(page.about),
        escape(page.command)
    );
    if !page.goals.is_empty() {
        section(&mut body, "Goals", "", &goals(page.goals));
    }
    let strong: Vec<&Figure> = page.figures.iter().filter(|figure| figure.scenario == "strong").collect();
    if strong.len() > 1 {
        let origin = origin_of(&strong);
        section(&mut body, "Strong scaling: one cohort, more workers", origin, &speed_up(&strong));
        section(
            &mut body,
            "Efficiency: work over workers times makespan",
            origin,
            &(efficiency(&strong)
                + "<p class=\"soft\">Short bars are the goals. The dotted line is what no scheduler can beat: nothing \
                   maps before the first part of an intake is done, the last map and the last region have files to be \
                   written behind them, and the last task runs alone.</p>"),
        );
    }
    let weak: Vec<&Figure> = page.figures.iter().filter(|figure| figure.scenario == "weak").collect();
    if !weak.is_empty() {
        section(
            &mut body,
            "Weak scaling: ten workers for each sample",
            origin_of(&weak),
            &weak_scaling(&weak),
        );
    }
    if !page.runs.is_empty() {
        let origin = origin_of(&page.figures.iter().collect::<Vec<_>>());
        let mut drawn = String::new();
        for (title, trace) in page.runs {
            let _ = write!(drawn, "<h3>{}</h3>{}", escape(title), plot::utilisation(trace));
        }
        drawn += "<p class=\"key\"><span><i class=\"fill c0\"></i>output counts</span><span><i class=\"fill c3\"></i>came \
                  to nothing: lost, repeated or beaten</span></p>";
        section(&mut body, "Use of the cores over time", origin, &drawn);
        section(&mut body, "The tail: how long before the end cores fall idle", origin, &tails(page.runs));
        let (title, trace) = &page.runs[0];
        let timeline =
            format!("<h3>{}</h3>{}{}", escape(title), plot::timeline(trace, 40), plot::kinds_key(trace));
        section(&mut body, "Who did what when", origin, &timeline);
    }
    let troubled: Vec<&Figure> = page
        .figures
        .iter()
        .filter(|figure| !["strong", "weak", "measured"].contains(&figure.scenario.as_str()))
        .collect();
    if !troubled.is_empty() {
        let table = figures_table(&troubled);
        section(&mut body, "When things go wrong", origin_of(&troubled), &table);
    }
    if let Some(checked) = page.checked {
        section(&mut body, "The simulator against reality", "simulated and measured", &checked.to_html());
    }
    section(&mut body, "What tasks cost", "measured", &costs(page.costs));
    let all: Vec<&Figure> = page.figures.iter().collect();
    let table = format!("<details><summary>all runs</summary>{}</details>", figures_table(&all));
    section(&mut body, "Every figure", "", &table);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Scaling</title><style>{}</style></head><body><main>{body}</main></body>\
         </html>\n",
        include_str!("report.css")
    )
}

/// Text inside HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn section(body: &mut String, title: &str, origin: &str, content: &str) {
    let badge =
        if origin.is_empty() { String::new() } else { format!(" <em class=\"origin\">{origin}</em>") };
    let _ = write!(body, "<section><h2>{}{badge}</h2>{content}</section>", escape(title));
}

fn origin_of(figures: &[&Figure]) -> &'static str {
    let simulated = figures.iter().any(|figure| figure.origin == Origin::Simulated);
    let measured = figures.iter().any(|figure| figure.origin == Origin::Measured);
    match (simulated, measured) {
        (true, true) => "simulated and measured",
        (true, false) => "simulated",
        (false, _) => "measured",
    }
}

/// A table; the cells are HTML.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = header.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    let row = |row: &Vec<String>| row.iter().map(|cell| format!("<td>{cell}</td>")).collect::<String>();
    let rows: String = rows.iter().map(|cells| format!("<tr>{}</tr>", row(cells))).collect();
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

fn goals(goals: &[Goal]) -> String {
    let row = |goal: &Goal| {
        let origin = if goal.origin == Origin::Simulated { "simulated" } else { "measured" };
        let verdict =
            if goal.reached { "<b class=\"yes\">reached</b>" } else { "<b class=\"no\">missed</b>" };
        vec![
            escape(&goal.name),
            escape(&goal.goal),
            escape(&goal.stretch),
            format!("<b>{}</b>", escape(&goal.found)),
            verdict.to_owned(),
            origin.to_owned(),
            format!("<span class=\"soft\">{}</span>", escape(&goal.note)),
        ]
    };
    let rows: Vec<Vec<String>> = goals.iter().map(row).collect();
    table(&["what", "goal", "stretch", "found", "", "", ""], &rows)
}

fn series(figures: &[&Figure], value: impl Fn(&Figure) -> f64) -> Vec<Line> {
    let names = std::iter::once("wakachi").chain(Rule::ALL.iter().map(|rule| rule.name()));
    let line = |(name, class): (&str, &&'static str)| {
        let mine = figures.iter().filter(|figure| figure.scheduler == name);
        let points = mine.map(|figure| (f64::from(figure.workers), value(figure)));
        Line { name: name.to_owned(), class, points: points.collect(), marks: true }
    };
    names.zip(&CLASSES).map(line).filter(|line| !line.points.is_empty()).collect()
}

/// An axis of powers with the numbers that occur.
fn counts_axis(figures: &[&Figure], title: &'static str, value: impl Fn(&Figure) -> u32) -> Axis {
    let mut counts: Vec<u32> = figures.iter().map(|figure| value(figure)).collect();
    counts.sort_unstable();
    counts.dedup();
    let (low, high) = (f64::from(counts[0]), f64::from(counts[counts.len() - 1]));
    let range = if low < high { (low, high) } else { (low, low * 2.0) };
    let ticks = counts.iter().map(|&count| (f64::from(count), count.to_string())).collect();
    Axis { title, scale: Scale::Log, range, ticks }
}

fn speed_up(figures: &[&Figure]) -> String {
    let x = counts_axis(figures, "workers of one core", |figure| figure.workers);
    let powers = [1.0, 10.0, 100.0, 1000.0, 10_000.0];
    let ticks =
        powers.into_iter().filter(|&tick| tick <= x.range.1 * 2.0).map(|tick| (tick, number(tick))).collect();
    let y =
        Axis { title: "times as fast as one core", scale: Scale::Log, range: (1.0, x.range.1 * 1.1), ticks };
    let mut lines = series(figures, |figure| figure.work_s / figure.makespan_s);
    let ideal = [x.range.0, x.range.1].map(|count| (count, count)).to_vec();
    lines.push(Line { name: "ideal".to_owned(), class: "bound", points: ideal, marks: false });
    plot::lines(&x, &y, &lines, &[])
}

fn share_axis(title: &'static str) -> Axis {
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, format!("{:.0}%", share * 100.0))).to_vec();
    Axis { title, scale: Scale::Linear, range: (0.0, 1.02), ticks }
}

fn efficiency(figures: &[&Figure]) -> String {
    let x = counts_axis(figures, "workers of one core", |figure| figure.workers);
    let mut lines = series(figures, |figure| figure.efficiency);
    let ours = figures.iter().filter(|figure| figure.scheduler == "wakachi");
    let bound = ours.map(|f| (f64::from(f.workers), f.work_s / f64::from(f.workers) / f.tight_bound_s));
    lines.push(Line { name: "bound".to_owned(), class: "bound", points: bound.collect(), marks: false });
    let wanted = super::scaling::EFFICIENCY_GOALS.iter();
    let goals: Vec<(f64, f64, String)> = wanted
        .filter(|(workers, _, _)| f64::from(*workers) <= x.range.1)
        .map(|&(workers, goal, _)| (f64::from(workers), goal, format!("goal: {:.0}%", goal * 100.0)))
        .collect();
    plot::lines(&x, &share_axis("efficiency"), &lines, &goals)
}

fn weak_scaling(figures: &[&Figure]) -> String {
    let first = |scheduler: &str| {
        let mine = figures.iter().filter(|figure| figure.scheduler == scheduler);
        mine.min_by_key(|figure| figure.samples).map_or(1.0, |figure| figure.efficiency)
    };
    let x = counts_axis(figures, "samples", |figure| figure.samples);
    let mut lines = series(figures, |figure| figure.efficiency / first(&figure.scheduler));
    for line in &mut lines {
        line.points.iter_mut().for_each(|point| point.0 /= 10.0);
    }
    plot::lines(&x, &share_axis("efficiency against one sample"), &lines, &[])
}

/// For each run, workers by how long before the end they had nothing more to do.
fn tails(runs: &[(String, Trace)]) -> String {
    let lines: Vec<Line> = runs
        .iter()
        .zip(CLASSES.iter().cycle())
        .take(CLASSES.len())
        .map(|((title, trace), class)| {
            let tail = trace.tail();
            let count = tail.len().max(2) as f64 - 1.0;
            let points = tail.iter().enumerate().map(|(index, &idle)| (index as f64 / count, idle * 100.0));
            Line { name: title.clone(), class, points: points.collect(), marks: false }
        })
        .collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
    let x = Axis { title: "share of workers, those idle longest first", ..share_axis("") };
    let ticks = (0..=4)
        .map(|quarter| f64::from(quarter) * most / 4.0)
        .map(|tick| (tick, format!("{}%", number(tick))));
    let y = Axis {
        title: "idle before the end, of the makespan",
        scale: Scale::Linear,
        range: (0.0, most * 1.05),
        ticks: ticks.collect(),
    };
    plot::lines(&x, &y, &lines, &[])
}

fn figures_table(figures: &[&Figure]) -> String {
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let row = |f: &&Figure| {
        vec![
            escape(&f.scenario),
            escape(&f.scheduler),
            f.samples.to_string(),
            f.workers.to_string(),
            number(f.makespan_s),
            percent(f.efficiency),
            format!("{:.3}", f.over_bound),
            format!("{:.3}", f.over_tight_bound),
            percent(f.usable_used),
            percent(f.redone),
            f.attempts.to_string(),
            f.scheduler_us.map_or_else(String::new, |us| format!("{us:.1}")),
            if f.origin == Origin::Simulated { "simulated" } else { "measured" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = figures.iter().map(row).collect();
    let header = [
        "scenario",
        "scheduler",
        "samples",
        "workers",
        "makespan, s",
        "efficiency",
        "over bound",
        "over tight bound",
        "of usable core time",
        "redone",
        "attempts",
        "scheduler, µs each",
        "",
    ];
    table(&header, &rows)
}

fn costs(costs: &Costs) -> String {
    let row = |kind: Kind| {
        let cost = costs.of(kind);
        vec![
            kind.name().to_owned(),
            number(cost.fixed_us / 1000.0),
            number(cost.read_ns),
            number(cost.cell_us / 1000.0),
            format!("{:.1}%", cost.spread * 100.0),
            number(cost.read_bytes_in),
            number(cost.cell_bytes_in),
            number(cost.read_bytes_out),
            number(cost.cell_bytes_out),
            cost.tasks.to_string(),
            number(cost.cpu_ms as f64 / 1000.0),
        ]
    };
    let rows: Vec<Vec<String>> = costs.kinds.keys().map(|&kind| row(kind)).collect();
    let header = [
        "kind",
        "fixed, ms",
        "a read or pair, ns",
        "a cell, ms",
        "spread",
        "bytes in a read",
        "a cell",
        "bytes out a read",
        "a cell",
        "tasks",
        "CPU s measured",
    ];
    format!(
        "<p>{}<br><span class=\"soft\">{}</span></p>{}",
        escape(&costs.machine),
        escape(&costs.source),
        table(&header, &rows)
    )
}
