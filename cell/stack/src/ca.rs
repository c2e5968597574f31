//! The site's certificate authority and everybody's certificate: who a process is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;

use crate::error::{At, Error, Result};
use crate::files::{private_dir, write_private};

const CA_LIFE: Duration = Duration::days(3650);
const LIFE: Duration = Duration::days(397);
/// Renewed at a start when less than this is left.
const RENEW_WITHIN: Duration = Duration::days(30);
/// Clocks differ a little.
const BACKDATED: Duration = Duration::hours(1);

/// The authority; its key never leaves `<state>/ca`.
pub struct Authority {
    dir: PathBuf,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Whose certificate: `spiffe://cytoplane/<part>/<service>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub part: String,
    pub service: String,
    /// The address it listens on.
    pub address: IpAddr,
    /// Names besides its own and `localhost`.
    pub names: Vec<String>,
}

impl Subject {
    pub fn new(part: &str, service: &str, address: IpAddr) -> Self {
        Self { part: part.to_owned(), service: service.to_owned(), address, names: Vec::new() }
    }

    fn dns_names(&self) -> Vec<String> {
        let own = format!("{}.{}.cytoplane.internal", self.service, self.part);
        [own, "localhost".to_owned()].into_iter().chain(self.names.clone()).collect()
    }
}

fn refused(error: impl ToString) -> Error {
    Error::refused("a certificate cannot be made", error)
}

impl Authority {
    /// Opens the authority of `dir`; makes it if there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        private_dir(dir)?;
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key.pem"));
        if !certificate.exists() || !key.exists() {
            make_authority(&certificate, &key)?;
        }
        let certificate_pem = std::fs::read_to_string(&certificate).at("cannot read", &certificate)?;
        let key = KeyPair::from_pem(&std::fs::read_to_string(&key).at("cannot read", &key)?).map_err(refused)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(refused)?;
        Ok(Self { dir: dir.to_owned(), certificate_pem, issuer })
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Writes `<identity>/ca.pem` and `<identity>/<service>/{cert,key}.pem`, unless a good one is there.
    pub fn issue(&self, identity: &Path, subject: &Subject) -> Result<()> {
        let dir = identity.join(&subject.service);
        private_dir(&dir)?;
        let authority_changed = write_private(&identity.join("ca.pem"), self.certificate_pem.as_bytes())?;
        let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        if !authority_changed && key.exists() && is_good(&certificate, subject) {
            return Ok(());
        }
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let signed = parameters(subject)?.signed_by(&pair, &self.issuer).map_err(refused)?;
        write_private(&key, pair.serialize_pem().as_bytes())?;
        write_private(&certificate, signed.pem().as_bytes()).map(|_| ())
    }
}

fn make_authority(certificate: &Path, key: &Path) -> Result<()> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "Cytoplane site CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = OffsetDateTime::now_utc() - BACKDATED;
    parameters.not_after = OffsetDateTime::now_utc() + CA_LIFE;
    let signed = parameters.self_signed(&pair).map_err(refused)?;
    write_private(key, pair.serialize_pem().as_bytes())?;
    write_private(certificate, signed.pem().as_bytes()).map(|_| ())
}

fn parameters(subject: &Subject) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(subject.dns_names()).map_err(refused)?;
    // Chance enough to tell a site's certificates apart; the router's proxy writes its own out for every request.
    parameters.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 8]>()));
    let spiffe = contracts::services::spiffe_id(&subject.part, &subject.service);
    parameters.subject_alt_names.push(SanType::URI(spiffe.try_into().map_err(refused)?));
    parameters.subject_alt_names.push(SanType::IpAddress(subject.address));
    parameters.distinguished_name.push(DnType::CommonName, format!("{}/{}", subject.part, subject.service));
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    parameters.not_before = OffsetDateTime::now_utc() - BACKDATED;
    parameters.not_after = OffsetDateTime::now_utc() + LIFE;
    Ok(parameters)
}

/// Not near its end, and for the same names and address.
fn is_good(path: &Path, subject: &Subject) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let Ok((_, pem)) = parse_x509_pem(&bytes) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let left = certificate.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp();
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let has = |wanted: &str| {
        names.value.general_names.iter().any(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(n) | x509_parser::extensions::GeneralName::URI(n) => {
                *n == wanted
            }
            x509_parser::extensions::GeneralName::IPAddress(ip) => match subject.address {
                IpAddr::V4(v4) => **ip == v4.octets() && wanted == v4.to_string(),
                IpAddr::V6(v6) => **ip == v6.octets() && wanted == v6.to_string(),
            },
            _ => false,
        })
    };
    left > RENEW_WITHIN.whole_seconds()
        && has(&contracts::services::spiffe_id(&subject.part, &subject.service))
        && has(&subject.address.to_string())
        && subject.dns_names().iter().all(|name| has(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(address: &str) -> Subject {
        Subject::new("shared-1", "gateway", address.parse().unwrap())
    }

    #[test]
    fn a_good_certificate_is_kept_and_another_address_makes_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(&dir.path().join("ca")).unwrap();
        let identity = dir.path().join("identity");
        let read = || std::fs::read_to_string(identity.join("gateway/cert.pem")).unwrap();
        authority.issue(&identity, &subject("127.0.2.1")).unwrap();
        let first = read();
        Authority::open(&dir.path().join("ca")).unwrap().issue(&identity, &subject("127.0.2.1")).unwrap();
        assert_eq!(read(), first);
        authority.issue(&identity, &subject("127.0.2.2")).unwrap();
        assert_ne!(read(), first);
    }

    #[test]
    fn a_certificate_says_who_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(&dir.path().join("ca")).unwrap();
        authority.issue(dir.path(), &subject("127.0.2.1")).unwrap();
        assert!(is_good(&dir.path().join("gateway/cert.pem"), &subject("127.0.2.1")));
        let other = Subject::new("dedicated-1", "gateway", "127.0.2.1".parse().unwrap());
        assert!(!is_good(&dir.path().join("gateway/cert.pem"), &other));
    }

    #[test]
    fn a_new_authority_replaces_every_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let identity = dir.path().join("identity");
        Authority::open(&dir.path().join("ca")).unwrap().issue(&identity, &subject("127.0.2.1")).unwrap();
        let first = std::fs::read(identity.join("gateway/cert.pem")).unwrap();
        Authority::open(&dir.path().join("ca2")).unwrap().issue(&identity, &subject("127.0.2.1")).unwrap();
        assert_ne!(std::fs::read(identity.join("gateway/cert.pem")).unwrap(), first);
    }
}
