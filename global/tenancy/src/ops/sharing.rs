//! Divides limits among routers (docs/adr/0019-routers-share-a-limit.md).

use std::time::Instant;

use contracts::CellId;
use contracts::shares::{MOST_LOADS, MOST_USES, Report, Shares, WHOLE};
use parking_lot::Mutex;

use crate::Tenancy;
use crate::domain::sharing::Sharing;
use crate::error::Error;

/// What this process knows of the routers since it was elected.
#[derive(Debug)]
pub struct Divided {
    begun: Instant,
    sharing: Mutex<Option<Sharing>>,
}

impl Default for Divided {
    fn default() -> Self {
        Self { begun: Instant::now(), sharing: Mutex::default() }
    }
}

/// Only the elected writer divides: two that did would each give away the whole.
pub fn report(tenancy: &Tenancy, report: &Report) -> Result<Shares, Error> {
    let term = tenancy.0.election.term().ok_or(Error::NotWriter)?;
    if report.uses.len() > MOST_USES
        || report.loads.len() > MOST_LOADS
        || report.rest > WHOLE
        || report.uses.iter().any(|held| held.share > WHOLE)
    {
        return Err(Error::Invalid("the report is not well formed"));
    }
    let Divided { begun, sharing } = &tenancy.0.divided;
    let now = begun.elapsed();
    let mut sharing = sharing.lock();
    let of_term = match sharing.take().filter(|sharing| sharing.is_of(term)) {
        Some(known) => sharing.insert(known),
        None => sharing.insert(Sharing::new(term, now)),
    };
    of_term.report(report, now).map_err(|_| Error::TooManyReaders)
}

/// What routers bring to a cell, requests a second, if this process hears them.
pub fn load_of(tenancy: &Tenancy, cell: &CellId) -> Option<u64> {
    let term = tenancy.0.election.term()?;
    let Divided { begun, sharing } = &tenancy.0.divided;
    let sharing = sharing.lock();
    sharing.as_ref().filter(|sharing| sharing.is_of(term)).map(|sharing| sharing.load_of(cell, begun.elapsed()))
}
