//! The one table that says where everything is and how to get in.

use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use stack::site::{CellKind, Description, Site};

/// URLs, cells, tenants (`(tenant, cell)`), ways in.
pub fn table(site: &Site, tenants: &[(String, String)]) -> String {
    let description = site.description();
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["what", "where"]);
    for [what, place] in doors(description) {
        table.add_row([what, place]);
    }
    for cell in &description.cells {
        let kind = match cell.plan.kind {
            CellKind::Shared => "shared",
            CellKind::Dedicated => "dedicated",
        };
        let metrics = format!("http://{}:{}/metrics", cell.address, contracts::services::ADMIN_PORT);
        table.add_row([format!("cell {}", cell.plan.name), format!("{}, {kind}; {metrics}", cell.address)]);
    }
    for (tenant, cell) in tenants {
        table.add_row([format!("tenant {tenant}"), format!("{} in cell {cell}", address(description, tenant))]);
    }
    table.add_row(["state and logs".to_owned(), format!("{0} and {0}/log", site.state().display())]);
    let tenant = tenants.first().map_or("acme", |(tenant, _)| tenant.as_str());
    format!("{table}\n{}", ways_in(description, tenant))
}

fn doors(description: &Description) -> [[String; 2]; 4] {
    let (router, global) = (&description.router, &description.global);
    [
        ["global plane".to_owned(), address(description, "global")],
        ["the same over TLS".to_owned(), format!("{} (CA {})", router.https, global.ca.display())],
        ["Flight SQL".to_owned(), router.flight.clone()],
        ["router metrics".to_owned(), format!("{}/metrics", router.admin)],
    ]
}

/// `*.localhost` is 127.0.0.1 everywhere; a site elsewhere is reached by address and host name.
fn address(description: &Description, host: &str) -> String {
    let http = &description.router.http;
    match http.strip_prefix("http://127.0.0.1:") {
        Some(port) => format!("http://{host}.localhost:{port}"),
        None => format!("{http} (host: {host}.localhost)"),
    }
}

/// Lines to paste.
fn ways_in(description: &Description, tenant: &str) -> String {
    // As it was called, so that a pasted line finds it too.
    let cyto = std::env::args().next().unwrap_or_else(|| "cyto".to_owned());
    let router = &description.router;
    let (http, flight) = (&router.http, &router.flight);
    let admin = description.global.bootstrap_admin.display();
    [
        format!("sign in   {cyto} login   (in the browser; users are made by an administrator)"),
        format!("admin     {admin}   (client id and secret)"),
        format!("SQL       {cyto} sql --tenant {tenant}"),
        format!("token     export TOKEN=$({cyto} token --tenant {tenant})"),
        format!("curl      curl -H \"host: {tenant}.localhost\" -H \"authorization: Bearer $TOKEN\" {http}/api/v1/datasets"),
        "Python    import os, adbc_driver_flightsql.dbapi as sql   # pip install adbc-driver-flightsql pyarrow".to_owned(),
        format!("          c = sql.connect(\"{flight}\", db_kwargs={{\"adbc.flight.sql.authorization_header\": \"Bearer \" + os.environ[\"TOKEN\"]}}).cursor()"),
        "          c.execute(\"select count(*) from streams.flights\"); print(c.fetchone())".to_owned(),
    ]
    .join("\n")
}

/// How long it took and what it takes.
pub fn measured(site: &Site, elapsed: Duration) -> String {
    let memory = site.memory();
    let mut processes = memory.processes.clone();
    processes.sort_by_key(|p| std::cmp::Reverse(p.rss_kib));
    let list: Vec<String> = processes.iter().map(|p| format!("{} {}", p.name, p.rss_kib / 1024)).collect();
    format!("up in {:.1} s; {} MiB resident: {}", elapsed.as_secs_f64(), memory.total_mib(), list.join(", "))
}
