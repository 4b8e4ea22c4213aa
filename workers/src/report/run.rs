//! How the results came about: time line, stages, files, parameters, what was left out.

use std::collections::BTreeMap;

use super::html::{Figure, Table, bytes, duration, escape, integer, legend, tick};
use super::svg::{Canvas, Rect, Scale};
use super::{TaskSpan, View, bill, summary};

/// Lanes drawn; more are counted below the drawing.
const LANES_MAX: usize = 256;

/// Colours of stages, in order of appearance; repeated beyond six.
pub(super) const STAGE_CLASSES: [&str; 6] = ["c-sky", "c-blue", "c-green", "c-amber", "c-purple", "c-grey"];

pub(super) fn section(view: &View<'_>) -> String {
    let mut html = String::from(
        "<p>What was done, with which parameters, and the files that came of it.</p><div class=\"grid\">",
    );
    if !view.data.tasks.is_empty() {
        html += &timeline(view).html();
    }
    if !view.data.stages.is_empty() {
        html += &stages(view).html();
    }
    if !view.data.bill.is_empty() {
        html += &bill::figure(view.data).html();
    }
    html += &parameters(view).html();
    html += &files(view).html();
    html += &exclusions(view).html();
    html + "</div>"
}

/// What the page is, at its end.
pub(super) fn footer(view: &View<'_>) -> String {
    format!(
        "<footer><p>Written by {}. This page refers to nothing outside itself. It names samples and relations: treat \
         it as you treat the data.</p></footer>",
        escape(&view.data.program)
    )
}

fn timeline(view: &View<'_>) -> Figure<'static> {
    const WIDTH: f64 = 1100.0;
    const NAMES: f64 = 70.0;
    let tasks = &view.data.tasks;
    let end = tasks.iter().map(|task| task.end_ms).max().unwrap_or(0).max(1);
    let mut lanes: BTreeMap<u32, Vec<&TaskSpan>> = BTreeMap::new();
    tasks.iter().for_each(|task| lanes.entry(task.lane).or_default().push(task));
    let colours = stage_colours(view);
    let shown = lanes.len().min(LANES_MAX);
    let row = (420.0 / shown as f64).clamp(2.0, 26.0);
    let bottom = row * shown as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 36.0);
    let x = Scale::new((0.0, end as f64 / 1000.0), (NAMES, WIDTH - 14.0));
    for seconds in x.ticks(8) {
        canvas.rule((x.at(seconds), 0.0), (x.at(seconds), bottom), "grid");
        canvas.text(x.at(seconds), bottom + 15.0, "middle", "tick", &clock(seconds));
    }
    for (index, (lane, spans)) in lanes.iter_mut().take(LANES_MAX).enumerate() {
        let top = index as f64 * row;
        if row >= 12.0 {
            canvas.text(0.0, top + row / 2.0 + 4.0, "start", "tick", &format!("thread {lane}"));
        }
        spans.sort_by_key(|span| (span.start_ms, span.end_ms));
        for run in merged(spans, end) {
            let (from, to) = (x.at(run.start_ms as f64 / 1000.0), x.at(run.end_ms as f64 / 1000.0));
            let class = colours.get(run.stage).copied().unwrap_or("c-grey");
            let gap = if row > 6.0 { 3.0 } else { 0.4 };
            let width = (to - from - 0.4).max(0.5);
            canvas.rect(Rect { x: from, y: top + gap / 2.0, width, height: row - gap }, class, &run.title());
        }
    }
    canvas.text(WIDTH - 14.0, bottom + 31.0, "end", "title", "since the run began");
    let keys: Vec<(&str, &str)> =
        stage_names(view).into_iter().map(|stage| (colours[stage], stage)).collect();
    let mut below = legend(&keys);
    if lanes.len() > LANES_MAX {
        below += &format!("<p>{} more lanes are not drawn.</p>", lanes.len() - LANES_MAX);
    }
    Figure {
        title: "Time line",
        note: "What each thread did when. Gaps are waiting.",
        drawing: canvas.finish("Tasks by thread over time"),
        below,
        wide: true,
    }
}

/// Consecutive tasks of one stage, too narrow to be told apart, drawn as one.
struct Run<'a> {
    stage: &'a str,
    first: &'a TaskSpan,
    start_ms: u64,
    end_ms: u64,
    cpu_ms: u64,
    tasks: usize,
}

