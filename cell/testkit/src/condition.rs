//! Waiting for a condition, with a deadline; never for the clock.

use std::time::{Duration, Instant};

use anyhow::Context;

const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is `Ok`; at the deadline gives the last refusal.
pub async fn within<T, F>(limit: Duration, what: &str, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let refusal = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusal,
        };
        if Instant::now() >= deadline {
            return Err(refusal).with_context(|| format!("{what}: not within {} s", limit.as_secs()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// [`within`] two minutes: enough on a busy machine, and soon enough to see that it will never be.
pub async fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    within(Duration::from_secs(120), what, ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_refusal_is_told() {
        let mut asked = 0;
        let answer = within(Duration::from_millis(120), "the thing", || {
            asked += 1;
            let now = asked;
            async move { anyhow::bail!("refused {now} times") as anyhow::Result<()> }
        });
        let error = format!("{:#}", answer.await.unwrap_err());
        assert!(error.starts_with("the thing: not within 0 s: refused"), "{error}");
    }
}
