//! People, devices and drives in the catalogue.
use std::ops::RangeInclusive;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::model::account::{Device, DeviceKind, Slug, TokenHash};
use crate::model::agent::Agent;
use crate::model::drive::{DriveId, DriveRole};
use crate::model::event::LineSum;
use crate::model::hash::ContentHash;
use crate::model::password::PasswordHash;
use crate::store::catalogue::read::{Reader, at, at_or_none, count, parsed};
use crate::store::catalogue::{CatalogueError, Tried, Tx, nanos};
use crate::store::manifest::Position;

/// A device with what is known of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// The device.
    pub device: Device,
    /// Keyed hash of its token.
    pub token: TokenHash,
    /// Since when it may sign in.
    pub created: Timestamp,
    /// Since when it may not.
    pub revoked: Option<Timestamp>,
    /// When it last signed in.
    pub last_seen: Option<Timestamp>,
    /// The program it last came with.
    pub app: Option<String>,
    /// Its version.
    pub app_version: Option<String>,
    /// Uploads of it that were here already.
    pub already: u64,
    /// Files it sent that still have their name.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A drive of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveRow {
    /// Its id.
    pub id: DriveId,
    /// Its role.
    pub role: DriveRole,
    /// How far its manifest is contained here.
    pub position: Position,
}

/// Bytes by day, counted in days since 1970; and when the first photo of all came.
pub type Received = (Vec<(i64, u64)>, Option<Timestamp>);

pub(super) fn add_person(tx: &Tx<'_>, name: &Slug, now: Timestamp) -> Result<(), CatalogueError> {
    tx.execute(
        "INSERT OR IGNORE INTO person (name, created) VALUES (?1, ?2)",
        params![name.as_str(), nanos(now)],
    )
    .tried("add a person")
    .map(drop)
}

pub(super) fn set_quota(
    tx: &Tx<'_>,
    person: &Slug,
    bytes: Option<u64>,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    add_person(tx, person, now)?;
    let bytes = bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    tx.execute("UPDATE person SET quota = ?2 WHERE name = ?1", params![person.as_str(), bytes])
        .tried("set a quota")
        .map(drop)
}

pub(super) fn set_password(
    tx: &Tx<'_>,
    person: &Slug,
    hash: Option<&PasswordHash>,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    add_person(tx, person, now)?;
    let hash = hash.map(PasswordHash::as_str);
    tx.execute("UPDATE person SET password = ?2 WHERE name = ?1", params![person.as_str(), hash])
        .tried("set a password")
        .map(drop)
}

pub(super) fn add_device(
    tx: &Tx<'_>,
    person: &Slug,
    name: &Slug,
    kind: DeviceKind,
    token: &TokenHash,
    now: Timestamp,
) -> Result<(), CatalogueError> {
    add_person(tx, person, now)?;
    tx.execute(
        "INSERT INTO device (person, name, kind, token, created) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (person, name) DO UPDATE SET kind = ?3, token = ?4, created = ?5, revoked = NULL",
        params![person.as_str(), name.as_str(), kind.as_str(), token.as_bytes(), nanos(now)],
    )
    .tried("add a device")
    .map(drop)
}

pub(super) fn revoke(tx: &Tx<'_>, person: &Slug, name: &Slug, now: Timestamp) -> Result<(), CatalogueError> {
    tx.execute(
        "UPDATE device SET revoked = ?3 WHERE person = ?1 AND name = ?2 AND revoked IS NULL",
        params![person.as_str(), name.as_str(), nanos(now)],
    )
    .tried("revoke a device")
    .map(drop)
}

