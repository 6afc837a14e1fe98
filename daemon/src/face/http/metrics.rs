//! Numbers for a monitoring system, as OpenMetrics text (OpenMetrics 1.0, "Text format"). Pure: values in, text out.
//!
//! Written by hand: the format is a dozen lines, and all values exist already in one place, so a registry that
//! collects them would only hold them a second time. Labels name drives, workers and kinds; never a person, a device
//! or a file (T12 of the security notes: nothing private leaves by a side door).
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::model::copy::CopyState;
use crate::model::drive::{DriveRole, Space};
use crate::model::health::{Finding, Light};
use crate::work::supervisor::WorkerReport;
use crate::work::views::Forecast;

/// The `Content-Type` of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything shown. Counters run from the daemon's start.
#[derive(Debug, Clone, Default)]
pub struct MetricsInput {
    /// Uploads acknowledged.
    pub uploads: u64,
    /// Their bytes.
    pub upload_bytes: u64,
    /// Uploads refused, by kind: `full`, `unavailable`, `wrong-hash`.
    pub refused: Vec<(&'static str, u64)>,
    /// Names in the catalogue.
    pub files: u64,
    /// One per drive.
    pub drives: Vec<DriveNumbers>,
    /// The findings of the last check.
    pub findings: Vec<Finding>,
    /// The workers.
    pub workers: Vec<WorkerReport>,
    /// Resident memory, bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// How many may be open.
    pub descriptor_limit: u64,
}

/// One drive's numbers.
#[derive(Debug, Clone)]
pub struct DriveNumbers {
    /// Short id.
    pub id: String,
    /// What it is for.
    pub role: Option<DriveRole>,
    /// Whether it takes writes.
    pub ready: bool,
    /// Room, as last measured.
    pub space: Option<Space>,
    /// How long the last probe took.
    pub probe: Option<Duration>,
    /// Copies by state.
    pub copies: Vec<(CopyState, u64)>,
    /// Age of the copy it has lacked longest; zero when it lacks none.
    pub lag: Duration,
    /// How far the re-reading of its copies is, if it is known.
    pub reread: Option<Forecast>,
}

/// Writes all families, in a fixed order, ending in `# EOF`.
pub fn render(input: &MetricsInput) -> String {
    let mut page = Page(String::with_capacity(4096));
    // Writing to a String does not fail.
    let _ = write_all(&mut page, input);
    page.0
}

fn write_all(page: &mut Page, input: &MetricsInput) -> fmt::Result {
    page.family("shoebox_uploads", "counter", "Uploads acknowledged.")?;
    page.sample("shoebox_uploads_total", &[], input.uploads)?;
    page.family("shoebox_upload_bytes", "counter", "Bytes of uploads acknowledged.")?;
    page.sample("shoebox_upload_bytes_total", &[], input.upload_bytes)?;
    page.family("shoebox_uploads_refused", "counter", "Uploads refused.")?;
    for (kind, count) in &input.refused {
        page.sample("shoebox_uploads_refused_total", &[("kind", kind)], count)?;
    }
    page.family("shoebox_files", "gauge", "Names in the catalogue.")?;
    page.sample("shoebox_files", &[], input.files)?;
    drives(page, &input.drives)?;
    page.family("shoebox_findings", "gauge", "Findings of the last check.")?;
    for light in [Light::Amber, Light::Red] {
        let count = input.findings.iter().filter(|finding| finding.light == light).count();
        page.sample("shoebox_findings", &[("light", light.as_str())], count)?;
    }
    workers(page, &input.workers)?;
    page.family("process_resident_memory_bytes", "gauge", "Resident memory.")?;
    page.sample("process_resident_memory_bytes", &[], input.resident)?;
    page.family("process_open_fds", "gauge", "Open file descriptors.")?;
    page.sample("process_open_fds", &[], input.descriptors)?;
    page.family("process_max_fds", "gauge", "How many file descriptors may be open.")?;
    page.sample("process_max_fds", &[], input.descriptor_limit)?;
    page.0.write_str("# EOF\n")
}

fn drives(page: &mut Page, drives: &[DriveNumbers]) -> fmt::Result {
    type Number = fn(&DriveNumbers) -> Option<f64>;
    #[expect(
        clippy::cast_precision_loss,
        reason = "OpenMetrics numbers are doubles; 2^53 bytes are 9 petabytes"
    )]
    let families: [(&str, &str, Number); 7] = [
        ("shoebox_drive_ready", "Whether the drive takes writes.", |d| Some(f64::from(u8::from(d.ready)))),
        ("shoebox_drive_size_bytes", "Size of the drive.", |d| Some(d.space?.total as f64)),
        ("shoebox_drive_available_bytes", "Room left on the drive.", |d| Some(d.space?.available as f64)),
        ("shoebox_drive_probe_seconds", "How long the last probe took.", |d| Some(d.probe?.as_secs_f64())),
        ("shoebox_drive_lag_seconds", "Age of the copy lacked longest.", |d| Some(d.lag.as_secs_f64())),
        ("shoebox_drive_reread_due", "Copies that are due to be re-read.", |d| Some(d.reread?.due as f64)),
        ("shoebox_drive_reread_late", "Whether some copies are re-read too late, or will be.", |d| {
            Some(f64::from(u8::from(d.reread?.late)))
        }),
    ];
    for (name, help, number) in families {
        page.family(name, "gauge", help)?;
        for drive in drives {
            if let Some(number) = number(drive) {
                page.sample(name, &labels(drive), number)?;
            }
        }
    }
    page.family("shoebox_copies", "gauge", "Copies by drive and state.")?;
    for drive in drives {
        for (state, count) in &drive.copies {
            let [id, role] = labels(drive);
            page.sample("shoebox_copies", &[id, role, ("state", state.as_str())], count)?;
        }
    }
    Ok(())
}

