//! A TOML file read key by key, every mistake reported with its place.
//!
//! Invariant: the keys a reader asks for are the keys that exist; whatever else stands in a section is an error when
//! the section is finished. So no list of keys is kept twice. Knows no meaning of any key.

use crate::cohort::name_problem;
use crate::diagnostic::{Diagnostic, Place, Source, did_you_mean};
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed file and what was found wrong with it so far.
pub struct Document<'t> {
    source: Source<'t>,
    root: Spanned<DeTable<'t>>,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'t> Document<'t> {
    /// Parses what can be parsed; syntax errors are kept as diagnostics.
    pub fn parse(source: Source<'t>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(source.text());
        let found = errors.iter().map(|error| {
            let place = source.place(error.span().map_or(0, |span| span.start));
            Diagnostic::error(place, error.message().trim_end().replace('\n', ", "))
        });
        let found = RefCell::new(found.collect());
        Document { source, root, found }
    }

    /// The keys outside any table, and the tables.
    pub fn root(&self) -> Section<'_> {
        Section::new(self, "the file", self.root.get_ref(), 0..0)
    }

    /// The whole file as plain values, for tables that are carried untouched; empty if the syntax is wrong.
    pub fn values(&self) -> toml::Table {
        toml::from_str(self.source.text()).unwrap_or_default()
    }

    /// Whether nothing wrong was found so far.
    pub fn is_whole(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The place of a byte offset of the file.
    pub fn place(&self, offset: usize) -> Place {
        self.source.place(offset)
    }

    /// The text of a span as it is written.
    pub fn written(&self, span: Range<usize>) -> &str {
        self.source.text().get(span).unwrap_or_default()
    }

    /// Reports an error at a span.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<Option<String>>) {
        let error = Diagnostic::error(self.source.place(span.start), message).hint(hint);
        self.found.borrow_mut().push(error);
    }

    /// Everything found wrong so far.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// One table of a document while it is read.
