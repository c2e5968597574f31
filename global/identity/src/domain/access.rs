//! Who may do what in the global plane.

use contracts::Claims;
use contracts::claims::scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Member,
    OrganisationAdmin,
    PlatformAdmin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::OrganisationAdmin => "organisation_admin",
            Role::PlatformAdmin => "platform_admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Role::Member, Role::OrganisationAdmin, Role::PlatformAdmin].into_iter().find(|r| r.name() == text)
    }

    /// What a global token of this role carries.
    pub fn scope(self) -> &'static str {
        match self {
            Role::Member => "",
            Role::OrganisationAdmin => scope::ORGANISATION_ADMIN,
            Role::PlatformAdmin => scope::PLATFORM_ADMIN,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    User,
    ServiceAccount,
}

impl SubjectKind {
    pub fn name(self) -> &'static str {
        match self {
            SubjectKind::User => "user",
            SubjectKind::ServiceAccount => "service_account",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Active,
    Suspended,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Suspended => "suspended",
        }
    }
}

/// The verified bearer of a global token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub subject: Uuid,
    pub sid: Uuid,
    pub organisation: Option<String>,
    pub role: Role,
}

impl Caller {
    /// Reads claims whose signature, audience and time were checked already.
    pub fn from_claims(claims: &Claims) -> Option<Self> {
        let holds = |wanted: &str| claims.scp.split(' ').any(|s| s == wanted);
        let role = if holds(scope::PLATFORM_ADMIN) {
            Role::PlatformAdmin
        } else if holds(scope::ORGANISATION_ADMIN) {
            Role::OrganisationAdmin
        } else {
            Role::Member
        };
        Some(Self {
            subject: claims.sub.parse().ok()?,
            sid: claims.sid.parse().ok()?,
            organisation: claims.org.clone(),
            role,
        })
    }

    /// Whether the caller administers what belongs to `organisation`; `None` is the platform itself.
    pub fn administers(&self, organisation: Option<&str>) -> bool {
        match self.role {
            Role::PlatformAdmin => true,
            Role::OrganisationAdmin => organisation.is_some() && organisation == self.organisation.as_deref(),
            Role::Member => false,
        }
    }

    /// Whether the caller may give somebody `role`: nobody hands out more than they hold.
    pub fn may_give(&self, role: Role) -> bool {
        match role {
            Role::PlatformAdmin => self.role == Role::PlatformAdmin,
            Role::OrganisationAdmin | Role::Member => self.role != Role::Member,
        }
    }
}

/// Scopes were asked for that the subject does not hold, or that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeRefused;

/// The scopes of a new token: what the membership grants, within the key's `limit` (if it has one),
/// within what was `requested` (all, if nothing was).
pub fn grant(granted: &[String], limit: Option<&[String]>, requested: Option<&str>) -> Result<String, ScopeRefused> {
    let all = |list: &[String]| list.iter().any(|s| s == scope::ALL);
    let held: Vec<String> = match limit {
        None => granted.to_vec(),
        Some(limit) if all(limit) => granted.to_vec(),
        Some(limit) if all(granted) => limit.to_vec(),
        Some(limit) => limit.iter().filter(|s| granted.contains(s)).cloned().collect(),
    };
    let mut wanted: Vec<&str> = requested.unwrap_or_default().split_ascii_whitespace().collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return if held.is_empty() { Err(ScopeRefused) } else { Ok(held.join(" ")) };
    }
    let allowed = |s: &&str| scope::TENANT.contains(s) && (all(&held) || held.iter().any(|h| h == s));
    if wanted.iter().all(allowed) { Ok(wanted.join(" ")) } else { Err(ScopeRefused) }
}

/// Refuses an empty list and scopes that do not exist; answers them sorted, each once.
pub fn check_scopes(mut scopes: Vec<String>) -> Result<Vec<String>, ScopeRefused> {
    scopes.sort();
    scopes.dedup();
    let known = |s: &String| scope::TENANT.contains(&s.as_str());
    if scopes.is_empty() || !scopes.iter().all(known) { Err(ScopeRefused) } else { Ok(scopes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_token_never_holds_more_than_its_membership_and_its_key() {
        assert_eq!(grant(&list("*"), None, None), Ok("*".into()));
        assert_eq!(grant(&list("*"), None, Some("sql:read")), Ok("sql:read".into()));
        assert_eq!(grant(&list("sql:read streams:read"), None, Some("sql:read")), Ok("sql:read".into()));
        assert_eq!(grant(&list("sql:read"), None, Some("streams:read")), Err(ScopeRefused));
        assert_eq!(grant(&list("sql:read"), None, Some("*")), Err(ScopeRefused));
        assert_eq!(grant(&list("*"), Some(&list("sql:read")), None), Ok("sql:read".into()));
        assert_eq!(grant(&list("*"), Some(&list("sql:read")), Some("*")), Err(ScopeRefused));
        assert_eq!(grant(&list("sql:read"), Some(&list("streams:read")), None), Err(ScopeRefused));
        assert_eq!(grant(&list("sql:read"), Some(&list("*")), None), Ok("sql:read".into()));
        assert_eq!(grant(&list("*"), None, Some("platform:admin")), Err(ScopeRefused));
    }

    #[test]
    fn an_administrator_stays_in_its_organisation() {
        let caller = |role, organisation: Option<&str>| Caller {
            subject: Uuid::nil(),
            sid: Uuid::nil(),
            organisation: organisation.map(str::to_owned),
            role,
        };
        let admin = caller(Role::OrganisationAdmin, Some("acme"));
        assert!(admin.administers(Some("acme")));
        assert!(!admin.administers(Some("globex")));
        assert!(!admin.administers(None));
        assert!(!admin.may_give(Role::PlatformAdmin));
        assert!(!caller(Role::OrganisationAdmin, None).administers(None));
        assert!(!caller(Role::Member, Some("acme")).administers(Some("acme")));
        assert!(caller(Role::PlatformAdmin, None).administers(Some("acme")));
    }
}