/// Records when a device was last seen, with which program where that said so, and how many more of its uploads were here already.
/// Not an event: losing it costs nothing.
pub fn seen(
    tx: &Tx<'_>,
    device: &Device,
    now: Timestamp,
    agent: Option<&Agent>,
    already: u64,
) -> Result<(), CatalogueError> {
    let (app, version) = (agent.map(Agent::app), agent.and_then(Agent::version));
    tx.execute(
        "UPDATE device SET last_seen = ?3, already = already + ?6, app = coalesce(?4, app),
           app_version = CASE WHEN ?4 IS NULL THEN app_version ELSE ?5 END WHERE person = ?1 AND name = ?2",
        params![
            device.person.as_str(),
            device.name.as_str(),
            nanos(now),
            app,
            version,
            i64::try_from(already).unwrap_or(i64::MAX)
        ],
    )
    .tried("record a visit")
    .map(drop)
}

/// Makes a drive part of the pool, or changes its role.
pub fn put_drive(
    tx: &Tx<'_>,
    id: DriveId,
    role: DriveRole,
    adopted: Timestamp,
) -> Result<(), CatalogueError> {
    tx.execute(
        "INSERT INTO drive (id, role, adopted) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET role = ?2",
        params![id.to_string(), role.as_str(), nanos(adopted)],
    )
    .tried("store a drive")
    .map(drop)
}

/// A drive is used no more: nothing is wanted on it, and nothing on it counts.
pub(super) fn retire(tx: &Tx<'_>, id: DriveId, now: Timestamp) -> Result<(), CatalogueError> {
    let text = id.to_string();
    for table in ["copy", "leaving", "stale", "told"] {
        tx.execute(&format!("DELETE FROM {table} WHERE drive = ?1"), [&text]).tried("retire a drive")?;
    }
    tx.execute("DELETE FROM drive WHERE id = ?1", [&text]).tried("retire a drive")?;
    tx.execute("INSERT OR IGNORE INTO retired (drive, at) VALUES (?1, ?2)", params![text, nanos(now)])
        .tried("retire a drive")
        .map(drop)
}

