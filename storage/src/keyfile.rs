//! Private keys in files, sealed by a passphrase (`DESIGN.md`, Private keys).
//!
//! Invariant: a key file is whole or absent, readable by its owner alone, and never written a second time; what a file asks
//! of memory and time is bounded before it is granted. Knows only how long each kind's secrets are, not what they open.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobs::canonical::{canonical, parse};
use jobs::failure::{Class, Classified};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use crate::disk::{DiskError, create_private};
use crate::key::random;
use crate::site::file::open_regular;

const FORMAT: &str = "wakachi.key/1";
/// A key file has some 400 bytes; more is not read.
const FILE_BYTES_MAX: u64 = 1 << 16;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// What the passphrase of a new file costs to try.
const COST: Cost = Cost { memory_kib: 65_536, passes: 3, lanes: 1 };
/// The most that a file may ask for: 1 GiB and some seconds.
const COST_MAX: Cost = Cost { memory_kib: 1 << 20, passes: 16, lanes: 16 };

/// What a file keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519 seed ‖ ML-DSA-65 seed ‖ index key, 96 bytes.
    Sealer,
    /// Ed25519 seed ‖ ML-DSA-65 seed, 64 bytes.
    Identity,
    /// X-Wing seed of a custodian's epoch, 32 bytes.
    Epoch,
    /// X-Wing seed of one restore, 32 bytes.
    OneTime,
}

impl Kind {
    /// As the file says it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Sealer => "sealer",
            Kind::Identity => "identity",
            Kind::Epoch => "epoch",
            Kind::OneTime => "one-time",
        }
    }

    /// Bytes of its secrets.
    pub const fn secret_bytes(self) -> usize {
        match self {
            Kind::Sealer => 96,
            Kind::Identity => 64,
            Kind::Epoch | Kind::OneTime => 32,
        }
    }
}

/// Writes a new key file. `name` says whose it is, for people. When it returns, the file survives a crash; where one is
/// already, nothing is written. Panics unless `secrets` has [`Kind::secret_bytes`].
pub fn write(
    path: &Path,
    kind: Kind,
    name: &str,
    secrets: &[u8],
    passphrase: &str,
) -> Result<(), KeyFileError> {
    write_at_cost(path, kind, name, secrets, passphrase, COST)
}

/// The secrets of a key file of this kind.
pub fn read(path: &Path, kind: Kind, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let bytes = load(path)?;
    let malformed = || KeyFileError::Malformed { path: path.to_owned() };
    let sealed = SealedKey::parse(&bytes).ok_or_else(malformed)?;
    if sealed.kind != kind.name() {
        let (path, found) = (path.to_owned(), sealed.kind);
        return Err(KeyFileError::Kind { path, found, expected: kind.name() });
    }
    if !sealed.cost.is_bearable() {
        return Err(KeyFileError::Cost { path: path.to_owned(), cost: sealed.cost });
    }
    let key = derive(passphrase, &sealed.salt, sealed.cost)
        .ok_or_else(|| KeyFileError::Memory { path: path.to_owned(), kib: sealed.cost.memory_kib })?;
    let mut secrets = Zeroizing::new(sealed.ct);
    let plain = key
        .open_in_place(Nonce::assume_unique_for_key(sealed.nonce), Aad::from(sealed.aad), &mut secrets)
        .map_err(|_| KeyFileError::Refused { path: path.to_owned() })?
        .len();
    if plain != kind.secret_bytes() {
        return Err(malformed());
    }
    secrets.truncate(plain);
    Ok(secrets)
}

/// Parameters of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    fn is_bearable(self) -> bool {
        (1..=COST_MAX.lanes).contains(&self.lanes)
            && (8 * self.lanes..=COST_MAX.memory_kib).contains(&self.memory_kib)
            && (1..=COST_MAX.passes).contains(&self.passes)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB, {} passes and {} lanes", self.memory_kib, self.passes, self.lanes)
    }
}

/// A key file read and not opened. No field is believed before `ct` opens.
struct SealedKey {
    kind: String,
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    ct: Vec<u8>,
    /// The canonical JSON of everything else.
    aad: String,
}

impl SealedKey {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut file = parse(bytes.strip_suffix(b"\n")?).ok()?;
        let members = file.as_object_mut()?;
        let ct = members.remove("ct")?;
        let text = |name: &str| members.get(name)?.as_str();
        let number = |name: &str| members.get(name)?.as_u64()?.try_into().ok();
        if text("format")? != FORMAT || text("kdf")? != "argon2id" {
            return None;
        }
        Some(SealedKey {
            kind: text("kind")?.to_owned(),
            cost: Cost {
                memory_kib: number("memory_kib")?,
                passes: number("passes")?,
                lanes: number("lanes")?,
            },
            salt: STANDARD.decode(text("salt")?).ok()?.try_into().ok()?,
            nonce: STANDARD.decode(text("nonce")?).ok()?.try_into().ok()?,
            ct: STANDARD.decode(ct.as_str()?).ok()?,
            aad: canonical(&file).ok()?,
        })
    }
}

