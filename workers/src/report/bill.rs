//! What the core time went to, as one bar that is as long as the allocation.

use super::ReportData;
use super::html::{Figure, Table, duration, escape};
use super::run::STAGE_CLASSES;
use super::svg::{Canvas, Rect};

/// The bar and its numbers.
pub(super) fn figure(data: &ReportData) -> Figure<'static> {
    const WIDTH: f64 = 1100.0;
    const HEIGHT: f64 = 30.0;
    let all: u64 = data.bill.iter().map(|line| line.core_ms).sum();
    let share = |core_ms: u64| core_ms as f64 / all.max(1) as f64;
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let mut table = Table::new("Core time", 1, &["What for", "Core time", "Share %"]);
    let mut colours = STAGE_CLASSES.into_iter().cycle();
    let mut x = 0.0;
    for line in &data.bill {
        let class = if line.work { colours.next().unwrap_or("c-grey") } else { "c-grey" };
        let width = WIDTH * share(line.core_ms);
        let percent = format!("{:.1}", 100.0 * share(line.core_ms));
        let title = format!("{}: {}, {percent}%", line.what, duration(line.core_ms));
        let opacity = if line.work { 1.0 } else { 0.55 };
        // A hair of space tells neighbours apart; what is thinner than that is only in the table.
        let place = Rect { x, y: 0.0, width: (width - 0.8).max(0.0), height: HEIGHT };
        canvas.shade(place, class, opacity, &title);
        x += width;
        let key = format!("<i class=\"key {class}\"></i>{}", escape(&line.what));
        table.row(&[key, duration(line.core_ms), percent]);
    }
    let price = if data.price > 0.0 { format!("<p>Price: {:.2}</p>", data.price) } else { String::new() };
    table.row(&["all of it".to_owned(), duration(all), "100.0".to_owned()]);
    Figure {
        title: "Core time",
        note: "Cores times wall of all workers, of all starts of the job: the work, and in grey what was paid for and \
               did nothing that counts.",
        drawing: canvas.finish("Core time by what it was spent on"),
        below: table.finish() + &price,
        wide: true,
    }
}