impl Reader<'_> {
    /// Drives that are used no more, and since when.
    pub fn retired(&self) -> Result<Vec<(DriveId, Timestamp)>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT drive, at FROM retired ORDER BY drive")
            .and_then(|mut s| s.query_map([], |row| Ok((parsed(row, 0)?, at(row, 1)?)))?.collect())
            .tried("list retired drives")
    }

    /// All people, and since when.
    pub fn people_since(&self) -> Result<Vec<(Slug, Timestamp)>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT name, created FROM person ORDER BY rowid")
            .and_then(|mut s| s.query_map([], |row| Ok((parsed(row, 0)?, at(row, 1)?)))?.collect())
            .tried("list people")
    }

    /// All people, with the number of their devices, files and bytes.
    pub fn people(&self) -> Result<Vec<(Slug, u64, u64, u64)>, CatalogueError> {
        let people: Vec<(Slug, u64)> = self
            .connection
            .prepare_cached(
                "SELECT p.name, (SELECT count(*) FROM device d WHERE d.person = p.name AND d.revoked IS NULL)
                 FROM person p ORDER BY p.name",
            )
            .and_then(|mut s| s.query_map([], |row| Ok((parsed(row, 0)?, count(row, 1)?)))?.collect())
            .tried("list people")?;
        let mut full = Vec::with_capacity(people.len());
        for (name, devices) in people {
            let (files, bytes) = self.usage(&format!("{name}/"), &format!("{name}0"))?;
            full.push((name, devices, files, bytes));
        }
        Ok(full)
    }

    /// Files and bytes below a person's folder, by the range of its fold keys.
    fn usage(&self, from: &str, to: &str) -> Result<(u64, u64), CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT count(*), coalesce(sum(size), 0) FROM name
                 WHERE fold >= ?1 AND fold < ?2 AND shelf = 'photos' AND hash IS NOT NULL",
            )
            .and_then(|mut s| s.query_row([from, to], |row| Ok((count(row, 0)?, count(row, 1)?))))
            .tried("count files")
    }

    /// A person's quota, if there is one.
    pub fn quota(&self, person: &Slug) -> Result<Option<u64>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT quota FROM person WHERE name = ?1 AND quota IS NOT NULL")
            .and_then(|mut s| s.query_row([person.as_str()], |row| count(row, 0)).optional())
            .tried("look a quota up")
    }

    /// Everybody with a quota.
    pub fn quotas(&self) -> Result<Vec<(Slug, u64)>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT name, quota FROM person WHERE quota IS NOT NULL ORDER BY name")
            .and_then(|mut s| s.query_map([], |row| Ok((parsed(row, 0)?, count(row, 1)?)))?.collect())
            .tried("list quotas")
    }

    /// The hash of a person's password, if there is one.
    pub fn password(&self, person: &Slug) -> Result<Option<PasswordHash>, CatalogueError> {
        Ok(self.passwords()?.into_iter().find(|(name, _)| name == person).map(|(_, hash)| hash))
    }

    /// Everybody with a password, and its hash.
    pub fn passwords(&self) -> Result<Vec<(Slug, PasswordHash)>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT name, password FROM person WHERE password IS NOT NULL ORDER BY name")
            .and_then(|mut s| s.query_map([], |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))?.collect())
            .tried("list passwords")
    }

    /// Whether there is anybody.
    pub fn has_people(&self) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM person)")
            .and_then(|mut s| s.query_row([], |row| row.get(0)))
            .tried("look for people")
    }

    /// The first of all people who have a password. First in the order in which they came, whatever the clock said: a Pi has none of its own.
    pub fn first_with_password(&self) -> Result<Option<Slug>, CatalogueError> {
        let first = "SELECT name FROM person WHERE password IS NOT NULL ORDER BY rowid LIMIT 1";
        self.connection
            .prepare_cached(first)
            .and_then(|mut s| s.query_row([], |row| parsed(row, 0)).optional())
            .tried("find the first person with a password")
    }

    /// Bytes of the different contents under a person's names: what is there twice is used once.
    pub fn used_by(&self, person: &Slug) -> Result<u64, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT coalesce(sum(size), 0) FROM (SELECT DISTINCT hash, size FROM name
                 WHERE fold >= ?1 AND fold < ?2 AND shelf = 'photos' AND hash IS NOT NULL)",
            )
            .and_then(|mut s| s.query_row([format!("{person}/"), format!("{person}0")], |row| count(row, 0)))
            .tried("count what a person uses")
    }

    /// Whether a person has a file of one of these sizes.
    pub fn has_file_of(&self, person: &Slug, sizes: &RangeInclusive<u64>) -> Result<bool, CatalogueError> {
        let size = |bytes: &u64| i64::try_from(*bytes).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM name WHERE fold >= ?1 AND fold < ?2 AND shelf = 'photos' AND hash IS NOT NULL
                 AND size BETWEEN ?3 AND ?4)",
            )
            .and_then(|mut s| {
                let (from, to) = (format!("{person}/"), format!("{person}0"));
                s.query_row(params![from, to, size(sizes.start()), size(sizes.end())], |row| row.get(0))
            })
            .tried("look for a file by its size")
    }

    /// Whether a person has this content under any name.
    pub fn has_content(&self, person: &Slug, content: &ContentHash) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM name WHERE hash = ?3 AND fold >= ?1 AND fold < ?2 AND shelf = 'photos')",
            )
            .and_then(|mut s| {
                let (from, to) = (format!("{person}/"), format!("{person}0"));
                s.query_row(params![from, to, content.as_bytes()], |row| row.get(0))
            })
            .tried("look for a person's content")
    }

    /// What came on each day from `from` on.
    pub fn received_by_day(&self, from: Timestamp) -> Result<Received, CatalogueError> {
        let first = self
            .connection
            .prepare_cached("SELECT min(received) FROM name WHERE shelf = 'photos' AND hash IS NOT NULL")
            .and_then(|mut s| s.query_row([], |row| at_or_none(row, 0)))
            .tried("find the first photo")?;
        let days = self
            .connection
            .prepare_cached(
                "SELECT received / 86400000000000, sum(size) FROM name
                 WHERE received >= ?1 AND shelf = 'photos' AND hash IS NOT NULL GROUP BY 1",
            )
            .and_then(|mut s| s.query_map([nanos(from)], |row| Ok((row.get(0)?, count(row, 1)?)))?.collect())
            .tried("count what came by day")?;
        Ok((days, first))
    }

    /// Whether a person exists.
    pub fn has_person(&self, name: &Slug) -> Result<bool, CatalogueError> {
        self.connection
            .prepare_cached("SELECT 1 FROM person WHERE name = ?1")
            .and_then(|mut s| s.exists([name.as_str()]))
            .tried("look a person up")
    }

    /// All devices.
    pub fn devices(&self) -> Result<Vec<DeviceRow>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT d.person, d.name, d.kind, d.token, d.created, d.revoked, d.last_seen, d.app,
                   d.app_version, d.already FROM device d
                 ORDER BY d.person, d.name",
            )
            .and_then(|mut s| {
                s.query_map([], |row| {
                    Ok(DeviceRow {
                        device: Device {
                            person: parsed(row, 0)?,
                            name: parsed(row, 1)?,
                            kind: parsed(row, 2)?,
                        },
                        token: TokenHash::from_bytes(row.get(3)?),
                        created: at(row, 4)?,
                        revoked: at_or_none(row, 5)?,
                        last_seen: at_or_none(row, 6)?,
                        app: row.get(7)?,
                        app_version: row.get(8)?,
                        already: count(row, 9)?,
                        files: 0,
                        bytes: 0,
                    })
                })?
                .collect()
            })
            .tried("list devices")
    }

    /// Files and bytes by the device that sent them.
    pub fn usage_by_device(&self) -> Result<Vec<(String, u64, u64)>, CatalogueError> {
        self.connection
            .prepare_cached(
                "SELECT by, count(*), coalesce(sum(size), 0) FROM name
                 WHERE shelf = 'photos' AND hash IS NOT NULL GROUP BY by",
            )
            .and_then(|mut s| {
                s.query_map([], |row| Ok((row.get(0)?, count(row, 1)?, count(row, 2)?)))?.collect()
            })
            .tried("count by device")
    }

    /// All drives of the pool.
    pub fn drives(&self) -> Result<Vec<DriveRow>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT id, role, seq, sum FROM drive ORDER BY role DESC, id")
            .and_then(|mut s| {
                s.query_map([], |row| {
                    let sum: String = row.get(3)?;
                    Ok(DriveRow {
                        id: parsed(row, 0)?,
                        role: parsed(row, 1)?,
                        position: Position {
                            seq: count(row, 2)?,
                            sum: LineSum::parse(&sum).unwrap_or(LineSum::START),
                        },
                    })
                })?
                .collect()
            })
            .tried("list drives")
    }

    /// One drive of the pool.
    pub fn drive(&self, id: DriveId) -> Result<Option<DriveRow>, CatalogueError> {
        Ok(self.drives()?.into_iter().find(|d| d.id == id))
    }

    /// A value of the `meta` table.
    pub fn meta(&self, key: &str) -> Result<Option<String>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT value FROM meta WHERE key = ?1")
            .and_then(|mut s| s.query_row([key], |row| row.get(0)).optional())
            .tried("read a fact")
    }

    /// All values of the `meta` table whose keys begin so, with their keys.
    pub fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, CatalogueError> {
        self.connection
            .prepare_cached("SELECT key, value FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")
            .and_then(|mut s| s.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .tried("read facts")
    }
}

/// Takes a value of the `meta` table away.
pub fn forget_meta(tx: &Tx<'_>, key: &str) -> Result<(), CatalogueError> {
    tx.execute("DELETE FROM meta WHERE key = ?1", [key]).tried("forget a fact").map(drop)
}

/// Sets a value of the `meta` table.
pub fn set_meta(tx: &Tx<'_>, key: &str, value: &str) -> Result<(), CatalogueError> {
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", [key, value])
        .tried("store a fact")
        .map(drop)
}
