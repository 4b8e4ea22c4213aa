//! What lies in a vault, what of it was lost, and what came back all the same.
//!
//! Invariant: a loss is told by shape and word, never by colour alone. Draws what it is told; whether anything can be
//! restored follows from the counts alone.

use std::collections::BTreeMap;

use super::html::{Figure, Table, bytes, escape};
use super::samples::shortened;
use super::summary::plural;
use super::svg::{Canvas, Rect};
use super::{RestoreOutcome, VaultObject, VaultPlace, VaultRestore, VaultSection, View};

/// Objects drawn; the table has all.
const OBJECTS_MAX: usize = 60;

const WIDTH: f64 = 1100.0;
/// Room for the names of sites and custodians.
const NAMES: f64 = 150.0;
/// Room for the names of samples.
const HEAD: f64 = 22.0;
const ROW: f64 = 24.0;
/// Between the files of one sample and the next, and between sites and custodians.
const GAP: f64 = 8.0;
const CELL_MAX: f64 = 24.0;
/// Width of the word under a column.
const WORD: f64 = 64.0;

pub(super) fn section(view: &View<'_>, vault: &VaultSection) -> String {
    let mut html = format!("<p>{}</p>", escape(&(words(vault) + &absent(view))));
    if !vault.note.is_empty() {
        html += &format!("<p class=\"caution\">{}</p>", escape(&vault.note));
    }
    html += "<div class=\"grid\">";
    html += &drawing(vault).html();
    html += &restores(vault).html();
    html += &objects(vault).html();
    html + "</div>"
}

/// The picture in words.
fn words(vault: &VaultSection) -> String {
    let VaultSection { data, parity, quorum, sites, custodians, objects, .. } = vault;
    let (count, places, holders) = (plural(objects.len(), "object"), sites.len(), custodians.len());
    let whole = format!(
        "{count}, each a sealed file: encrypted, cut into {data} data and {parity} parity fragments over {places} sites, its \
         key split into shares for {holders} custodians. Any {data} fragments with the shares of any {quorum} custodians \
         restore it; fewer custodians learn nothing."
    );
    let lost = vault.lost();
    if lost.is_empty() {
        return whole;
    }
    let left = objects.iter().filter(|object| vault.is_restorable(object)).count();
    format!("{whole} Lost: {}. What is left restores {left} of {count}.", lost.join(", "))
}

/// Whose data is not in it, where somebody might look for it.
fn absent(view: &View<'_>) -> String {
    let denied = view.data.exclusions.iter().filter(|exclusion| !exclusion.helps.is_empty());
    let denied: Vec<_> = denied.map(|one| format!("{} ({})", one.what, one.reason)).collect();
    if denied.is_empty() {
        String::new()
    } else {
        format!(" Left out, so nothing of it is here: {}.", denied.join(", "))
    }
}

impl VaultSection {
    /// Sites and ledgers of which all is lost, in words.
    pub fn lost(&self) -> Vec<String> {
        let sites = self.sites.iter().filter(|site| site.lost).map(|site| site.name.clone());
        let ledgers = self.custodians.iter().filter(|custodian| custodian.lost);
        sites.chain(ledgers.map(|custodian| format!("the ledger of {}", custodian.name))).collect()
    }

    /// Whether what is left of an object restores it.
    fn is_restorable(&self, object: &VaultObject) -> bool {
        object.whole_fragments() >= self.data.into() && object.whole_shares() >= self.quorum.into()
    }

    /// What was tried on an object; a success goes before a refusal.
    fn outcome(&self, object: &VaultObject) -> Option<&RestoreOutcome> {
        let tried = self.restores.iter().filter(|one| one.object == object.name).map(|one| &one.outcome);
        tried.min_by_key(|outcome| **outcome != RestoreOutcome::Identical)
    }

    /// Objects in the order drawn: those of each sample together, the cohort's last.
    fn ordered(&self) -> Vec<&VaultObject> {
        let mut objects: Vec<&VaultObject> = self.objects.iter().collect();
        objects.sort_by_key(|object| (object.sample.is_none(), object.sample.as_ref()));
        objects
    }
}

impl VaultObject {
    fn whole_fragments(&self) -> usize {
        self.fragments.iter().filter(|fragment| fragment.whole).count()
    }

