//! Too many calls: from one tenant beside another, and from one tenant alone. Not part of `cargo test`:
//! `make crowd`. The site's limits per tenant are small, so that a hundred times as much can be made on a laptop.

mod calls;
mod flood;
mod neighbour;
#[path = "../site/rows.rs"]
#[allow(dead_code)]
mod rows;
mod visibility;
mod world;

use std::process::ExitCode;

use testkit::{Case, Suite};

use crate::world::World;

fn main() -> ExitCode {
    let cases: Vec<Case<World>> = vec![
        Case {
            name: "neighbour::requests_beside_a_hundredfold",
            run: |world| Box::pin(neighbour::beside_a_hundredfold(world)),
        },
        Case {
            name: "neighbour::statements_beside_a_hundredfold",
            run: |world| Box::pin(neighbour::beside_statements(world)),
        },
        Case {
            name: "neighbour::statements_beside_a_hundredfold_at_once",
            run: |world| Box::pin(neighbour::beside_statements_at_once(world)),
        },
        Case { name: "flood::ten_times_the_requests", run: |world| Box::pin(flood::of_requests(world)) },
        Case { name: "flood::ten_times_the_statements", run: |world| Box::pin(flood::of_statements(world)) },
        Case {
            name: "visibility::in_a_table_of_a_million",
            run: |world| Box::pin(visibility::in_a_table_of_a_million(world)),
        },
    ];
    Suite::new(cases).run(world::World::start, world::World::stop)
}
