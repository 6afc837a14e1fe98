//! What went wrong, for people: nobody branches on it, the exit code says that something did.
use std::fmt;
use std::path::Path;

/// One sentence, and what is beneath it.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    source: Option<std::io::Error>,
}

impl Failure {
    /// A sentence of its own.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), source: None }
    }

    /// Could not `operation` `path`.
    pub fn io(operation: &str, path: impl AsRef<Path>, source: impl Into<std::io::Error>) -> Self {
        Self {
            sentence: format!("could not {operation} {}", path.as_ref().display()),
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

impl std::error::Error for Failure {}