    fn whole_shares(&self) -> usize {
        self.shares.iter().filter(|whole| **whole).count()
    }
}

/// The drawing: an object a column, a site or a custodian a row.
struct Grid<'a> {
    vault: &'a VaultSection,
    /// Objects and the left edges of their columns.
    columns: Vec<(&'a VaultObject, f64)>,
    cell: f64,
    canvas: Canvas,
}

fn drawing(vault: &VaultSection) -> Figure<'static> {
    let mut objects = vault.ordered();
    let more = objects.len().saturating_sub(OBJECTS_MAX);
    objects.truncate(OBJECTS_MAX);
    let mut grid = Grid::new(vault, &objects);
    grid.heads();
    grid.sites();
    grid.custodians();
    grid.outcomes();
    let mut below = LEGEND.to_owned();
    if more > 0 {
        below += &format!("<p>{} more are in the table.</p>", plural(more, "object"));
    }
    Figure {
        title: "Where everything lies",
        note: "A column is one sealed file, below the sample it belongs to; the table of objects names it. A row is a site, or \
               a custodian. What is crossed out is lost.",
        drawing: grid.canvas.finish("Fragments of every object by site, and shares of its key by custodian"),
        below,
        wide: true,
    }
}

const LEGEND: &str = "<ul class=\"legend\"><li><i class=\"key c-blue\"></i>data fragment</li>\
    <li><i class=\"key c-sky\"></i>parity fragment</li><li><i class=\"key round c-purple\"></i>share of the key</li>\
    <li><i class=\"key lost\">×</i>lost</li></ul>";

