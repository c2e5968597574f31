//! Temporary credentials that reach one tenant's part of the bucket and nothing else.
//!
//! STS `AssumeRole` at the bucket's own endpoint, with a session policy: what is vended is the
//! intersection of the role's rights and the policy. The cell's own keys never leave the cell.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use contracts::TenantId;
use hmac::{Hmac, Mac};
use kit::Secret;
use kit::service::BucketEndpoint;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio::sync::Mutex;

use crate::error::{Error, Result};

/// Seconds a set of credentials is good for.
const LIFETIME_SECONDS: u32 = 3600;
/// A cached set is vended again while it has at least this long to live: a client may be at the
/// beginning of a long read.
const LEAST_LEFT: time::Duration = time::Duration::minutes(30);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tenants times rights kept at once; the oldest go first.
const CACHED: usize = 4096;

/// What the holder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rights {
    Read,
    ReadWrite,
}

#[derive(Debug, Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret: Secret,
    pub session_token: Secret,
    pub expires: OffsetDateTime,
}

/// Vends credentials for one bucket.
#[derive(Debug)]
pub struct Vendor {
    client: reqwest::Client,
    endpoint: BucketEndpoint,
    role: String,
    cache: Mutex<HashMap<(TenantId, Rights), Credentials>>,
}

impl Vendor {
    /// `None` when the bucket names no role to assume: then nothing is vended.
    pub fn new(endpoint: &BucketEndpoint) -> Result<Option<Self>> {
        let Some(role) = endpoint.role_arn.clone() else { return Ok(None) };
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| Error::Unreachable(error.into()))?;
        Ok(Some(Self { client, endpoint: endpoint.clone(), role, cache: Mutex::default() }))
    }

    /// Credentials for `t/<tenant>/`, from the cache while they live long enough.
    pub async fn vend(&self, tenant: &TenantId, rights: Rights) -> Result<Credentials> {
        let key = (tenant.clone(), rights);
        if let Some(found) = self.fresh(&key).await {
            return Ok(found);
        }
        let made = self.assume(tenant, rights).await?;
        let mut cache = self.cache.lock().await;
        if cache.len() >= CACHED {
            let now = OffsetDateTime::now_utc();
            cache.retain(|_, held| held.expires - now > LEAST_LEFT);
        }
        if cache.len() < CACHED {
            cache.insert(key, made.clone());
        }
        Ok(made)
    }

    async fn fresh(&self, key: &(TenantId, Rights)) -> Option<Credentials> {
        let cache = self.cache.lock().await;
        cache.get(key).filter(|held| held.expires - OffsetDateTime::now_utc() > LEAST_LEFT).cloned()
    }

    async fn assume(&self, tenant: &TenantId, rights: Rights) -> Result<Credentials> {
        let duration = LIFETIME_SECONDS.to_string();
        let policy = policy(&self.endpoint.name, tenant, rights);
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.role)
            .append_pair("RoleSessionName", tenant.as_str())
            .append_pair("DurationSeconds", &duration)
            .append_pair("Policy", &policy)
            .finish();
        let url = url::Url::parse(&self.endpoint.endpoint).map_err(|_| Error::Endpoint("it is not a URL"))?;
        let signed = Signed::post(&url, &self.endpoint, &body, OffsetDateTime::now_utc())?;
        let response = self
            .client
            .post(url)
            .header("content-type", FORM)
            .header("x-amz-date", signed.date)
            .header("authorization", signed.authorization)
            .body(body)
            .send()
            .await
            .map_err(|error| Error::Unreachable(error.into()))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| Error::Answer(error.into()))?;
        if !status.is_success() {
            let code = element(&text, "Code").unwrap_or("no code");
            return Err(Error::Credentials(format!("STS answered {status} {code}")));
        }
        answer(&text).ok_or_else(|| Error::Credentials("STS gave an answer without credentials".to_owned()))
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn policy(bucket: &str, tenant: &TenantId, rights: Rights) -> String {
    let objects: &[&str] = match rights {
        Rights::Read => &["s3:GetObject"],
        Rights::ReadWrite => &[
            "s3:GetObject",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ],
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": objects, "Resource": format!("arn:aws:s3:::{bucket}/t/{tenant}/*") },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": format!("arn:aws:s3:::{bucket}"),
                "Condition": { "StringLike": { "s3:prefix": [format!("t/{tenant}/*")] } },
            },
        ],
    })
    .to_string()
}

/// The text of the first element of this name; STS answers are flat enough for that.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

fn answer(xml: &str) -> Option<Credentials> {
    Some(Credentials {
        access_key: element(xml, "AccessKeyId")?.to_owned(),
        secret: Secret::new(element(xml, "SecretAccessKey")?),
        session_token: Secret::new(element(xml, "SessionToken")?),
        expires: OffsetDateTime::parse(element(xml, "Expiration")?, &Rfc3339).ok()?,
    })
}

/// AWS Signature Version 4 of one form post.
struct Signed {
    date: String,
    authorization: String,
}

impl Signed {
    fn post(url: &url::Url, endpoint: &BucketEndpoint, body: &str, now: OffsetDateTime) -> Result<Self> {
        let unusable = |_| Error::Endpoint("its requests cannot be dated");
        let date = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).map_err(unusable)?;
        let day = date.get(..8).unwrap_or_default();
        let name = url.host_str().ok_or(Error::Endpoint("it names no host"))?;
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let payload = hex(&Sha256::digest(body.as_bytes()));
        let canonical = format!(
            "POST\n/\n\ncontent-type:{FORM}\nhost:{host}\nx-amz-date:{date}\n\ncontent-type;host;x-amz-date\n{payload}"
        );
        let scope = format!("{day}/{}/sts/aws4_request", endpoint.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut key = format!("AWS4{}", endpoint.secret.expose()).into_bytes();
        for part in [day, endpoint.region.as_str(), "sts", "aws4_request", to_sign.as_str()] {
            key = mac(&key, part)?;
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=content-type;host;x-amz-date, Signature={}",
            endpoint.access_key,
            hex(&key)
        );
        Ok(Self { date, authorization })
    }
}

fn mac(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::Endpoint("its secret cannot sign"))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_one_tenant_only() {
        let acme = TenantId::new("acme").unwrap();
        let read: serde_json::Value = serde_json::from_str(&policy("warehouse", &acme, Rights::Read)).unwrap();
        assert_eq!(read.pointer("/Statement/0/Resource").unwrap(), "arn:aws:s3:::warehouse/t/acme/*");
        assert_eq!(read.pointer("/Statement/1/Condition/StringLike/s3:prefix/0").unwrap(), "t/acme/*");
        assert!(!read.to_string().contains("PutObject"));
        assert!(policy("warehouse", &acme, Rights::ReadWrite).contains("s3:PutObject"));
    }

    #[test]
    fn an_sts_answer_is_read() {
        let xml = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey>\
                   <SessionToken>ST</SessionToken><Expiration>2026-11-23T10:00:00.123Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let read = answer(xml).unwrap();
        assert_eq!((read.access_key.as_str(), read.session_token.expose()), ("AK", "ST"));
        assert!(answer("<Credentials/>").is_none());
        assert!(!format!("{read:?}").contains("SK"));
    }
}
