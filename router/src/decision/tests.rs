use contracts::claims::Revocation;
use contracts::routing::{CellEndpoint, Route, Table};
use contracts::{Claims, TierId};

use super::*;
use crate::table::At;
use crate::token::tests::{NOW, claims, keys, sign};

struct World {
    view: View,
    keys: Keys,
    revoked: Revoked,
    cards: Cards,
    rules: Rules,
}

fn world() -> World {
    let mut table = Table { version: 4, ..Table::default() };
    for (name, last) in [("shared-1", 1), ("dedicated-1", 2)] {
        let cell = CellId::new(name).unwrap();
        let endpoint = CellEndpoint {
            cell: cell.clone(),
            http: format!("127.0.2.{last}:8080"),
            flight: format!("127.0.2.{last}:50133"),
            door: None,
        };
        table.cells.insert(cell, endpoint);
    }
    for (tenant, cell, hosts) in [
        ("acme", "shared-1", vec!["acme.localhost", "data.acme.example", "*.all.acme.example"]),
        ("globex", "dedicated-1", vec!["globex.localhost"]),
    ] {
        let tenant = TenantId::new(tenant).unwrap();
        let route = Route {
            tenant: tenant.clone(),
            cell: CellId::new(cell).unwrap(),
            generation: Generation(3),
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            tier: TierId::default(),
        };
        table.routes.insert(tenant, route);
    }
    let mut revoked = Revoked::default();
    revoked.add(Revocation { seq: 1, sid: "gone".into(), until: NOW + 900 });
    World {
        view: View::of(4, table.cells.into_values(), std::iter::empty(), table.routes.into_values()).unwrap(),
        keys: keys(),
        revoked,
        cards: Cards::default(),
        rules: Rules {
            global_hosts: vec!["global.localhost".into(), "localhost".into()],
            tenant_suffix: ".localhost".into(),
            leeway: 5,
            group: None,
        },
    }
}

