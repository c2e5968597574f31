//! What the bearer of a global token administers.

use contracts::Claims;
use contracts::claims::scope;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub subject: String,
    platform: bool,
    /// The organisation administered, if any.
    organisation: Option<String>,
}

impl Caller {
    /// Reads claims that were verified already. Scopes are whole words: `*` of a cell token means nothing here.
    pub fn from_claims(claims: &Claims) -> Self {
        let holds = |wanted: &str| claims.scp.split(' ').any(|s| s == wanted);
        Self {
            subject: claims.sub.clone(),
            platform: holds(scope::PLATFORM_ADMIN),
            organisation: claims.org.clone().filter(|_| holds(scope::ORGANISATION_ADMIN)),
        }
    }

    /// The plane itself, on what it was asked to do before.
    pub fn plane() -> Self {
        Self { subject: "tenancy".to_owned(), platform: true, organisation: None }
    }

    pub fn is_platform(&self) -> bool {
        self.platform
    }

    pub fn administers(&self, organisation: &str) -> bool {
        self.platform || self.organisation.as_deref() == Some(organisation)
    }

    /// What lists are narrowed to: `None` for the whole platform. A caller who administers nothing
    /// gets a name no organisation has.
    pub fn horizon(&self) -> Option<&str> {
        if self.platform { None } else { Some(self.organisation.as_deref().unwrap_or("")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::claims::AUDIENCE_GLOBAL;

    fn caller(scp: &str, org: Option<&str>) -> Caller {
        Caller::from_claims(&Claims {
            iss: String::new(),
            sub: "s".into(),
            tid: None,
            org: org.map(str::to_owned),
            scp: scp.into(),
            grp: vec![],
            mrk: vec![],
            sid: "s".into(),
            aud: AUDIENCE_GLOBAL.into(),
            iat: 0,
            exp: 0,
            jti: "j".into(),
        })
    }

    #[test]
    fn nobody_administers_by_belonging() {
        assert!(!caller("", Some("acme")).administers("acme"));
        assert!(!caller("*", Some("acme")).administers("acme"));
        assert!(caller("organisation:admin", Some("acme")).administers("acme"));
        assert!(!caller("organisation:admin", Some("acme")).administers("globex"));
        assert!(!caller("organisation:admin", None).administers(""));
        assert!(caller("platform:admin", None).administers("globex"));
        assert_eq!(caller("", Some("acme")).horizon(), Some(""));
    }
}
