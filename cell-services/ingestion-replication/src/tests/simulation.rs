//! The sink as it runs, in a simulated world.
//!
//! Real: the loop, rounds, decoding, Parquet and manifests, the Iceberg client, commits and their
//! retries. Simulated: topic and group, the catalog's and streaming's servers (HTTP over turmoil's
//! network), the bucket, the journal, time and chance. A seed decides everything: which step fails,
//! what is lost or late, who dies when. After a while of trouble comes calm, and then every row is
//! in its table once, every poison in the dead letters, and nothing else ([`verdict`]).
//!
//! `CYTO_SEEDS=1000` widens a run (`make sim`), `CYTO_SEED=4711` plays one seed and prints its history.

mod bucket;
mod catalog;
mod catalog_server;
mod driver;
mod fault;
mod journal;
mod leaver;
mod network;
mod others;
mod schedule;
mod streams;
mod topic;
mod verdict;
mod world;

use fault::Fault;

/// Of each fault: more than 200 in each run of all tests. A seed takes about a second of an unoptimised build.
const SEEDS: u64 = 16;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays the fault's seeds; in most of them it has to happen.
fn survives(fault: Fault) {
    if let Some(seed) = setting("CYTO_SEED") {
        let run = schedule::run(fault, seed);
        println!("{}", run.history.join("\n"));
        return assert_eq!(run.verdict, Ok(()), "{fault:?}, seed {seed}");
    }
    let seeds = setting("CYTO_SEEDS").unwrap_or(SEEDS);
    let (mut struck, mut failed) = (0, Vec::new());
    for seed in 0..seeds {
        let run = schedule::run(fault, seed);
        struck += u64::from(run.struck);
        if let Err(reason) = run.verdict {
            if failed.is_empty() {
                eprintln!("{fault:?}, seed {seed}: {reason}\n{}", run.history.join("\n"));
            }
            failed.push((seed, reason));
        }
    }
    assert!(failed.is_empty(), "{fault:?}: {} of {seeds} seeds: {failed:#?}", failed.len());
    assert!(struck * 4 >= seeds * 3, "{fault:?} happened in {struck} of {seeds} seeds only");
}

macro_rules! survived {
    ($($name:ident: $fault:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            survives(Fault::$fault);
        })*

        const ALL: &[Fault] = &[$(Fault::$fault),*];
    };
}

survived! {
    a_kill_after_a_file: AfterFile,
    a_kill_around_a_commit: AroundPost,
    a_lost_or_late_answer: AnswerLost,
    a_lost_race: Conflict,
    a_failover_of_the_catalogs_database: Failover,
    a_bucket_that_refuses_manifests: ManifestRefused,
    partitions_revoked_in_a_round: Revoked,
    two_committers: TwoCommitters,
    a_rewrite_between_load_and_commit: Compaction,
    marks_that_expire: MarkerExpired,
    a_topic_made_anew: TopicAnew,
    clocks_that_are_wrong: ClockSkew,
    a_table_its_tenant_spoils: Spoilt,
    tenants_that_leave: Leaving,
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for (fault, seed) in ALL.iter().zip(100..) {
        let (one, other) = (schedule::run(*fault, seed), schedule::run(*fault, seed));
        let differs = one.history.iter().zip(&other.history).find(|(a, b)| a != b);
        assert_eq!(differs, None, "{fault:?}, seed {seed}");
        assert_eq!(one.history.len(), other.history.len(), "{fault:?}, seed {seed}");
        assert!(one.history.len() > 100);
    }
}