impl<'a> Grid<'a> {
    fn new(vault: &'a VaultSection, objects: &[&'a VaultObject]) -> Self {
        let begins = |at: usize| at > 0 && objects[at].sample != objects[at - 1].sample;
        let gaps = (0..objects.len()).filter(|&at| begins(at)).count() as f64 * GAP;
        let cell = ((WIDTH - NAMES - gaps) / objects.len().max(1) as f64).min(CELL_MAX);
        let mut left = NAMES;
        let columns = objects.iter().enumerate().map(|(at, object)| {
            left += if begins(at) { GAP } else { 0.0 };
            let column = (*object, left);
            left += cell;
            column
        });
        let columns = columns.collect();
        let rows = (vault.sites.len() + vault.custodians.len()) as f64;
        let canvas = Canvas::new(WIDTH, HEAD + rows * ROW + GAP + 58.0);
        Grid { vault, columns, cell, canvas }
    }

    /// Samples above their columns.
    fn heads(&mut self) {
        let mut groups: BTreeMap<Option<&str>, (f64, f64)> = BTreeMap::new();
        for (object, left) in &self.columns {
            let group = groups.entry(object.sample.as_deref()).or_insert((*left, *left));
            group.1 = left + self.cell;
        }
        for (sample, (from, to)) in groups {
            let characters = ((to - from) / 6.4) as usize;
            let name = shortened(sample.unwrap_or("cohort"), characters.max(2));
            self.canvas.text((from + to) / 2.0, 12.0, "middle", "tick", &name);
        }
    }

    fn sites(&mut self) {
        for (row, site) in self.vault.sites.iter().enumerate() {
            let top = HEAD + row as f64 * ROW;
            self.name(site, top);
            for (object, left) in self.columns.clone() {
                for fragment in object.fragments.iter().filter(|fragment| fragment.site == site.name) {
                    let data = fragment.index < self.vault.data;
                    let (class, kind) = if data { ("c-blue", "data") } else { ("c-sky", "parity") };
                    let state = if fragment.whole { "whole" } else { "lost" };
                    let (index, place) = (fragment.index, &site.name);
                    let title = format!("{}: {kind} fragment {index:02} at {place}, {state}", object.name);
                    self.piece(left, top, fragment.whole, class, &title);
                }
            }
        }
    }

    fn custodians(&mut self) {
        let first = HEAD + self.vault.sites.len() as f64 * ROW + GAP;
        self.canvas.rule((0.0, first - GAP / 2.0), (self.right(), first - GAP / 2.0), "grid");
        for (row, custodian) in self.vault.custodians.iter().enumerate() {
            let top = first + row as f64 * ROW;
            self.name(custodian, top);
            for (object, left) in self.columns.clone() {
                let whole = object.shares.get(row).copied().unwrap_or(false);
                let state = if whole { "whole" } else { "lost" };
                let title = format!("{}: share of {}, {state}", object.name, custodian.name);
                match whole {
                    true => {
                        let (x, y) = (left + self.cell / 2.0, top + ROW / 2.0);
                        self.canvas.dot(x, y, self.cell.min(ROW) * 0.3, "c-purple", &title);
                    }
                    false => self.piece(left, top, false, "", &title),
                }
            }
        }
    }

    /// Below each column whether enough is left, and what came of trying.
    fn outcomes(&mut self) {
        let top = HEAD + (self.vault.sites.len() + self.vault.custodians.len()) as f64 * ROW + GAP;
        self.canvas.rule((0.0, top), (self.right(), top), "grid");
        self.canvas.text(0.0, top + 17.0, "start", "name", "enough is left");
        self.canvas.text(0.0, top + 46.0, "start", "name", "restoring");
        let mut free = NAMES / 2.0;
        for (object, left) in self.columns.clone() {
            let middle = left + self.cell / 2.0;
            match self.vault.is_restorable(object) {
                true => self.tick(middle, top + 13.0, &format!("{}: enough is left", object.name)),
                false => self.cross(middle, top + 13.0),
            }
            let Some(outcome) = self.vault.outcome(object) else { continue };
            let (word, class) = match outcome {
                RestoreOutcome::Identical => ("identical", "ok"),
                RestoreOutcome::Refused { .. } => ("refused", "lost"),
            };
            self.canvas.rule((middle, top + 21.0), (middle, top + 32.0), class);
            let head = [(middle - 3.5, top + 28.0), (middle, top + 33.0), (middle + 3.5, top + 28.0)];
            self.canvas.path(head, class, &format!("{}: {word}", object.name));
            let from = (middle - WORD / 2.0).min(WIDTH - WORD);
            if from >= free {
                self.canvas.text(from + WORD / 2.0, top + 47.0, "middle", class, word);
                free = from + WORD;
            }
        }
    }

    fn right(&self) -> f64 {
        self.columns.last().map_or(NAMES, |(_, left)| left + self.cell)
    }

    /// The name of a row.
    fn name(&mut self, place: &VaultPlace, top: f64) {
        let baseline = top + ROW / 2.0 + 4.0;
        self.canvas.text(0.0, baseline, "start", "name", &shortened(&place.name, 15));
        if place.lost {
            self.canvas.text(NAMES - 2.0 * GAP, baseline, "end", "lost", "lost");
        }
    }

    /// A fragment, or the crossed out place of one.
    fn piece(&mut self, left: f64, top: f64, whole: bool, class: &str, title: &str) {
        let side = (self.cell - 4.0).clamp(2.0, ROW - 6.0);
        let (x, y) = (left + (self.cell - side) / 2.0, top + (ROW - side) / 2.0);
        let place = Rect { x, y, width: side, height: side };
        if whole {
            return self.canvas.rect(place, class, title);
        }
        self.cross(x + side / 2.0, y + side / 2.0);
        self.canvas.rect(place, "lost", title);
    }

    fn cross(&mut self, x: f64, y: f64) {
        let arm = (self.cell / 6.0).min(3.5);
        self.canvas.rule((x - arm, y - arm), (x + arm, y + arm), "lost");
        self.canvas.rule((x - arm, y + arm), (x + arm, y - arm), "lost");
    }

    fn tick(&mut self, x: f64, y: f64, title: &str) {
        let size = (self.cell / 5.0).min(4.5);
        let points = [(x - size, y), (x - size * 0.25, y + size * 0.8), (x + size, y - size * 0.9)];
        self.canvas.path(points, "ok", title);
    }
}

/// Text that is not broken, on a page however narrow.
fn one_line(text: &str) -> String {
    format!("<span class=\"one-line\">{}</span>", escape(text))
}