fn write_at_cost(
    path: &Path,
    kind: Kind,
    name: &str,
    secrets: &[u8],
    passphrase: &str,
    cost: Cost,
) -> Result<(), KeyFileError> {
    if passphrase.is_empty() {
        return Err(KeyFileError::NoPassphrase { path: path.to_owned() });
    }
    assert_eq!(secrets.len(), kind.secret_bytes(), "secrets of kind {}", kind.name());
    let (salt, nonce) = (random::<SALT_BYTES>(), random::<NONCE_BYTES>());
    let mut file = json!({
        "format": FORMAT,
        "kind": kind.name(),
        "name": name,
        "kdf": "argon2id",
        "memory_kib": cost.memory_kib,
        "passes": cost.passes,
        "lanes": cost.lanes,
        "salt": STANDARD.encode(*salt),
        "nonce": STANDARD.encode(*nonce),
    });
    let aad = canonical(&file).expect("small whole numbers");
    let key = derive(passphrase, &salt, cost)
        .ok_or_else(|| KeyFileError::Memory { path: path.to_owned(), kib: cost.memory_kib })?;
    let mut ct = Zeroizing::new(Vec::with_capacity(secrets.len() + TAG_BYTES));
    ct.extend_from_slice(secrets);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut *ct)
        .expect("secrets are short");
    file["ct"] = Value::from(STANDARD.encode(&*ct));
    let line = canonical(&file).expect("small whole numbers") + "\n";
    match create_private(path, line.as_bytes()) {
        Err(DiskError::Refused { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists { path: path.to_owned() })
        }
        written => Ok(written?),
    }
}

/// The bytes of a file that only its owner may read.
fn load(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let (file, _) = open_regular(path).map_err(DiskError::on("read key", path))?;
    let mode = file.metadata().map_err(DiskError::on("read key", path))?.mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(DiskError::on("read key", path))?;
    Ok(bytes)
}

/// The key that Argon2id makes of the passphrase; `None` where the memory for it is not to be had.
fn derive(passphrase: &str, salt: &[u8; SALT_BYTES], cost: Cost) -> Option<LessSafeKey> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).expect("a bearable cost");
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(params.block_count()).ok()?;
    memory.resize(params.block_count(), Block::new());
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut *key, &mut memory)
        .expect("passphrase, salt and key have lengths that Argon2id takes");
    memory.iter_mut().for_each(Zeroize::zeroize);
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("32 bytes are a key")))
}

/// Why a key file is not written or its secrets not had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A key is already there.
    #[error("{} exists already, and keys are not overwritten", path.display())]
    Exists {
        /// The key file.
        path: PathBuf,
    },
    /// The passphrase is empty.
    #[error("the passphrase of {} is empty", path.display())]
    NoPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// Others than the owner may read or write it.
    #[error("{} is open to others than its owner: its mode is {mode:03o}, expected 600", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key file.
    #[error("{} is not a key file of format {FORMAT}, or is damaged", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
    /// A key for something else.
    #[error("{} holds a key of kind '{found}', expected '{expected}'", path.display())]
    Kind {
        /// The key file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// It asks for more than this program gives, or for nothing.
    #[error("{} asks for {cost} of Argon2id, expected at most {COST_MAX}", path.display())]
    Cost {
        /// The key file.
        path: PathBuf,
        /// What it asks for.
        cost: Cost,
    },
    /// The system has not got the memory.
    #[error("no memory for the {kib} KiB that the passphrase of {} takes", path.display())]
    Memory {
        /// The key file.
        path: PathBuf,
        /// How much.
        kib: u32,
    },
    /// It does not open; authentication cannot tell why.
    #[error("{}: wrong passphrase, or the file is damaged", path.display())]
    Refused {
        /// The key file.
        path: PathBuf,
    },
}

impl Classified for KeyFileError {
    fn class(&self) -> Class {
        match self {
            KeyFileError::Disk(error) => error.class(),
            KeyFileError::Exists { .. }
            | KeyFileError::NoPassphrase { .. }
            | KeyFileError::Exposed { .. }
            | KeyFileError::Kind { .. }
            | KeyFileError::Refused { .. } => Class::Usage,
            KeyFileError::Malformed { .. } | KeyFileError::Cost { .. } => Class::Integrity,
            KeyFileError::Memory { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            KeyFileError::Disk(error) => error.hint(),
            KeyFileError::Exists { .. } => Some("give another name".to_owned()),
            KeyFileError::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
            KeyFileError::Malformed { .. } | KeyFileError::Cost { .. } | KeyFileError::Refused { .. } => {
                Some(
                    "give the passphrase again; if it is the right one, take the file from a backup"
                        .to_owned(),
                )
            }
            KeyFileError::NoPassphrase { .. } | KeyFileError::Kind { .. } | KeyFileError::Memory { .. } => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
