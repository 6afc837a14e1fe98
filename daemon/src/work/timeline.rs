//! A person's photos by month, for clients that compare what there is month by month.
use crate::model::account::Slug;
pub use crate::store::catalogue::timeline::{Dated, MonthSum};
use crate::work::error::Refusal;
use crate::work::pool::Pool;

/// Photos of one month that are listed; whoever takes more has other ways.
const MOST: usize = 50_000;

impl Pool {
    /// The months of which a person has photos, in order.
    pub fn months(&self, person: &Slug) -> Result<Vec<MonthSum>, Refusal> {
        Ok(self.primary()?.catalogue.read(|r| r.months(person.as_str()))?)
    }

    /// A person's photos of a month (`YYYY-MM`), in order of their dates.
    pub fn photos_of_month(&self, person: &Slug, month: &str) -> Result<Vec<Dated>, Refusal> {
        Ok(self.primary()?.catalogue.read(|r| r.photos_of_month(person.as_str(), month, MOST))?)
    }
}
