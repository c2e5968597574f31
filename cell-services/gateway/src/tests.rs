use std::num::NonZeroU32;
use std::time::Instant;

use contracts::tiers::RequestLimits;
use contracts::{TenantId, headers};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kit::service::Service;

use crate::Gateway;
use kit::config::Settings as _;

use crate::config::Settings;
use crate::domain::{self, OriginRule};
use crate::limits::{Limits, Refusal, RefusalSampler};
use crate::openapi::edition;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn small() -> Settings {
    Settings {
        requests_per_second: NonZeroU32::new(1).unwrap(),
        request_burst: NonZeroU32::new(3).unwrap(),
        concurrent_requests: 2,
        tracked_tenants: 2,
        refusals_recorded_per_second: NonZeroU32::new(1).unwrap(),
        ..Settings::default()
    }
}

#[test]
fn it_is_the_gateway() {
    assert_eq!(Gateway.declaration().name, "gateway");
}

#[test]
fn a_path_that_two_readers_could_read_differently_is_refused() {
    for bad in [
        "",
        "api",
        "/api//v1",
        "/api/v1/streams/../audit",
        "/api/v1/streams/%2e%2E/audit",
        "/api/./v1",
        "/api/v1/a%2Fb",
        "/api\\v1",
        "/a%5cb",
        "/a%00b",
        "//",
    ] {
        assert!(!domain::path_is_sound(bad), "{bad}");
    }
    for good in [
        "/",
        "/api/v1/streams",
        "/api/v1/streams/",
        "/iceberg/v1/a%1Fb/x",
        "/api/v1/datasets/a/files/x..y.csv",
        "/a/...b",
    ] {
        assert!(domain::path_is_sound(good), "{good}");
    }
}

#[test]
fn a_caller_cannot_smuggle_an_identity_or_a_hop_header_to_a_service() {
    let kept = domain::request_headers(&map(&[
        ("x-cyto-actor", "user:root"),
        ("X-Cyto-Scopes", "*"),
        ("x-cyto-anything-new", "1"),
        ("authorization", "Bearer secret"),
        ("cookie", "a=b"),
        ("connection", "close, X-Private"),
        ("x-private", "1"),
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("content-type", "text/csv"),
        ("if-match", "\"1\""),
    ]));
    let names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["content-type", "if-match"]);
}

#[test]
fn of_the_reserved_headers_only_the_required_generation_leaves_the_cell() {
    let kept = domain::response_headers(&map(&[
        (headers::GENERATION_REQUIRED, "7"),
        (headers::ACTOR, "user:x"),
        ("access-control-allow-origin", "*"),
        ("etag", "\"1\""),
    ]));
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[headers::GENERATION_REQUIRED], "7");
}

#[test]
fn origins_match_by_whole_host_labels_scheme_and_port() {
    let accepts =
        |rule: &str, origin: &str| OriginRule::parse(rule).unwrap().accepts(&HeaderValue::from_str(origin).unwrap());
    assert!(accepts("http://*.localhost:*", "http://acme.localhost:8080"));
    assert!(accepts("https://app.example.com", "https://APP.example.com"));
    for (rule, origin) in [
        ("http://*.localhost:*", "https://acme.localhost:8080"),
        ("http://*.localhost:*", "http://evil-localhost"),
        ("http://*.localhost:*", "http://.localhost"),
        ("https://app.example.com", "https://app.example.com:444"),
        ("https://app.example.com", "https://app.example.com.evil.net"),
        ("https://app.example.com", "null"),
    ] {
        assert!(!accepts(rule, origin), "{rule} {origin}");
    }
    for bad in ["*", "https://*", "https://*.", "ftp://a", "https://a/b", "https://a.*.b"] {
        assert_eq!(OriginRule::parse(bad), None, "{bad}");
    }
}

#[test]
fn changes_refusals_and_failures_are_recorded_and_reads_that_succeed_are_not() {
    assert!(domain::is_recorded(&Method::POST, StatusCode::OK));
    assert!(domain::is_recorded(&Method::GET, StatusCode::FORBIDDEN));
    assert!(domain::is_recorded(&Method::GET, StatusCode::NOT_FOUND));
    assert!(!domain::is_recorded(&Method::GET, StatusCode::OK));
    assert_eq!(domain::outcome(StatusCode::CREATED), "allowed");
    assert_eq!(domain::outcome(StatusCode::TOO_MANY_REQUESTS), "denied");
    assert_eq!(domain::outcome(StatusCode::BAD_GATEWAY), "failed");
}