pub struct Section<'d> {
    document: &'d Document<'d>,
    /// How messages name it: `[cohort]`.
    title: String,
    table: &'d DeTable<'d>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// A section over any table of the document.
    pub fn new(
        document: &'d Document<'_>,
        title: impl Into<String>,
        table: &'d DeTable<'_>,
        span: Range<usize>,
    ) -> Self {
        Section { document, title: title.into(), table, span, asked: Vec::new() }
    }

    /// The value under `key`, of whatever type.
    pub fn value(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// The text under `key`.
    pub fn text(&mut self, key: &'static str) -> Option<Spanned<&'d str>> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        self.typed(key, value, "a string", text)
    }

    /// The text under `key`, which must be one of `words`.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'d str> {
        let text = self.text(key)?;
        let word = *text.get_ref();
        if !words.contains(&word) {
            let message = format!("{key}: '{word}' is unknown; expected {}", words.join(", "));
            self.document.error(text.span(), message, did_you_mean(word, words.iter().copied()));
            return None;
        }
        Some(word)
    }

    /// The whole number under `key`, which must lie in `range`.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<Spanned<u64>> {
        let value = self.value(key)?;
        let number =
            value.get_ref().as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
        let number = number.filter(|number| range.contains(number));
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.typed(key, value, &expected, number)
    }

    /// The fraction under `key`: a number from 0 to 1.
    pub fn fraction(&mut self, key: &'static str) -> Option<Spanned<f64>> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (0.0..=1.0).contains(number));
        self.typed(key, value, "a number from 0 to 1", number)
    }

    /// The name under `key`, which must be there: of a site, a cohort; also part of file names.
    pub fn name(&mut self, key: &'static str) -> Option<String> {
        let Some(name) = self.text(key) else {
            self.missing(key, None);
            return None;
        };
        if let Some((message, hint)) = name_problem(key, name.get_ref()) {
            self.error(name.span(), message, hint);
        }
        Some(name.into_inner().to_owned())
    }

    /// The country that a text under `key` names, in two letters of ISO 3166.
    pub fn country(&self, key: &str, text: &Spanned<&str>) -> Option<String> {
        let country = *text.get_ref();
        let good = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        if !good {
            let message = format!("{key}: '{country}' is no country; expected two letters of ISO 3166");
            self.error(text.span(), message, "such as JP".to_owned());
        }
        good.then(|| country.to_owned())
    }

    /// The texts in the list under `key`, which must each be one of `words`.
    pub fn words(&mut self, key: &'static str, words: &[&'static str]) -> Option<Vec<Spanned<&'d str>>> {
        let texts = self.texts(key)?;
        for text in texts.iter().filter(|text| !words.contains(text.get_ref())) {
            let message = format!("{key}: '{}' is unknown; expected {}", text.get_ref(), words.join(", "));
            self.error(text.span(), message, did_you_mean(text.get_ref(), words.iter().copied()));
        }
        Some(texts)
    }

    /// The texts in the list under `key`.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<Spanned<&'d str>>> {
        let value = self.value(key)?;
        let list = value.get_ref().as_array().and_then(|list| {
            list.iter().map(|item| Some(Spanned::new(item.span(), item.get_ref().as_str()?))).collect()
        });
        self.typed(key, value, "a list of strings", list).map(Spanned::into_inner)
    }

    /// The table under `key` as a section of its own; its title is the key in brackets.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'d>> {
        let value = self.value(key)?;
        let table = self.typed(key, value, "a table", value.get_ref().as_table())?;
        Some(Section::new(self.document, format!("[{key}]"), table.get_ref(), table.span()))
    }

    /// Asks for keys that are carried through with only their type looked at.
    pub fn carry(&mut self, keys: &[(&'static str, Kind)]) {
        for &(key, kind) in keys {
            match kind {
                Kind::Text => drop(self.text(key)),
                Kind::Word(words) => drop(self.word(key, words)),
                Kind::Texts => drop(self.texts(key)),
                Kind::Words(words) => drop(self.words(key, words)),
                Kind::Whole(least, most) => drop(self.integer(key, least..=most)),
                Kind::Fraction => drop(self.fraction(key)),
                Kind::Time => {
                    if let Some(value) = self.value(key) {
                        let time = value.get_ref().as_datetime();
                        self.typed(key, value, "a date and time such as 2026-06-30T17:00:00+09:00", time);
                    }
                }
            }
        }
    }

    /// Reports that `key` must be there, if it is not; of one that is there, its reader has said what is wrong.
    pub fn missing(&self, key: &str, hint: impl Into<Option<String>>) {
        if !self.table.contains_key(key) {
            self.document.error(self.span.clone(), format!("{} lacks '{key}'", self.title), hint);
        }
    }

    /// Reports an error at a span.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.document.error(span, message, hint);
    }

    /// Reports at a span what a person should look at.
    pub fn warning(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<Option<String>>) {
        let place = self.document.place(span.start);
        self.document.found.borrow_mut().push(Diagnostic::warning(place, message).hint(hint));
    }

    /// Where the table stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The document this is a section of.
    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// Every key and value, asked for or not.
    pub fn entries(&self) -> impl Iterator<Item = (Spanned<&'d str>, &'d Spanned<DeValue<'d>>)> {
        self.table.iter().map(|(key, value)| (Spanned::new(key.span(), key.get_ref().as_ref()), value))
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.entries().filter(|(key, _)| !self.asked.contains(key.get_ref())) {
            let message = format!("{} has no key '{}'", self.title, key.get_ref());
            self.error(key.span(), message, did_you_mean(key.get_ref(), self.asked.iter().copied()));
        }
    }

    /// Like [`Section::finish`], for a table to which others may add keys: only a key that looks like one that was asked
    /// for, and is none of `others`, is wrong.
    pub fn finish_open(self, others: &[&str]) {
        let unasked = |key: &str| !self.asked.contains(&key) && !others.contains(&key);
        for (key, _) in self.entries().filter(|(key, _)| unasked(key.get_ref())) {
            if let hint @ Some(_) = did_you_mean(key.get_ref(), self.asked.iter().copied()) {
                self.error(key.span(), format!("{} has no key '{}'", self.title, key.get_ref()), hint);
            }
        }
    }

    /// The value read as the type that was expected, or an error that says so.
    fn typed<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        read: Option<T>,
    ) -> Option<Spanned<T>> {
        if read.is_none() {
            let text = self.document.written(value.span());
            let shown: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
            self.error(value.span(), format!("{key}: expected {expected}, found {shown}"), None);
        }
        read.map(|read| Spanned::new(value.span(), read))
    }
}

/// The type of a key that is only carried through.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A string.
    Text,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A list of some of these strings.
    Words(&'static [&'static str]),
    /// A whole number, from the first to the second.
    Whole(u64, u64),
    /// A number from 0 to 1.
    Fraction,
    /// A date, or date and time.
    Time,
}
