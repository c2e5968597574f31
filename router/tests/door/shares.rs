//! What a router may use of a limit that it shares with others.

use contracts::shares::{Report, Share, Shares, WHOLE};
use contracts::tiers::Tier;
use contracts::{TenantId, TierId};

use crate::limits::{get, with_tier};
use crate::site::{Site, until};

/// Twenty at once, and then as good as none.
fn gold() -> Tier {
    Tier { requests_per_second: 1, request_burst: 20, ..Tier::unlimited(TierId::new("gold").unwrap()) }
}

fn share_of_acme(share: u32) -> Shares {
    Shares { rest: WHOLE / 2, shares: vec![Share { tenant: TenantId::new("acme").unwrap(), share }] }
}

async fn told(site: &Site, shares: Shares) {
    *site.global.as_ref().unwrap().behaviour.shares.lock() = shares.clone();
    let ratio = f64::from(shares.rest) / f64::from(WHOLE);
    site.wait_for_metric(&format!("router_even_share_ratio {ratio:?}")).await;
}

/// Requests of acme that were let in before the first refusal.
async fn burst(site: &Site) -> usize {
    let mut passed = 0;
    while get(site, "acme", "/api/v1/streams").await.status() == 200 {
        passed += 1;
    }
    passed
}

/// The first report that is as asked for.
async fn reported(site: &Site, is_it: impl Fn(&Report) -> bool) -> Report {
    let mut reports = site.global.as_ref().unwrap().behaviour.reports.subscribe();
    let all = reports.wait_for(|reports| reports.iter().any(&is_it)).await.unwrap();
    all.iter().find(|report| is_it(report)).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_allows_its_share_and_says_who_presses_it() {
    let site = with_tier(gold()).await;
    told(&site, share_of_acme(WHOLE / 4)).await;
    let passed = burst(&site).await;
    assert!((5..10).contains(&passed), "{passed} of 20 at once, of which a fourth is this router's");
    let explained = site.admin("/routes/acme.localhost").await.1;
    assert!(explained.contains("\"share\":0.25"), "{explained}");
    let pressed = reported(&site, |report| report.uses.iter().any(|held| held.pressure > WHOLE)).await;
    let acme = pressed.uses.iter().find(|held| held.tenant.as_str() == "acme").unwrap();
    assert_eq!((pressed.rest, acme.share), (WHOLE / 2, WHOLE / 4));
    // One that does not press is not told of.
    assert_eq!(get(&site, "globex", "/api/v1/streams").await.status(), 200);
    assert!(pressed.uses.iter().all(|held| held.tenant.as_str() == "acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_outlive_the_global_plane_and_a_router_is_the_same_after_a_restart() {
    let mut site = with_tier(gold()).await;
    let first = reported(&site, |_| true).await.router;
    told(&site, share_of_acme(WHOLE / 4)).await;
    let known = site.global.as_ref().unwrap().behaviour.reports.borrow().len();
    let before = site.succeed().await;
    drop(before);
    told(&site, share_of_acme(WHOLE / 4)).await;
    let behaviour = site.global.as_ref().unwrap().behaviour.clone();
    until("the successor reports", async || behaviour.reports.borrow().len() > known + 1).await;
    assert!(behaviour.reports.borrow().iter().all(|report| report.router == first));
    site.stop_global().await;
    let failures = "router_feed_failures_total{feed=\"shares\"}";
    until("the plane is missed", async || site.admin("/metrics").await.1.contains(failures)).await;
    let passed = burst(&site).await;
    assert!((5..10).contains(&passed), "{passed}");
}