impl Run<'_> {
    fn title(&self) -> String {
        let took = duration(self.end_ms - self.start_ms);
        let cpu = duration(self.cpu_ms);
        match self.tasks {
            1 => {
                let sample =
                    self.first.sample.as_deref().map_or_else(String::new, |sample| format!(" of {sample}"));
                format!("{}{sample}: {took}, {cpu} of CPU", self.first.task)
            }
            count => format!("{count} tasks of {}: {took}, {cpu} of CPU", self.stage),
        }
    }
}

fn merged<'a>(spans: &[&'a TaskSpan], end_ms: u64) -> Vec<Run<'a>> {
    let narrow_ms = end_ms / 1500;
    let mut runs: Vec<Run<'a>> = Vec::new();
    for &span in spans {
        let end_ms = span.end_ms.max(span.start_ms);
        if let Some(run) = runs.last_mut()
            && run.stage == span.stage
            && span.start_ms.saturating_sub(run.end_ms) <= narrow_ms
            && end_ms - span.start_ms <= narrow_ms
            && run.end_ms - run.start_ms <= 20 * narrow_ms
        {
            run.end_ms = run.end_ms.max(end_ms);
            run.cpu_ms += span.cpu_ms;
            run.tasks += 1;
        } else {
            let (start_ms, cpu_ms) = (span.start_ms, span.cpu_ms);
            runs.push(Run { stage: &span.stage, first: span, start_ms, end_ms, cpu_ms, tasks: 1 });
        }
    }
    runs
}

fn clock(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 60.0 => format!("{} s", tick(s)),
        s => duration((s * 1000.0).round() as u64),
    }
}

/// Stages in their order: of the totals, then of appearance.
fn stage_names<'a>(view: &View<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = view.data.stages.iter().map(|stage| stage.stage.as_str()).collect();
    for task in &view.data.tasks {
        if !names.contains(&task.stage.as_str()) {
            names.push(&task.stage);
        }
    }
    names
}

fn stage_colours<'a>(view: &View<'a>) -> BTreeMap<&'a str, &'static str> {
    stage_names(view).into_iter().zip(STAGE_CLASSES.into_iter().cycle()).collect()
}

fn stages(view: &View<'_>) -> Figure<'static> {
    let all: u64 = view.data.stages.iter().map(|stage| stage.cpu_ms).sum();
    let mut table = Table::new("Stages", 1, &["Stage", "Tasks", "Elapsed", "CPU", "CPU %"]);
    for stage in &view.data.stages {
        table.row(&[
            escape(&stage.stage),
            integer(stage.tasks),
            duration(stage.wall_ms),
            duration(stage.cpu_ms),
            format!("{:.1}", stage.cpu_ms as f64 * 100.0 / all.max(1) as f64),
        ]);
    }
    Figure {
        title: "Stages",
        note: "Elapsed is from a stage's first begin to its last end; stages overlap. What ended after this page was \
               written is not in it.",
        drawing: String::new(),
        below: table.finish(),
        wide: false,
    }
}

fn parameters(view: &View<'_>) -> Figure<'static> {
    let data = view.data;
    let mut table = Table::new("Parameters", 2, &["Parameter", "Value"]);
    table.row(&["reference".to_owned(), escape(&data.reference.name)]);
    table.row(&["reference digest".to_owned(), format!("<code>{}</code>", escape(&data.reference.digest))]);
    for (name, value) in &data.parameters {
        table.row(&[escape(name), escape(value)]);
    }
    Figure {
        title: "Parameters",
        note: "Those that affect the results.",
        drawing: format!("<pre>{}</pre>", escape(&data.command)),
        below: table.finish() + &summary::borders(&data.thresholds),
        wide: false,
    }
}

fn files(view: &View<'_>) -> Figure<'static> {
    let mut table = Table::new("Files", 1, &["File", "Size", "Digest"]);
    for file in &view.data.files {
        table.row(&[escape(&file.path), bytes(file.bytes), format!("<code>{}</code>", escape(&file.digest))]);
    }
    Figure {
        title: "Files",
        note: "Results in the job directory.",
        drawing: String::new(),
        below: table.finish(),
        wide: true,
    }
}

/// What was left out, why, and what would help.
fn exclusions(view: &View<'_>) -> Figure<'static> {
    let mut table = Table::new("Left out", 3, &["What", "Why", "What would help"]);
    for exclusion in &view.data.exclusions {
        let helps = if exclusion.helps.is_empty() { "–" } else { &exclusion.helps };
        table.row(&[&exclusion.what, &exclusion.reason, helps].map(escape));
    }
    let below = if view.data.exclusions.is_empty() {
        "<p>Nothing was left out.</p>".to_owned()
    } else {
        table.finish()
    };
    Figure { title: "Left out", note: "On purpose, and why.", drawing: String::new(), below, wide: true }
}