fn restores(vault: &VaultSection) -> Figure<'static> {
    let mut table = Table::new("Restores", 3, &["Object", "With the keys of", "What came of it"]);
    for VaultRestore { object, custodians, outcome } in &vault.restores {
        let outcome = match outcome {
            RestoreOutcome::Identical => {
                "<span class=\"state pass\">identical, byte for byte</span>".to_owned()
            }
            RestoreOutcome::Refused { exit_code, reason } => format!(
                "<span class=\"state problem\">refused, exit code {exit_code}</span><br>{}",
                escape(reason)
            ),
        };
        let custodians: Vec<String> = custodians.iter().map(|name| one_line(name)).collect();
        table.row(&[one_line(object), custodians.join(", "), outcome]);
    }
    Figure {
        title: "Attempts to restore",
        note: "After the loss. What came back is compared with the job's own result; fewer custodians than the quorum must \
               be refused.",
        drawing: String::new(),
        below: table.finish(),
        wide: true,
    }
}

fn objects(vault: &VaultSection) -> Figure<'static> {
    let heads = ["Object", "Id", "Class", "Sample", "Size", "Fragments", "Shares", "State"];
    let mut table = Table::new("Objects", 4, &heads);
    for object in vault.ordered() {
        let of = |whole: usize, all: usize| format!("{whole} of {all}");
        let state = match vault.is_restorable(object) {
            true => "<span class=\"state pass\">restorable</span>",
            false => "<span class=\"state problem\">lost</span>",
        };
        table.row(&[
            one_line(&object.name),
            one_line(&shortened(&object.id, 9)),
            escape(&object.class),
            one_line(object.sample.as_deref().unwrap_or("several")),
            bytes(object.bytes),
            of(object.whole_fragments(), object.fragments.len()),
            of(object.whole_shares(), object.shares.len()),
            state.to_owned(),
        ]);
    }
    Figure {
        title: "Objects",
        note: "As they were sealed, and what is left of them.",
        drawing: String::new(),
        below: table.finish(),
        wide: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReportData, VaultFragment, render};
    use super::*;

    /// Two objects over three sites and two custodians, of which so many sites are lost.
    fn vault(lost_sites: usize) -> VaultSection {
        let place = |name: &str, at, lost| VaultPlace { name: format!("{name}-{at}"), lost: at < lost };
        let fragment = |index: u8| VaultFragment {
            index,
            site: format!("site-{index}"),
            whole: usize::from(index) >= lost_sites,
        };
        let object = |name: &str, sample: Option<&str>| VaultObject {
            id: "3f9a0c1b5d7e8f90".to_owned(),
            name: name.to_owned(),
            class: "CRAM".to_owned(),
            sample: sample.map(str::to_owned),
            bytes: 1_000,
            fragments: (0..3).map(fragment).collect(),
            shares: vec![true, false],
        };
        VaultSection {
            data: 2,
            parity: 1,
            quorum: 1,
            sites: (0..3).map(|at| place("site", at, lost_sites)).collect(),
            custodians: vec![place("custodian", 1, 0), place("custodian", 0, 1)],
            objects: vec![object("all.vcf.gz", None), object("<S>.cram", Some("<S>"))],
            restores: vec![VaultRestore {
                object: "<S>.cram".to_owned(),
                custodians: vec!["custodian-1".to_owned()],
                outcome: RestoreOutcome::Refused { exit_code: 7, reason: "too few".to_owned() },
            }],
            note: "one machine".to_owned(),
        }
    }

    fn page(vault: VaultSection) -> String {
        render(&ReportData { vault: Some(vault), ..ReportData::default() })
    }

    #[test]
    fn losses_are_counted_and_named() {
        let check = |lost, expect: &[&str]| {
            let page = page(vault(lost));
            expect.iter().for_each(|text| assert!(page.contains(text), "{text} with {lost} lost: {page}"));
        };
        check(0, &["Lost: the ledger of custodian-0. What is left restores 2 of 2 objects", "one machine"]);
        check(1, &["Lost: site-0, the ledger of", "2 of 2 objects", "data fragment 00 at site-0, lost"]);
        check(2, &["Lost: site-0, site-1", "restores 0 of 2 objects", "refused, exit code 7", "too few"]);
    }

    #[test]
    fn a_page_without_a_vault_says_nothing_of_one_and_names_stay_text() {
        assert!(!render(&ReportData::default()).contains("vault"));
        let page = page(vault(1));
        assert!(page.contains("&lt;S&gt;.cram") && !page.contains("<S>"));
    }
}