fn labels(drive: &DriveNumbers) -> [(&'static str, &str); 2] {
    [("drive", &drive.id), ("role", drive.role.map_or("none", DriveRole::as_str))]
}

fn workers(page: &mut Page, workers: &[WorkerReport]) -> fmt::Result {
    type Count = fn(&WorkerReport) -> u64;
    let families: [(&str, &str, Count); 3] = [
        ("shoebox_worker_steps", "Steps that went well.", |w| w.steps),
        ("shoebox_worker_errors", "Steps that failed.", |w| w.errors),
        ("shoebox_worker_panics", "Panics.", |w| w.panics),
    ];
    for (name, help, count) in families {
        page.family(name, "counter", help)?;
        // There is one watch for each mount point; a series has one line (OpenMetrics 1.0, "MetricPoint").
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for worker in workers {
            *sums.entry(&worker.name).or_default() += count(worker);
        }
        for (worker, sum) in sums {
            page.sample(&format!("{name}_total"), &[("worker", worker)], sum)?;
        }
    }
    Ok(())
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}")
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) -> fmt::Result {
        self.0.write_str(name)?;
        for (index, (label, text)) in labels.iter().enumerate() {
            write!(self.0, "{}{label}=\"", if index == 0 { '{' } else { ',' })?;
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn input() -> MetricsInput {
        MetricsInput {
            uploads: 3,
            upload_bytes: 3_000_000,
            refused: vec![("full", 1)],
            files: 3,
            drives: vec![DriveNumbers {
                id: "a\"b\\c\nd".to_owned(),
                role: Some(DriveRole::Mirror),
                ready: true,
                space: Some(Space { total: 1 << 40, available: 1 << 39, inodes: 7 }),
                probe: None,
                copies: vec![(CopyState::Verified, 2), (CopyState::Wanted, 1)],
                lag: Duration::from_millis(1500),
                reread: Some(Forecast {
                    due: 5,
                    due_bytes: 5000,
                    copies: 8,
                    through: jiff::Timestamp::UNIX_EPOCH,
                    next: None,
                    late: true,
                }),
            }],
            workers: vec![WorkerReport { name: "mirror".to_owned(), steps: 9, ..WorkerReport::default() }],
            ..MetricsInput::default()
        }
    }

    /// A reader of the text format, as strict as a scraper: every sample belongs to the family declared last, counters
    /// end in `_total`, label values close, `# EOF` is the last line. Samples by name and labels.
    fn read(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        let (mut family, mut kind) = (String::new(), String::new());
        let mut families = std::collections::BTreeSet::new();
        let body = text.strip_suffix("# EOF\n").expect("ends in # EOF");
        for line in body.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                (family, kind) = declared.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
                assert!(families.insert(family.clone()), "{family} declared twice");
                continue;
            }
            if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(help.starts_with(&format!("{family} ")), "{line}");
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            assert_eq!(name, format!("{family}{suffix}"), "{line}");
            assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
            let quotes = series.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            assert_eq!(quotes % 2, 0, "{line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
        }
        samples
    }

    #[test]
    fn the_text_is_openmetrics_and_holds_the_numbers() {
        let samples = read(&render(&input()));
        assert_eq!(samples["shoebox_uploads_total"], 3.0);
        assert_eq!(samples["shoebox_uploads_refused_total{kind=\"full\"}"], 1.0);
        let drive = r#"drive="a\"b\\c\nd",role="mirror""#;
        assert_eq!(samples[&format!("shoebox_copies{{{drive},state=\"verified\"}}")], 2.0);
        assert_eq!(samples[&format!("shoebox_drive_lag_seconds{{{drive}}}")], 1.5);
        assert_eq!(samples[&format!("shoebox_drive_reread_due{{{drive}}}")], 5.0);
        assert_eq!(samples[&format!("shoebox_drive_reread_late{{{drive}}}")], 1.0);
        assert_eq!(samples[&format!("shoebox_drive_size_bytes{{{drive}}}")], (1u64 << 40) as f64);
        assert!(!samples.keys().any(|name| name.starts_with("shoebox_drive_probe")), "not known is not zero");
        assert_eq!(samples["shoebox_worker_steps_total{worker=\"mirror\"}"], 9.0);
        assert_eq!(samples["shoebox_findings{light=\"red\"}"], 0.0);
    }

    #[test]
    fn an_empty_box_has_a_valid_page_too() {
        assert!(read(&render(&MetricsInput::default())).contains_key("process_open_fds"));
    }
}
