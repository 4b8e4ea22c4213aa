//! Plots as SVG: lines over axes, stacked areas, a timeline of workers. Colours are variables of the page, so that one
//! picture serves light and dark.

use super::report::escape;
use cluster::sim::{Fate, Kind, Trace};
use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// How an axis maps numbers to its length.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers.
    Log,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub title: &'static str,
    /// How.
    pub scale: Scale,
    /// From where to where.
    pub range: (f64, f64),
    /// Numbers that are written, and how.
    pub ticks: Vec<(f64, String)>,
}

/// A line with its name at its end.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name.
    pub name: String,
    /// CSS class of stroke and fill: `c0`, `c1`...
    pub class: &'static str,
    /// Points in order.
    pub points: Vec<(f64, f64)>,
    /// Whether points are marked.
    pub marks: bool,
}

impl Axis {
    fn share(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Log => (value / low).ln() / (high / low).ln(),
        }
    }
}

/// Lines over two axes. `goals` are points to be reached.
pub fn lines(x: &Axis, y: &Axis, lines: &[Line], goals: &[(f64, f64, String)]) -> String {
    let at_x = |value: f64| LEFT + x.share(value).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - y.share(value).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM);
    let mut svg = open(HEIGHT);
    frame(&mut svg, x, y, &at_x, &at_y);
    for (goal_x, goal_y, name) in goals {
        let (px, py) = (at_x(*goal_x), at_y(*goal_y));
        let name = escape(name);
        let _ = write!(
            svg,
            "<path class=\"goal\" d=\"M{:.1} {py:.1}h22\"><title>{name}</title></path>",
            px - 11.0
        );
    }
    let mut labels: Vec<(f64, &Line)> = Vec::new();
    for line in lines {
        let points: Vec<String> =
            line.points.iter().map(|&(a, b)| format!("{:.1},{:.1}", at_x(a), at_y(b))).collect();
        let _ = write!(svg, "<polyline class=\"line {}\" points=\"{}\"/>", line.class, points.join(" "));
        for &(a, b) in line.points.iter().filter(|_| line.marks) {
            let title = escape(&format!("{}: {} at {}", line.name, number(b), number(a)));
            let _ = write!(
                svg,
                "<circle class=\"mark {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{title}</title></circle>",
                line.class,
                at_x(a),
                at_y(b)
            );
        }
        labels.extend(line.points.last().map(|&(_, b)| (at_y(b), line)));
    }
    // Names stand at the ends of their lines, pushed apart where lines meet.
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let height = |line: &Line| wrapped(&line.name, 20).len() as f64 * 12.0 + 2.0;
    let mut next = TOP + 4.0;
    let spare = |from: usize| labels[from..].iter().map(|(_, line)| height(line)).sum::<f64>();
    for (index, (wanted, line)) in labels.iter().enumerate() {
        let place = wanted.max(next).min(HEIGHT - BOTTOM + 26.0 - spare(index)).max(next);
        next = place + height(line);
        for (row, words) in wrapped(&line.name, 20).iter().enumerate() {
            let _ = write!(
                svg,
                "<text class=\"name {}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                line.class,
                WIDTH - RIGHT + 10.0,
                place + 4.0 + row as f64 * 12.0,
                escape(words)
            );
        }
    }
    svg + "</svg>"
}

/// Use of cores over time: useful below, wasted above it.
pub fn utilisation(trace: &Trace) -> String {
    const STEPS: usize = 200;
    let (width, height) = (WIDTH, 150.0);
    let parts = trace.utilisation(STEPS);
    let x = |index: usize| LEFT + index as f64 / STEPS as f64 * (width - LEFT - 14.0);
    let y = |share: f64| height - 34.0 - share.clamp(0.0, 1.0) * (height - 48.0);
    let mut svg = open(height);
    for share in [0.0, 0.5, 1.0] {
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{1:.1}\"/><text class=\"tick\" x=\"{2:.1}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{4:.0}%</text>",
            y(share),
            width - 14.0,
            LEFT - 6.0,
            y(share) + 4.0,
            share * 100.0
        );
    }
    let mut area = |class: &str, from: &dyn Fn(usize) -> f64, to: &dyn Fn(usize) -> f64| {
        let mut path = String::new();
        for index in 0..STEPS {
            let begin = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{begin}{:.1} {:.1}H{:.1}", x(index), y(to(index)), x(index + 1));
        }
        for index in (0..STEPS).rev() {
            let _ = write!(path, "L{:.1} {:.1}H{:.1}", x(index + 1), y(from(index)), x(index));
        }
        let _ = write!(svg, "<path class=\"{class}\" d=\"{path}Z\"/>");
    };
    area("fill c0", &|_| 0.0, &|index| parts[index].0);
    area("fill c3", &|index| parts[index].0, &|index| parts[index].0 + parts[index].1);
    time_axis(&mut svg, trace.makespan_us, height, width);
    svg + "</svg>"
}