fn ask(world: &World, facts: Facts<'_>) -> String {
    let World { view, keys, revoked, cards, rules } = world;
    match decide(facts, Known { view, keys: Some(keys), revoked, cards, rules }) {
        Ok(Destination::Global) => "global".into(),
        Ok(Destination::Cell(p)) => {
            let At::Address(address) = p.gate.at else { panic!("a name") };
            format!("{}@{} {address} by {:?}", p.tenant, p.cell, p.by)
        }
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn facts<'a>(door: Door, authority: &'a str, authorization: Option<&'a str>) -> Facts<'a> {
    Facts {
        door,
        tls_name: None,
        authority: Some(authority.as_bytes()),
        options: false,
        path: "/api/v1/streams",
        repaired: false,
        authorization: authorization.map(str::as_bytes),
        ambiguous_authorization: false,
        now: NOW,
    }
}

#[test]
fn the_decision_table() {
    let world = world();
    let acme = format!("Bearer {}", sign(&claims("acme")));
    let lower = format!("bearer {}", sign(&claims("acme")));
    let unplaced = format!("Bearer {}", sign(&claims("initech")));
    let expired = format!("Bearer {}", sign(&Claims { exp: NOW - 60, ..claims("acme") }));
    let revoked = format!("Bearer {}", sign(&Claims { sid: "gone".into(), ..claims("acme") }));
    let global = format!("Bearer {}", sign(&Claims { aud: "cytoplane:global".into(), tid: None, ..claims("acme") }));
    let untenanted = format!("Bearer {}", sign(&Claims { tid: None, ..claims("acme") }));
    use Door::{Flight, Http};
    let cases: Vec<(Door, &str, Option<&str>, &str)> = vec![
        (Http, "acme.localhost:8080", Some(&acme), "acme@shared-1 127.0.2.1:8080 by Host"),
        (Http, "ACME.Localhost.", Some(&lower), "acme@shared-1 127.0.2.1:8080 by Host"),
        (Http, "data.acme.example", Some(&acme), "acme@shared-1 127.0.2.1:8080 by Host"),
        (Http, "any.all.acme.example", Some(&acme), "acme@shared-1 127.0.2.1:8080 by Host"),
        (Flight, "acme.localhost:50133", Some(&acme), "acme@shared-1 127.0.2.1:50133 by Host"),
        (Http, "127.0.0.1:8080", Some(&acme), "acme@shared-1 127.0.2.1:8080 by Token"),
        (Flight, "127.0.0.1:50133", Some(&acme), "acme@shared-1 127.0.2.1:50133 by Token"),
        (Flight, "localhost:50133", Some(&acme), "acme@shared-1 127.0.2.1:50133 by Token"),
        (Flight, "sql.example", Some(&acme), "acme@shared-1 127.0.2.1:50133 by Token"),
        (Http, "global.localhost", None, "global"),
        (Http, "global.localhost", Some("Basic eDp5"), "global"),
        (Http, "localhost:8080", None, "global"),
        (Http, "globex.localhost", Some(&acme), "OtherTenant"),
        (Http, "acme.localhost", Some(&untenanted), "OtherTenant"),
        (Flight, "127.0.0.1", Some(&untenanted), "OtherTenant"),
        (Http, "nobody.localhost", Some(&acme), "UnknownHost"),
        (Http, "nobody.localhost", None, "UnknownHost"),
        (Http, "nobody.example", None, "UnknownHost"),
        (Http, "127.0.0.1", None, "TokenMissing"),
        (Flight, "localhost", None, "TokenMissing"),
        (Http, "acme.localhost", None, "TokenMissing"),
        (Http, "127.0.0.1", Some(&unplaced), "UnknownTenant"),
        (Http, "acme.localhost", Some(&expired), "TokenBad(Expired)"),
        (Http, "acme.localhost", Some(&revoked), "TokenBad(Revoked)"),
        (Http, "acme.localhost", Some(&global), "TokenBad(Audience)"),
        (Http, "acme.localhost", Some("Basic eDp5"), "TokenBad(Malformed)"),
        (Http, "acme.localhost", Some("Bearer"), "TokenBad(Malformed)"),
        (Http, "acme.localhost", Some("Bearer x.y.z"), "TokenBad(Malformed)"),
        (Http, "acme localhost", Some(&acme), "BadHost"),
        (Http, "user@acme.localhost", Some(&acme), "BadHost"),
    ];
    for (door, host, token, outcome) in cases {
        assert_eq!(ask(&world, facts(door, host, token)), outcome, "{door:?} {host}");
    }
}

#[test]
fn what_is_not_a_plain_request_is_refused_first() {
    let world = world();
    let acme = format!("Bearer {}", sign(&claims("acme")));
    let plain = facts(Door::Http, "acme.localhost", Some(&acme));
    let https = Facts { door: Door::Https, ..plain };
    let cases = [
        (Facts { authority: None, ..plain }, "NoHost"),
        (Facts { repaired: true, ..plain }, "BadTarget"),
        (Facts { path: "/a/../b", ..plain }, "BadTarget"),
        (Facts { path: "/internal/v1/jwks", ..plain }, "NotFound"),
        (Facts { path: "/internal/v1/jwks", authority: Some(b"global.localhost"), ..plain }, "NotFound"),
        (Facts { tls_name: Some("globex.localhost"), ..https }, "WrongName"),
        (Facts { tls_name: Some("ACME.localhost"), ..https }, "acme@shared-1 127.0.2.1:8080 by Host"),
        (Facts { ambiguous_authorization: true, ..plain }, "TokenBad(Malformed)"),
        (Facts { options: true, authorization: None, ..plain }, "acme@shared-1 127.0.2.1:8080 by Host"),
        (Facts { options: true, authorization: Some(b"Bearer x"), ..plain }, "TokenBad(Malformed)"),
        (Facts { options: true, authorization: None, authority: Some(b"127.0.0.1"), ..plain }, "TokenMissing"),
    ];
    for (facts, outcome) in cases {
        assert_eq!(ask(&world, facts), outcome, "{facts:?}");
    }
}

#[test]
fn without_keys_nobody_is_turned_away_as_wrong() {
    let World { view, revoked, cards, rules, .. } = &world();
    let acme = format!("Bearer {}", sign(&claims("acme")));
    let known = Known { view, keys: None, revoked, cards, rules };
    assert_eq!(decide(facts(Door::Http, "acme.localhost", Some(&acme)), known), Err(Refusal::NotReady));
}

#[test]
fn a_router_serves_the_tenants_of_its_group() {
    let mut world = world();
    let ids = (0..8).map(|number| GroupId::new(format!("group-{number}")).unwrap()).collect();
    let groups = contracts::groups::Groups { ids };
    world.view.apply(5, &contracts::routing::Change::GroupsChanged { groups: groups.clone() }).unwrap();
    let acme = format!("Bearer {}", sign(&claims("acme")));
    let of_acme = groups.of("acme");
    for group in groups.ids.iter().chain([&GroupId::new("elsewhere").unwrap()]) {
        world.rules.group = Some(group.clone());
        let is_served = of_acme.contains(&group) || group.as_str() == "elsewhere";
        for (door, host) in [(Door::Http, "acme.localhost"), (Door::Flight, "127.0.0.1")] {
            let decided = ask(&world, facts(door, host, Some(&acme)));
            assert_eq!(decided != "OtherGroup", is_served, "{group} {host}: {decided}");
        }
        // Which routers serve a tenant is no secret; who has no token is told as well.
        assert_eq!(ask(&world, facts(Door::Http, "acme.localhost", None)) == "TokenMissing", is_served);
    }
}
