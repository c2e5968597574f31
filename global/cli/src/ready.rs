//! The one table that says where everything is.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use stack::site::{CellKind, Site};

/// URLs, cells, ways in.
pub fn table(site: &Site, elapsed: Duration) -> String {
    let description = site.description();
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["what", "where"]);
    let router = &description.router;
    table.add_row(["global plane", &router.http.replace("127.0.0.1", &description.global.host)]);
    table.add_row(["a tenant's API", &router.http.replace("127.0.0.1", "<tenant>.localhost")]);
    table.add_row(["the same over TLS", &format!("{} (CA {})", router.https, description.global.ca.display())]);
    table.add_row(["Flight SQL", &router.flight]);
    table.add_row(["router metrics", &format!("{}/metrics", router.admin)]);
    for cell in &description.cells {
        let kind = match cell.plan.kind {
            CellKind::Shared => "shared",
            CellKind::Dedicated => "dedicated",
        };
        let admin = contracts::services::ADMIN_PORT;
        table.add_row([
            &format!("cell {}", cell.plan.name),
            &format!("{} ({kind}; http://{}:{admin}/metrics)", cell.address, cell.address),
        ]);
    }
    table.add_row(["state, logs", &format!("{0}, {0}/log", site.state().display())]);
    table.add_row(["administrator", &description.global.bootstrap_admin.display().to_string()]);
    format!("{table}\n{}\n{}", ways_in(site), servers(site, elapsed))
}

/// Lines to paste.
fn ways_in(site: &Site) -> String {
    let router = &site.description().router;
    let http = router.http.replace("127.0.0.1", "acme.localhost");
    let flight = &router.flight;
    format!(
        "sign in      cyto login\n\
         tenants      cyto tenant list\n\
         curl         curl -H \"authorization: Bearer $(cyto token --tenant acme)\" {http}/api/v1/datasets\n\
         SQL          cyto sql --tenant acme\n\
         Python       import adbc_driver_flightsql.dbapi as sql\n             \
                      c = sql.connect(\"{flight}\", db_kwargs={{\"adbc.flight.sql.authorization_header\": \"Bearer \" + token}}).cursor()\n             \
                      c.execute(\"select count(*) from streams.flights\"); print(c.fetchone())"
    )
}

/// How long it took and what it takes.
pub fn servers(site: &Site, elapsed: Duration) -> String {
    let memory = site.memory();
    let mut processes = memory.processes.clone();
    processes.sort_by_key(|p| std::cmp::Reverse(p.rss_kib));
    let list: Vec<String> = processes.iter().map(|p| format!("{} {}", p.name, p.rss_kib / 1024)).collect();
    format!("up in {:.1} s; {} MiB resident: {}", elapsed.as_secs_f64(), memory.total_mib(), list.join(", "))
}
