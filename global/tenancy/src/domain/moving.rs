//! The steps of a move, and which follows which. Pure.

use std::str::FromStr;

/// What is to be done next. Each can be done again (docs/adr/0017-a-tenant-moves.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Copy,
    Close,
    Fence,
    Settle,
    Carry,
    Switch,
    Clean,
    /// It was cancelled: what the new cell has is taken away.
    Back,
    Done,
    Cancelled,
}

/// Passes of copying: each brings what came while the last one ran.
const PASSES: u32 = 5;
/// Objects that may be left for the time in which the tenant waits.
const FEW: u64 = 16;

impl Step {
    pub const ALL: [Step; 10] = [
        Step::Copy,
        Step::Close,
        Step::Fence,
        Step::Settle,
        Step::Carry,
        Step::Switch,
        Step::Clean,
        Step::Back,
        Step::Done,
        Step::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Step::Copy => "copy",
            Step::Close => "close",
            Step::Fence => "fence",
            Step::Settle => "settle",
            Step::Carry => "carry",
            Step::Switch => "switch",
            Step::Clean => "clean",
            Step::Back => "back",
            Step::Done => "done",
            Step::Cancelled => "cancelled",
        }
    }

    pub fn next(self) -> Step {
        match self {
            Step::Copy => Step::Close,
            Step::Close => Step::Fence,
            Step::Fence => Step::Settle,
            Step::Settle => Step::Carry,
            Step::Carry => Step::Switch,
            Step::Switch => Step::Clean,
            Step::Clean | Step::Done => Step::Done,
            Step::Back | Step::Cancelled => Step::Cancelled,
        }
    }

    /// Nothing was refused yet that the old cell could not take back.
    pub fn can_be_cancelled(self) -> bool {
        matches!(self, Step::Copy | Step::Close)
    }

    pub fn is_over(self) -> bool {
        matches!(self, Step::Done | Step::Cancelled)
    }
}

impl FromStr for Step {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|step| step.name() == text).ok_or(())
    }
}

/// Whether another pass would leave less for the time in which the tenant waits.
pub fn copies_again(passes: u32, brought: u64) -> bool {
    brought > FEW && passes < PASSES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_leads_to_an_end_and_can_be_written_and_read() {
        for step in Step::ALL {
            assert_eq!(step.name().parse(), Ok(step));
            let last = (0..Step::ALL.len()).fold(step, |step, _| step.next());
            assert!(last.is_over(), "{step:?}");
        }
    }

    #[test]
    fn a_move_can_be_cancelled_before_the_fence_and_not_after() {
        let forwards = std::iter::successors(Some(Step::Copy), |step| (!step.is_over()).then(|| step.next()));
        let cancellable: Vec<bool> = forwards.map(Step::can_be_cancelled).collect();
        assert_eq!(cancellable, [true, true, false, false, false, false, false, false]);
    }

    #[test]
    fn copying_ends_when_little_is_new_and_never_goes_on_for_ever() {
        assert!(copies_again(1, 1000) && !copies_again(1, 3) && !copies_again(PASSES, 1000));
    }
}
