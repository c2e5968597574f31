//! Users and service accounts.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::access::{Role, State, SubjectKind};
use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Subject {
    pub id: Uuid,
    pub kind: String,
    pub organisation: Option<String>,
    pub name: String,
    pub role: String,
    pub state: String,
    pub email: Option<String>,
    pub created_at: OffsetDateTime,
}

impl Subject {
    pub fn role(&self) -> Result<Role, Error> {
        Role::parse(&self.role).ok_or(Error::Broken("a stored role is not known"))
    }

    pub fn kind(&self) -> SubjectKind {
        if self.kind == SubjectKind::User.name() { SubjectKind::User } else { SubjectKind::ServiceAccount }
    }

    pub fn state(&self) -> State {
        if self.state == State::Active.name() { State::Active } else { State::Suspended }
    }
}

pub async fn insert(db: &mut PgConnection, subject: &Subject, password_hash: Option<&str>) -> Result<(), Error> {
    sqlx::query(
        "insert into subjects (id, kind, organisation, name, role, state, email, password_hash, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(subject.id)
    .bind(&subject.kind)
    .bind(&subject.organisation)
    .bind(&subject.name)
    .bind(&subject.role)
    .bind(&subject.state)
    .bind(&subject.email)
    .bind(password_hash)
    .bind(subject.created_at)
    .execute(db)
    .await
    .map_err(|error| Error::exists(error, "account"))?;
    Ok(())
}

pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<Subject>, Error> {
    let row = sqlx::query_as(
        "select id, kind, organisation, name, role, state, email, created_at from subjects where id = $1",
    );
    Ok(row.bind(id).fetch_optional(db).await?)
}

/// As [`find`], and held as it is to the end of the transaction: a token that is being minted and
/// a suspension wait for each other, so that no session is opened behind the suspension's back.
pub async fn hold(db: &mut PgConnection, id: Uuid) -> Result<Option<Subject>, Error> {
    let row = sqlx::query_as(
        "select id, kind, organisation, name, role, state, email, created_at from subjects where id = $1 for share",
    );
    Ok(row.bind(id).fetch_optional(db).await?)
}

/// For a change to the account. After [`other_platform_admins`], never before it: one order of locks.
pub async fn lock(db: &mut PgConnection, id: Uuid) -> Result<(), Error> {
    sqlx::query("select 1 from subjects where id = $1 for update").bind(id).execute(db).await?;
    Ok(())
}

/// Id and password hash of an active user.
pub async fn password_of(db: &mut PgConnection, email: &str) -> Result<Option<(Uuid, String)>, Error> {
    let row = sqlx::query_as(
        "select id, password_hash from subjects
         where email = $1 and kind = 'user' and state = 'active' and password_hash is not null",
    );
    Ok(row.bind(email).fetch_optional(db).await?)
}

/// One page of one kind: of everybody (`all`), or of one organisation.
pub async fn list(
    db: &mut PgConnection,
    kind: SubjectKind,
    all: bool,
    organisation: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Subject>, Error> {
    let rows = sqlx::query_as(
        "select id, kind, organisation, name, role, state, email, created_at from subjects
         where kind = $1 and ($2 or organisation = $3) and ($4::uuid is null or id > $4)
         order by id limit $5",
    );
    Ok(rows.bind(kind.name()).bind(all).bind(organisation).bind(after).bind(limit).fetch_all(db).await?)
}

/// What an administrator may change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub name: Option<String>,
    pub role: Option<Role>,
    pub state: Option<State>,
    pub password_hash: Option<String>,
}

pub async fn update(db: &mut PgConnection, id: Uuid, change: &Change) -> Result<Option<Subject>, Error> {
    let row = sqlx::query_as(
        "update subjects set name = coalesce($2, name), role = coalesce($3, role), state = coalesce($4, state),
                password_hash = coalesce($5, password_hash)
         where id = $1
         returning id, kind, organisation, name, role, state, email, created_at",
    );
    Ok(row
        .bind(id)
        .bind(&change.name)
        .bind(change.role.map(Role::name))
        .bind(change.state.map(State::name))
        .bind(&change.password_hash)
        .fetch_optional(db)
        .await?)
}

pub async fn delete(db: &mut PgConnection, id: Uuid) -> Result<bool, Error> {
    let done = sqlx::query("delete from subjects where id = $1").bind(id).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Active platform administrators other than `id`; the rows stay locked, so that two
/// administrators cannot remove each other at the same time.
pub async fn other_platform_admins(db: &mut PgConnection, id: Uuid) -> Result<usize, Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as(
        "select id from subjects where role = 'platform_admin' and state = 'active' order by id for update",
    )
    .fetch_all(db)
    .await?;
    Ok(rows.iter().filter(|(other,)| *other != id).count())
}

/// The oldest service account of the platform itself with this name.
pub async fn platform_account(db: &mut PgConnection, name: &str) -> Result<Option<Uuid>, Error> {
    let row: Option<(Uuid,)> = sqlx::query_as(
        "select id from subjects
         where kind = 'service_account' and organisation is null and role = 'platform_admin' and name = $1
         order by id limit 1",
    )
    .bind(name)
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(id,)| id))
}

/// Held to the end of the transaction: only one process sets the platform up.
pub async fn lock_bootstrap(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('identity/bootstrap'))").execute(db).await?;
    Ok(())
}