/// What each of some workers did when, coloured by kind of task; what came of nothing is hatched.
pub fn timeline(trace: &Trace, rows_max: usize) -> String {
    let step = trace.workers.len().div_ceil(rows_max).max(1);
    let rows = trace.workers.len().div_ceil(step);
    let row = (360.0 / rows as f64).clamp(3.0, 16.0);
    let (width, height) = (WIDTH, row * rows as f64 + 44.0);
    let scale = (width - LEFT - 14.0) / trace.makespan_us.max(1) as f64;
    let mut svg = open(height);
    // Neighbours of one kind and fate are drawn as one; thousands of cells are a line otherwise.
    let mut bars: std::collections::BTreeMap<(u32, u32), Vec<&cluster::sim::Span>> = Default::default();
    for span in
        trace.spans.iter().filter(|span| (span.worker as usize).is_multiple_of(step) && span.slot == 0)
    {
        bars.entry((span.worker, span.slot)).or_default().push(span);
    }
    for ((worker, _), mut spans) in bars {
        spans.sort_by_key(|span| span.began_us);
        let y = f64::from(worker) / step as f64 * row + 6.0;
        let mut index = 0;
        while index < spans.len() {
            let (first, mut last) = (spans[index], spans[index]);
            let same = |other: &cluster::sim::Span| {
                other.kind() == first.kind()
                    && (other.fate == Fate::Committed) == (first.fate == Fate::Committed)
            };
            while let Some(next) = spans.get(index + 1).filter(|next| {
                same(next) && (next.began_us.saturating_sub(last.ended_us)) as f64 * scale < 0.4
            }) {
                last = next;
                index += 1;
            }
            index += 1;
            let lost = if first.fate == Fate::Committed { "" } else { " lost" };
            let _ = write!(
                svg,
                "<rect class=\"k{}{lost}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                first.kind() as usize,
                LEFT + first.began_us as f64 * scale,
                ((last.ended_us - first.began_us) as f64 * scale).max(0.3),
                (row - 0.8).max(1.0)
            );
        }
    }
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"6\" y=\"16\">worker</text><text class=\"tick\" x=\"6\" y=\"28\">1 of {step}</text>"
    );
    time_axis(&mut svg, trace.makespan_us, height, width);
    svg + "</svg>"
}

/// The kinds of a timeline, by colour.
pub fn kinds_key(trace: &Trace) -> String {
    let there = |kind: &Kind| trace.spans.iter().any(|span| span.kind() == *kind);
    let entry = |kind: Kind| format!("<span><i class=\"k{}\"></i>{}</span>", kind as usize, kind.name());
    let entries: String = Kind::ALL.into_iter().filter(there).map(entry).collect();
    format!("<p class=\"key\">{entries}<span><i class=\"k2 lost\"></i>came to nothing</span></p>")
}

fn open(height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">")
}

fn frame(svg: &mut String, x: &Axis, y: &Axis, at_x: &dyn Fn(f64) -> f64, at_y: &dyn Fn(f64) -> f64) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (value, text) in &y.ticks {
        let py = at_y(*value);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {py:.1}H{right}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{text}</text>",
            LEFT - 6.0,
            py + 4.0
        );
    }
    for (value, text) in &x.ticks {
        let px = at_x(*value);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{px:.1} {bottom}v4\"/><text class=\"tick\" x=\"{px:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{text}</text>",
            bottom + 17.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"axis\" \
         transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 8.0,
        x.title,
        (TOP + bottom) / 2.0,
        y.title
    );
}

fn time_axis(svg: &mut String, makespan_us: u64, height: f64, width: f64) {
    let seconds = makespan_us as f64 / 1e6;
    let (unit, name) = match seconds {
        s if s >= 7200.0 => (3600.0, "hours"),
        s if s >= 300.0 => (60.0, "minutes"),
        _ => (1.0, "seconds"),
    };
    let whole = seconds / unit;
    let rough = whole / 6.0;
    let power = 10f64.powf(rough.max(1e-9).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(power);
    let mut tick = 0.0;
    while tick <= whole {
        let x = LEFT + tick / whole.max(1e-9) * (width - LEFT - 14.0);
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            height - 18.0,
            number(tick)
        );
        tick += step;
    }
    let _ = write!(
        svg,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
        width - 14.0,
        height - 4.0
    );
}

/// A number with as many digits as it deserves.
pub fn number(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Words in lines of about so many letters.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match rows.last_mut() {
            Some(row) if row.len() + word.len() < letters => *row = format!("{row} {word}"),
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}
