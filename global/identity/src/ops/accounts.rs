//! Users and service accounts.

use sqlx::PgConnection;
use uuid::Uuid;

use super::api_keys::{self, NewKey};
use crate::domain::access::{Caller, Role, State, SubjectKind};
use crate::domain::password;
use crate::error::Error;
use crate::store::members;
use crate::store::sessions::{self, Ending};
use crate::store::subjects::{self, Change, Subject};
use crate::{Identity, ops};

const MAX_NAME: usize = 200;

pub fn check_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    let well_formed = (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if well_formed {
        Ok(name.to_owned())
    } else {
        Err(Error::Invalid("a name has 1 to 200 characters, none of them a control character"))
    }
}

/// Refuses callers who may not create an account of this role there, and organisations that do not exist.
async fn may_create(identity: &Identity, caller: &Caller, organisation: Option<&str>, role: Role) -> Result<(), Error> {
    if !caller.administers(organisation) || !caller.may_give(role) {
        return Err(Error::Forbidden);
    }
    let Some(organisation) = organisation else {
        return if role == Role::OrganisationAdmin {
            Err(Error::Invalid("an organisation's administrator belongs to one"))
        } else {
            Ok(())
        };
    };
    match identity.0.directory.organisation_exists(organisation).await.map_err(Error::Directory)? {
        true => Ok(()),
        false => Err(Error::Invalid("the organisation does not exist")),
    }
}

/// The account, if the caller administers it: its organisation, and no higher role than the caller
/// could give, so that nobody takes over an account with more rights.
pub async fn administered(db: &mut PgConnection, caller: &Caller, id: Uuid) -> Result<Subject, Error> {
    let subject = subjects::find(db, id).await?.ok_or(Error::NotFound("account"))?;
    let allowed = caller.administers(subject.organisation.as_deref()) && caller.may_give(subject.role()?);
    if allowed { Ok(subject) } else { Err(Error::NotFound("account")) }
}

#[derive(Debug)]
pub struct NewUser {
    pub email: String,
    pub name: String,
    pub password: String,
    pub organisation: Option<String>,
    pub role: Role,
}

pub async fn create_user(identity: &Identity, caller: &Caller, new: NewUser) -> Result<Subject, Error> {
    may_create(identity, caller, new.organisation.as_deref(), new.role).await?;
    let email = password::normalise_email(&new.email).ok_or(Error::Invalid("the e-mail address is not well formed"))?;
    let name = check_name(&new.name)?;
    password::check(&new.password, &email)?;
    let hash = identity.0.hashing.hash(new.password).await?;
    let subject = fresh(SubjectKind::User, new.organisation, name, new.role, Some(email));
    let mut db = kit::database::begin(&identity.0.pool).await?;
    subjects::insert(&mut db, &subject, Some(&hash)).await?;
    db.commit().await?;
    Ok(subject)
}

/// The account and its first secret, which is shown this once.
pub async fn create_service_account(
    identity: &Identity,
    caller: &Caller,
    name: &str,
    organisation: Option<String>,
    role: Role,
) -> Result<(Subject, String), Error> {
    may_create(identity, caller, organisation.as_deref(), role).await?;
    let subject = fresh(SubjectKind::ServiceAccount, organisation, check_name(name)?, role, None);
    let mut db = kit::database::begin(&identity.0.pool).await?;
    subjects::insert(&mut db, &subject, None).await?;
    let (_, secret) = api_keys::add(&mut db, identity, NewKey::unlimited(subject.id, "first")).await?;
    db.commit().await?;
    Ok((subject, secret))
}

pub fn fresh(
    kind: SubjectKind,
    organisation: Option<String>,
    name: String,
    role: Role,
    email: Option<String>,
) -> Subject {
    Subject {
        id: Uuid::now_v7(),
        kind: kind.name().to_owned(),
        organisation,
        name,
        role: role.name().to_owned(),
        state: State::Active.name().to_owned(),
        email,
        created_at: ops::now(),
    }
}