#[test]
fn one_tenant_at_its_limit_does_not_touch_another() {
    let limits = Limits::new(&small());
    for _ in 0..3 {
        assert!(limits.enter(&tenant("acme"), None).is_ok());
    }
    // The allowance grows by one a second meanwhile: on a slow machine the refusal comes some requests later.
    let refusal = (0..1_000).find_map(|_| limits.enter(&tenant("acme"), None).err()).map(|(refusal, _)| refusal);
    assert!(matches!(refusal, Some(Refusal::Rate { after }) if !after.is_zero()), "{refusal:?}");
    assert!(limits.enter(&tenant("globex"), None).is_ok());
}

#[test]
fn requests_under_way_are_bounded_and_come_back_when_an_answer_ends() {
    let limits = Limits::new(&small());
    let first = limits.enter(&tenant("acme"), None).unwrap();
    let _second = limits.enter(&tenant("acme"), None).unwrap();
    assert_eq!(limits.enter(&tenant("acme"), None).unwrap_err().0, Refusal::Concurrency { limit: 2 });
    drop(first);
    let roomy = Limits::new(&Settings { request_burst: NonZeroU32::new(100).unwrap(), ..small() });
    for _ in 0..10 {
        drop(roomy.enter(&tenant("acme"), None).unwrap());
    }
}

/// What the router says of a tier holds in the place of the cell's own numbers, each where there is one.
#[test]
fn a_tier_has_its_own_limits() {
    let limits = Limits::new(&small());
    let of_tier = |per_second, burst, concurrent| Some(RequestLimits { per_second, burst, concurrent });
    let enter = |tier| limits.enter(&tenant("acme"), tier);
    let held: Vec<_> = (0..50).map_while(|_| enter(of_tier(100, 50, 50)).ok()).collect();
    assert_eq!(held.len(), 50);
    assert!(enter(of_tier(100, 50, 50)).is_err());
    // Another tier from now on: its places are its own, its rate is the cell's.
    let _one = enter(of_tier(0, 0, 1)).unwrap();
    let (refusal, left) = enter(of_tier(0, 0, 1)).unwrap_err();
    assert_eq!(refusal, Refusal::Concurrency { limit: 1 });
    let mut headers = http::HeaderMap::new();
    left.announce(&mut headers);
    let small = small();
    let policy = format!("\"tenant\";q={};w=1;burst={}", small.requests_per_second, small.request_burst);
    assert_eq!(headers["ratelimit-policy"], *policy);
    assert_eq!(headers["ratelimit"], "\"tenant\";r=0;t=1");
}

#[test]
fn the_number_of_tracked_tenants_is_bounded_and_busy_ones_are_not_forgotten() {
    let limits = Limits::new(&small());
    let _a = limits.enter(&tenant("aa"), None).unwrap();
    let _b = limits.enter(&tenant("bb"), None).unwrap();
    assert_eq!(limits.enter(&tenant("cc"), None).unwrap_err().0, Refusal::Crowded);
}

#[test]
fn a_flood_of_refusals_is_counted_not_recorded_one_by_one() {
    let sampler = RefusalSampler::new(&small());
    let begun = Instant::now();
    assert_eq!(sampler.record(&tenant("acme")), Some(0));
    let mut waiting = 0;
    let mut recorded = 0;
    for _ in 0..1_000 {
        match sampler.record(&tenant("acme")) {
            None => waiting += 1,
            Some(left_out) => {
                assert_eq!(left_out, waiting);
                (waiting, recorded) = (0, recorded + 1);
            }
        }
    }
    assert!(recorded <= begun.elapsed().as_secs(), "{recorded} records");
}

#[test]
fn an_edition_of_the_api_that_lacks_a_part_says_so() {
    let audit = serde_json::json!({
        "openapi": "3.1.0", "info": { "title": "audit", "version": "1" }, "paths": { "/api/v1/audit/verify": {} },
    });
    let audit: utoipa::openapi::OpenApi = serde_json::from_value(audit).unwrap();
    let own = crate::api::describe;
    let whole = edition(own(), vec![("audit", Some(audit.clone()))]).unwrap();
    assert!(whole.contains("/api/v1/audit/verify") && !whole.contains("Incomplete"), "{whole}");
    let lacking = edition(own(), vec![("lineage", None), ("audit", Some(audit))]).unwrap_err();
    assert!(lacking.contains("/api/v1/audit/verify") && lacking.contains("Incomplete: lineage"), "{lacking}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    assert!(Settings::default().validate().is_ok());
    let error = Settings { head_seconds: 0, ..Settings::default() }.validate().unwrap_err();
    assert!(error.to_string().contains("head_seconds"));
    assert!(Settings { cors_origins: vec!["*".into()], ..Settings::default() }.validate().is_err());
}
