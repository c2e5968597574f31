//! The whole site, from outside: real parts, two cells, one router. Started once for all tests.
//!
//! First with every service of a cell in one process; then the shared cell is restarted with each service
//! in a process of its own, and all tests run again.

mod bodies;
mod buses;
mod clients;
mod data;
mod databases;
mod demo;
mod doors;
mod drains;
mod faults;
mod flight;
mod groups;
mod keys;
mod matrix;
mod moves;
mod openapi;
mod own_door;
mod prefixes;
mod rows;
mod second;
mod secrets;
mod shares;
mod snapshots;
mod sockets;
mod statements;
mod status;
mod strangers;
mod tokens;
mod traces;
mod vended;
mod world;

use std::process::ExitCode;

use testkit::{Arrangement, Case, Suite};

use crate::world::World;

/// Every test in one arrangement of the shared cell; its name tells which.
macro_rules! cases {
    ($prefix:literal, $arrangement:expr, $($test:path),* $(,)?) => {
        vec![$(Case {
            name: concat!($prefix, stringify!($test)),
            run: |world: std::sync::Arc<World>| Box::pin(async move {
                world.site.arrange(world::SHARED, $arrangement).await?;
                world.renew().await?;
                $test(world).await
            }),
        }),*]
    };
}

/// Every case in both arrangements.
macro_rules! cases_in_both {
    ($($test:path),* $(,)?) => {
        fn cases() -> Vec<Case<World>> {
            let mut cases: Vec<Case<World>> = cases!["", Arrangement::Together, $($test),*];
            cases.extend(cases!["apart::", Arrangement::Apart, $($test),*]);
            cases
        }
    };
}

cases_in_both![
    data::pushed_rows_are_committed_and_read_back,
    data::an_uploaded_file_is_read_back_and_replaced,
    data::an_upload_repeated_with_its_key_adds_its_rows_once,
    data::bad_rows_are_named,
    data::a_dropped_table_leaves_no_row,
    data::lineage_and_audit_tell_what_happened,
    tokens::forged_tokens_are_refused,
    tokens::a_global_token_opens_no_cell,
    tokens::a_cell_token_opens_no_global_plane,
    tokens::a_foreign_token_is_refused_at_the_tenants_host,
    tokens::minted_headers_of_a_client_change_nothing,
    tokens::a_missing_scope_is_refused,
    tokens::a_revoked_token_is_refused,
    tokens::an_expired_token_is_refused,
    keys::an_api_key_is_good_at_both_doors_until_it_is_revoked,
    keys::an_api_key_may_do_what_it_was_made_for,
    keys::an_api_key_needs_no_global_plane,
    keys::a_key_that_cyto_makes_is_good_until_cyto_ends_it,
    matrix::no_route_opens_without_a_token_of_the_tenant,
    matrix::no_route_opens_without_its_scope,
    matrix::no_stranger_reaches_anything_at_the_global_plane,
    flight::no_call_is_answered_without_a_token,
    databases::a_role_sees_no_row_without_a_tenant,
    databases::a_role_opens_no_other_database,
    prefixes::credentials_end_at_the_tenants_prefix,
    strangers::a_foreign_id_is_like_an_absent_one,
    strangers::a_foreign_warehouse_is_refused,
    strangers::lists_show_only_ones_own,
    traces::one_trace_leads_from_the_push_to_the_statement,
    traces::a_trace_that_nobody_wants_is_not_recorded,
    traces::a_request_id_joins_trace_logs_and_audit,
    status::a_sound_site_is_told_at_a_glance,
    status::a_cell_that_is_gone_needs_attention,
    statements::foreign_tables_do_not_exist,
    statements::statements_reach_nothing_but_tables,
    statements::metadata_lists_only_the_tenants_own,
    statements::a_prepared_statement_takes_parameters,
    statements::a_foreign_ticket_is_refused,
    statements::a_large_answer_is_whole,
    sockets::a_streams_rows_go_by,
    sockets::a_socket_opens_to_nobody_else,
    sockets::what_follows_a_refused_socket_is_a_request_of_its_own,
    bodies::malformed_bodies_are_refused,
    bodies::oversized_documents_are_refused,
    bodies::enormous_bodies_are_refused_on_every_write_route,
    doors::only_declared_callers_get_in,
    doors::another_cells_services_do_not_get_in,
    doors::nobody_takes_a_tenant_that_was_not_promised,
    doors::strangers_do_not_get_in,
    doors::internal_feeds_are_not_public,
    doors::a_cell_hears_of_its_own_tenants_only,
    buses::kafka_refuses_to_write_anothers_topic,
    buses::kafka_refuses_to_read_anothers_topic,
    buses::kafka_refuses_new_topics_and_wrong_passwords,
    buses::nats_refuses_anothers_subject,
    buses::nats_refuses_wrong_passwords,
    clients::pyiceberg_reads_and_writes,
    clients::duckdb_reads,
    clients::adbc_asks,
    clients::pyarrow_asks,
    demo::every_flight_arrives,
    demo::a_second_run_is_right_too,
    moves::a_tenant_moves_with_everything_it_has,
    moves::a_move_is_refused_or_given_up,
    moves::a_move_outlives_everybody_who_takes_part,
    faults::known_tenants_work_without_the_global_plane,
    faults::a_full_bucket_is_told_and_loses_nothing,
    faults::a_killed_cell_keeps_acknowledged_rows,
    faults::a_killed_site_comes_back_with_its_data,
    secrets::no_credential_lies_open,
    secrets::no_file_with_a_credential_opens_to_others,
];

fn main() -> ExitCode {
    let mut cases = cases();
    // Once is enough, where most processes keep snapshots.
    cases.extend(cases![
        "apart::",
        Arrangement::Apart,
        snapshots::damaged_ones_give_way_to_the_last_good_ones,
        shares::two_routers_share_one_limit,
        groups::a_router_serves_the_tenants_of_its_group,
        own_door::a_tenants_tls_ends_in_its_cells_own_router,
        drains::a_cell_is_emptied_while_it_works,
        drains::a_lost_cell_is_routed_away,
    ]);
    Suite::new(cases).run(World::start, World::stop)
}
