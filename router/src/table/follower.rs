//! The follower of the routing log: one line in, the table moves on or stays.

use contracts::routing::{ApplyError, Change, FeedLine};

use super::incoming::{Ending, Incoming};
use super::{TableError, View};

/// What the reader of the feed has to do about a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Lines are missing: subscribe again, from the start of the log.
    #[error("the feed left the table: {0}")]
    Lost(ApplyError),
    /// The line must not be applied; the table stands as it was.
    #[error("refused: {0}")]
    Refused(#[from] TableError),
}

fn out_of_place() -> TableError {
    TableError::Shape("a line of a table is out of its place".to_owned())
}

/// Holds the table while lines are applied to it. Deterministic; knows no clock and no transport.
#[derive(Debug, Default)]
pub struct Follower {
    view: View,
    changed: bool,
    /// A whole table that has begun and not ended.
    incoming: Option<Incoming>,
    /// What has been applied since a table was last given out to be packed.
    since_packed: Vec<(u64, Change)>,
}

impl Follower {
    pub fn new(view: View) -> Self {
        Self { view, ..Self::default() }
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// Applies one line.
    pub fn step(&mut self, line: FeedLine) -> Result<(), StepError> {
        match line {
            FeedLine::Begin { version, cells, tiers, removed, groups } => {
                self.incoming = Some(Incoming::begin(version, (removed, groups), cells, tiers)?);
                Ok(())
            }
            FeedLine::Routes { routes } => {
                let incoming = self.incoming.as_mut().ok_or_else(out_of_place)?;
                Ok(routes.into_iter().try_for_each(|route| incoming.add(route))?)
            }
            FeedLine::End { version, tenants } => {
                let whole = self.end(version, tenants)?.run()?;
                self.replace(whole);
                Ok(())
            }
            // It would be missing in the table that comes.
            FeedLine::Delta { .. } if self.incoming.is_some() => Err(out_of_place().into()),
            FeedLine::Delta { version, .. } if version <= self.view.version() => Ok(()),
            FeedLine::Delta { version, change } => match self.view.apply(version, &change) {
                Ok(()) => {
                    self.since_packed.push((version, change));
                    self.changed = true;
                    Ok(())
                }
                // The log itself is right: what does not fit it is this table.
                Err(TableError::Rule(error)) => Err(StepError::Lost(error)),
                Err(other) => Err(StepError::Refused(other)),
            },
            FeedLine::Heartbeat { version } if version > self.view.version() => {
                Err(StepError::Lost(ApplyError::Gap { have: self.view.version(), got: version }))
            }
            FeedLine::Heartbeat { .. } => Ok(()),
            // Whoever gives lines to the follower has proved them.
            FeedLine::Seal { .. } => Err(out_of_place().into()),
        }
    }

    /// Ends the table that is coming in: what is left to do is long, and is done elsewhere. What comes of it goes to
    /// [`Self::replace`].
    pub fn end(&mut self, version: u64, tenants: u64) -> Result<Ending, StepError> {
        let incoming = self.incoming.take().ok_or_else(out_of_place)?;
        Ok(incoming.end(version, tenants, self.view.clone())?)
    }

    /// Goes on from another table; nothing, if it is the same.
    pub fn replace(&mut self, whole: Option<View>) {
        if let Some(view) = whole {
            self.view = view;
            self.since_packed.clear();
            self.changed = true;
        }
    }

    /// The table, if it changed since it was last taken.
    pub fn take(&mut self) -> Option<View> {
        std::mem::take(&mut self.changed).then(|| self.view.clone())
    }

    /// The table as it is now, to be packed elsewhere and given back to [`Self::packed`].
    pub fn to_pack(&mut self) -> View {
        self.since_packed.clear();
        self.view.clone()
    }

    /// Goes on from a table that was packed meanwhile. One that another table has overtaken is let go.
    pub fn packed(&mut self, mut packed: View) -> Result<(), TableError> {
        let caught_up = |packed: &View| packed.version() == self.view.version();
        for (version, change) in &self.since_packed {
            if *version > packed.version() {
                packed.apply(*version, change)?;
            }
        }
        if caught_up(&packed) {
            self.view = packed;
            self.changed = true;
        }
        Ok(())
    }
}
