//! `master` is another word for `main`.

use iceberg::spec::MAIN_BRANCH;
use iceberg::{TableRequirement, TableUpdate};

pub const MASTER: &str = "master";

/// Rewrites every mention of `master`; returns whether there was one, so that the answer can say so.
pub fn master_is_main(requirements: &mut [TableRequirement], updates: &mut [TableUpdate]) -> bool {
    let mut renamed = false;
    let mut rename = |name: &mut String| {
        if name == MASTER {
            MAIN_BRANCH.clone_into(name);
            renamed = true;
        }
    };
    for requirement in requirements {
        if let TableRequirement::RefSnapshotIdMatch { r#ref, .. } = requirement {
            rename(r#ref);
        }
    }
    for update in updates {
        if let TableUpdate::SetSnapshotRef { ref_name, .. } | TableUpdate::RemoveSnapshotRef { ref_name } = update {
            rename(ref_name);
        }
    }
    renamed
}
