//! The faults a sink must survive, and how often anything goes wrong.

/// What a run is about; the other faults strike too, but seldom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Killed after a file was put.
    AfterFile,
    /// Killed right before or right after a commit is posted.
    AroundPost,
    /// A commit's answer is lost, late, or the commit is delivered late or twice.
    AnswerLost,
    /// Somebody else commits first.
    Conflict,
    /// The catalog's database fails over: 5xx for a while, commits in the middle unknown.
    Failover,
    /// The bucket refuses manifests.
    ManifestRefused,
    /// Partitions move in the middle of a round.
    Revoked,
    /// Two sinks own the same partitions.
    TwoCommitters,
    /// The table is rewritten between load and commit.
    Compaction,
    /// Snapshots expire, the ones with the sink's marks among them.
    MarkerExpired,
    /// The topic is deleted and made anew.
    TopicAnew,
    /// Sinks' clocks are wrong by up to an hour.
    ClockSkew,
    /// Tenants leave: somebody waits for their rows.
    Leaving,
    /// A tenant spoils its own table: its progress, its owner's mark, its files.
    Spoilt,
}

/// A call of the sink that can fail, hang or be its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Read,
    TopicId,
    Bury,
    Journal,
    PutData,
    PutManifest,
    Get,
    Delete,
    /// A call before it leaves, and after its answer came.
    Call,
    /// The same for a commit.
    Commit,
}

/// Chances of one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub crash: f64,
    pub fail: f64,
}

/// Of every step, whatever the run is about.
pub const BACKGROUND: Odds = Odds { crash: 0.003, fail: 0.008 };

impl Fault {
    /// On top of the background, at the steps the fault is about.
    pub fn odds(self, step: Step) -> Odds {
        match (self, step) {
            (Fault::AfterFile, Step::PutData | Step::PutManifest) => Odds { crash: 0.15, fail: 0.0 },
            (Fault::AroundPost, Step::Commit) => Odds { crash: 0.2, fail: 0.0 },
            (Fault::ManifestRefused, Step::PutManifest) => Odds { crash: 0.0, fail: 0.3 },
            (Fault::ManifestRefused, Step::PutData | Step::Get) => Odds { crash: 0.0, fail: 0.05 },
            _ => Odds::default(),
        }
    }
}
