//! Bytes as an attacker sends them: good ones, spoilt at random. The same ones in every run.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Inputs made of `good` ones, `count` of them; `CYTO_HOSTILE` multiplies that.
pub fn hostile<'a>(good: &'a [&'a [u8]], count: usize) -> impl Iterator<Item = Vec<u8>> + 'a {
    let times = std::env::var("CYTO_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    (0..count.saturating_mul(times)).map(move |number| {
        let mut random = StdRng::seed_from_u64(number as u64);
        let mut bytes = good[random.random_range(0..good.len())].to_vec();
        for _ in 0..random.random_range(1..=4) {
            spoil(&mut bytes, good, &mut random);
        }
        bytes
    })
}

fn spoil(bytes: &mut Vec<u8>, good: &[&[u8]], random: &mut StdRng) {
    if bytes.is_empty() {
        bytes.push(random.random());
    }
    let (at, other) = (random.random_range(0..bytes.len()), random.random_range(0..bytes.len()));
    let (from, to) = (at.min(other), at.max(other));
    match random.random_range(0..8) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{', b'\n', b','][random.random_range(0..10)],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(from..to.min(from + 64))),
        4 => {
            let piece = bytes[from..to.min(from + 64)].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            let donor = good[random.random_range(0..good.len())];
            let start = random.random_range(0..=donor.len());
            let piece = donor[start..donor.len().min(start + 64)].to_vec();
            bytes.splice(at..at, piece);
        }
        // What reads it as a length or a number reads an enormous one.
        6 => bytes[from..to.min(from + 9)].fill(0xff),
        _ => {
            let run = vec![[b'[', b'{', b'(', b'9', b'a', 0][random.random_range(0..6)]; random.random_range(1..400)];
            bytes.splice(at..at, run);
        }
    }
}