/// Everybody for the platform's administrators, one's own organisation for its administrators.
pub async fn list(
    identity: &Identity,
    caller: &Caller,
    kind: SubjectKind,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Subject>, Error> {
    if caller.role == Role::Member {
        return Err(Error::Forbidden);
    }
    let (all, organisation) = (caller.role == Role::PlatformAdmin, caller.organisation.as_deref());
    subjects::list(&mut *identity.0.pool.acquire().await?, kind, all, organisation, after, limit).await
}

pub async fn find(identity: &Identity, caller: &Caller, kind: SubjectKind, id: Uuid) -> Result<Subject, Error> {
    let mut db = identity.0.pool.acquire().await?;
    let subject = subjects::find(&mut db, id).await?.filter(|s| s.kind() == kind).ok_or(Error::NotFound("account"))?;
    let allowed = subject.id == caller.subject || caller.administers(subject.organisation.as_deref());
    if allowed { Ok(subject) } else { Err(Error::NotFound("account")) }
}

#[derive(Debug, Default)]
pub struct Edit {
    pub name: Option<String>,
    pub role: Option<Role>,
    pub state: Option<State>,
    pub password: Option<String>,
}

/// Anything but a new name ends the account's sessions: their tokens say what no longer holds.
pub async fn edit(
    identity: &Identity,
    caller: &Caller,
    kind: SubjectKind,
    id: Uuid,
    edit: Edit,
) -> Result<Subject, Error> {
    let subject = administered(&mut *identity.0.pool.acquire().await?, caller, id).await?;
    if subject.kind() != kind {
        return Err(Error::NotFound("account"));
    }
    if edit.role.is_some_and(|role| !caller.may_give(role)) {
        return Err(Error::Forbidden);
    }
    if edit.role == Some(Role::OrganisationAdmin) && subject.organisation.is_none() {
        return Err(Error::Invalid("an organisation's administrator belongs to one"));
    }
    let password_hash = match (edit.password, kind) {
        (None, _) => None,
        (Some(_), SubjectKind::ServiceAccount) => return Err(Error::Invalid("a service account has no password")),
        (Some(password), SubjectKind::User) => {
            password::check(&password, subject.email.as_deref().unwrap_or_default())?;
            Some(identity.0.hashing.hash(password).await?)
        }
    };
    let name = edit.name.as_deref().map(check_name).transpose()?;
    let ends_sessions = password_hash.is_some() || edit.role.is_some() || edit.state.is_some();
    let change = Change { name, role: edit.role, state: edit.state, password_hash };
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let others = subjects::other_platform_admins(&mut db, id).await?;
    subjects::lock(&mut db, id).await?;
    // Hashing took its time: the account may have got more rights than the caller could give.
    let subject = administered(&mut db, caller, id).await?;
    let loses_platform = subject.role()? == Role::PlatformAdmin
        && (edit.state == Some(State::Suspended) || edit.role.is_some_and(|r| r != Role::PlatformAdmin));
    if loses_platform && others == 0 {
        return Err(Error::LastAdministrator);
    }
    let subject = subjects::update(&mut db, id, &change).await?.ok_or(Error::NotFound("account"))?;
    if ends_sessions {
        let now = ops::now();
        sessions::revoke(&mut db, Ending::OfSubject(id), now, ops::revoked_until(now)).await?;
    }
    db.commit().await?;
    Ok(subject)
}

pub async fn delete(identity: &Identity, caller: &Caller, kind: SubjectKind, id: Uuid) -> Result<(), Error> {
    let now = ops::now();
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let others = subjects::other_platform_admins(&mut db, id).await?;
    subjects::lock(&mut db, id).await?;
    let subject = administered(&mut db, caller, id).await?;
    if subject.kind() != kind {
        return Err(Error::NotFound("account"));
    }
    if subject.role()? == Role::PlatformAdmin && others == 0 {
        return Err(Error::LastAdministrator);
    }
    sessions::revoke(&mut db, Ending::OfSubject(id), now, ops::revoked_until(now)).await?;
    subjects::delete(&mut db, id).await?;
    Ok(db.commit().await?)
}

/// The caller's own account and its tenants.
pub async fn myself(identity: &Identity, caller: &Caller) -> Result<(Subject, Vec<String>), Error> {
    let mut db = identity.0.pool.acquire().await?;
    let subject = subjects::find(&mut db, caller.subject).await?.ok_or(Error::Unauthenticated)?;
    let tenants = members::tenants_of(&mut db, caller.subject, 1000).await?;
    Ok((subject, tenants))
}
