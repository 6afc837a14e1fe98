//! Settings as a file: taking keys out of TOML with the line of every problem, and writing them back.
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The line, counted from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong, naming the key.
    pub what: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("could not read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        why: io::Error,
    },
    /// The file was read, and this is wrong with it.
    #[error("{} cannot be used:{}", path.display(), bullets(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All problems, in the order of the file.
        problems: Vec<SettingsProblem>,
    },
}

fn bullets(problems: &[SettingsProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Something that is shown every key of the settings.
pub(super) trait Visit {
    /// The keys that follow are below `[name]`.
    fn section(&mut self, name: &'static str);

    /// One key.
    fn value<T: Serialize + DeserializeOwned>(
        &mut self,
        key: &'static str,
        field: &mut T,
        check: impl FnOnce(&T) -> Result<(), String>,
    );

    /// A number within `range`.
    fn number(&mut self, key: &'static str, field: &mut u64, range: RangeInclusive<u64>) {
        self.value(key, field, |n| within(*n, &range));
    }

    /// A number of connections.
    fn count(&mut self, key: &'static str, field: &mut usize, range: RangeInclusive<usize>) {
        let range = *range.start() as u64..=*range.end() as u64;
        self.value(key, field, |n| within(*n as u64, &range));
    }

    /// A time in units of so many seconds.
    fn time(&mut self, key: &'static str, unit: u64, field: &mut Duration, range: RangeInclusive<u64>) {
        let mut number = field.as_secs() / unit;
        self.number(key, &mut number, range);
        *field = Duration::from_secs(number.saturating_mul(unit));
    }
}

fn within(number: u64, range: &RangeInclusive<u64>) -> Result<(), String> {
    if range.contains(&number) {
        Ok(())
    } else {
        Err(format!("{number} is not between {} and {}", range.start(), range.end()))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Takes values out of a parsed file; what is left at the end is unknown.
pub(super) struct Reader<'t> {
    text: &'t str,
    root: DeTable<'t>,
    section: &'static str,
    table: Option<DeTable<'t>>,
    known: Vec<&'static str>,
    lines: BTreeMap<String, usize>,
    problems: Vec<SettingsProblem>,
}

impl<'t> Reader<'t> {
    /// Parses the text. Where the syntax is wrong only that is reported, because the rest would be misread.
    pub(super) fn new(text: &'t str) -> Result<Self, Vec<SettingsProblem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self {
                text,
                root: root.into_inner(),
                section: "",
                table: None,
                known: Vec::new(),
                lines: BTreeMap::new(),
                problems: Vec::new(),
            });
        }
        let mut problems: Vec<SettingsProblem> = Vec::new();
        for error in errors {
            let line = error.span().map(|span| line_of(text, span.start));
            // The first complaint about a line is the one to go by; those after it follow from it.
            if !problems.iter().any(|known| known.line == line) {
                problems.push(SettingsProblem { line, what: error.message().to_owned() });
            }
        }
        problems.sort_by_key(|problem| problem.line);
        Err(problems)
    }

    /// All problems, in the order of the file.
    pub(super) fn end(mut self) -> Result<(), Vec<SettingsProblem>> {
        self.problems.sort_by_key(|problem| problem.line);
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    fn problem(&mut self, offset: usize, what: String) {
        self.problems.push(SettingsProblem { line: Some(line_of(self.text, offset)), what });
    }

    /// A problem that shows only beside other keys.
    pub(super) fn problem_at(&mut self, key: &str, what: &str) {
        self.problems
            .push(SettingsProblem { line: self.lines.get(key).copied(), what: format!("{key} {what}") });
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        self.table.as_mut()?.remove(key)
    }

    fn finish_section(&mut self) {
        let left: Vec<(usize, String)> = self
            .table
            .take()
            .map(|table| table.iter().map(|(key, _)| (key.span().start, key.get_ref().to_string())).collect())
            .unwrap_or_default();
        for (offset, key) in left {
            let what = format!(
                "unknown key {}.{key}; [{}] has {}",
                self.section,
                self.section,
                self.known.join(", ")
            );
            self.problem(offset, what);
        }
        self.known.clear();
    }

    /// To be called after the last key: what is left is unknown.
    pub(super) fn finish_file(&mut self) {
        self.finish_section();
        let left: Vec<(usize, String)> =
            self.root.iter().map(|(key, _)| (key.span().start, key.get_ref().to_string())).collect();
        for (offset, key) in left {
            self.problem(offset, format!("unknown section or key {key}"));
        }
    }
}

impl Visit for Reader<'_> {
    fn section(&mut self, name: &'static str) {
        self.finish_section();
        self.section = name;
        let Some(value) = self.root.remove(name) else { return };
        let offset = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => self.table = Some(table),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => self.problem(offset, format!("{name} is a section: write [{name}]")),
        }
    }

    fn value<T: Serialize + DeserializeOwned>(
        &mut self,
        key: &'static str,
        field: &mut T,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) {
        self.known.push(key);
        let Some(value) = self.take(key) else { return };
        let offset = value.span().start;
        let name = format!("{}.{key}", self.section);
        self.lines.insert(name.clone(), line_of(self.text, offset));
        let read = T::deserialize(ValueDeserializer::from(value)).map_err(|e| in_plain_words(e.message()));
        match read.and_then(|new| check(&new).map(|()| new)) {
            Ok(new) => *field = new,
            Err(what) => self.problem(offset, format!("{name}: {what}")),
        }
    }
}

/// Prints every key.
#[derive(Default)]
pub(super) struct Printer(String);

impl Printer {
    /// What was printed.
    pub(super) fn text(self) -> String {
        self.0
    }
}

impl Visit for Printer {
    fn section(&mut self, name: &'static str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{gap}[{name}]\n"));
    }

    fn value<T: Serialize + DeserializeOwned>(
        &mut self,
        key: &'static str,
        field: &mut T,
        _check: impl FnOnce(&T) -> Result<(), String>,
    ) {
        // Every field is a number, a text, a truth value or a list of texts, which TOML can always spell.
        if let Ok(value) = toml::Value::try_from(&*field) {
            self.0.push_str(&format!("{key} = {value}\n"));
        }
    }
}

/// serde names Rust's types; who edits the file knows only numbers.
fn in_plain_words(message: &str) -> String {
    message
        .replace("expected u64", "expected a whole number")
        .replace("expected usize", "expected a whole number")
}
