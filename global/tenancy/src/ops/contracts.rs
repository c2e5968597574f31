//! The contract bundle: published once per version, signed whenever it is read.

use contracts::bundle::{self, SignedBundle};

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::store::contracts::{self as store, Bundle};

/// Publishes the contracts this build was made with. A published version never changes.
pub async fn publish(tenancy: &Tenancy) -> Result<(), Error> {
    let document = bundle::canonical();
    let digest = bundle::sha256(&document);
    let version = i32::try_from(bundle::VERSION).map_err(|_| Error::Broken("the contract version is too large"))?;
    let mut db = kit::database::begin(&tenancy.0.pool).await?;
    let stored = store::publish(&mut db, version, &document, &digest).await?;
    db.commit().await?;
    if stored != digest {
        tracing::error!(
            version,
            stored,
            built = digest,
            "this build's contracts differ from the published ones of the same version"
        );
    }
    Ok(())
}

/// The newest bundle, or one version. Signed on reading, so that the signature's key is always in
/// the key set, whatever keys came and went since the bundle was published.
pub async fn signed(tenancy: &Tenancy, version: Option<u32>) -> Result<SignedBundle, Error> {
    let missing = Error::NotFound("contract version");
    let version = match version.map(i32::try_from).transpose() {
        Ok(version) => version,
        Err(_) => return Err(missing),
    };
    let bundle = store::find(&mut *tenancy.0.pool.acquire().await?, version).await?.ok_or(missing)?;
    let signature = tenancy.0.signer.sign(bundle.document.as_bytes()).map_err(Error::Signing)?;
    Ok(SignedBundle {
        version: bundle.version.unsigned_abs(),
        document: bundle.document,
        sha256: bundle.sha256,
        kid: signature.kid,
        signature: signature.signature,
    })
}

/// Contracts are no secret of one organisation: whoever administers anything may see the versions.
pub async fn list(tenancy: &Tenancy, caller: &Caller, after: Option<i32>, limit: i64) -> Result<Vec<Bundle>, Error> {
    if caller.horizon() == Some("") {
        return Err(Error::Forbidden);
    }
    store::list(&mut *tenancy.0.pool.acquire().await?, after, limit).await
}
