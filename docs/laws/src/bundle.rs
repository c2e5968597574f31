//! The contracts change only together with their version.

use crate::tree::root;

/// `docs/api/contracts.sha256` holds `<version> <sha256>` of the contracts as they were released.
/// To bless a change: raise `contracts::bundle::VERSION`, then write the line the failure prints.
#[test]
fn the_contract_bundle_is_the_blessed_one() {
    let now = format!("{} {}", contracts::bundle::VERSION, contracts::bundle::sha256(&contracts::bundle::canonical()));
    let blessed = std::fs::read_to_string(root().join("docs/api/contracts.sha256")).unwrap_or_default();
    assert_eq!(blessed.trim(), now, "the contracts changed: raise their version and bless the new digest");
}
