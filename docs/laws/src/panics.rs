//! A panic ends one request or one task, never the process with everybody's.

use crate::tree::root;

#[test]
fn a_built_cell_catches_panics_as_its_tests_do() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let profiles = manifest["profile"].as_table().unwrap();
    for name in ["dev", "release"] {
        let panic = profiles.get(name).and_then(|profile| profile.get("panic"));
        assert_eq!(panic, None, "profile {name}: `kit` catches panics, so they have to unwind");
    }
}
