//! The operating system's randomness, and nothing else.

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use uuid::Uuid;

use crate::domain::device;
use crate::domain::opaque::{Opaque, Purpose};
use crate::error::Error;

pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0u8; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| Error::Broken("the system gives no randomness"))?;
    Ok(bytes)
}

pub fn opaque(purpose: Purpose) -> Result<Opaque, Error> {
    Ok(Opaque::new(purpose, Uuid::now_v7(), bytes()?))
}

/// Each try has enough bytes with probability 1 − 10⁻⁴ or better; eight tries in a row do not fail.
pub fn user_code() -> Result<String, Error> {
    for _ in 0..8 {
        if let Some(code) = device::user_code(&bytes::<16>()?) {
            return Ok(code);
        }
    }
    Err(Error::Broken("the system's randomness is not random"))
}
