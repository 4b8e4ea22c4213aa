//! Keys of a job's scratch, one per sample: when the key file goes, the sample's records in every pack are noise.
//!
//! Invariant: a sample's key comes out of a [`KeyService`] only against a permit for that sample, held now. A key file is
//! whole or absent, mode 0600, and is never written a second time. The service knows nothing of tasks or schedulers.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use jobs::failure::{Class, Classified};
use jobs::policy::{Action, NotPermitted, Permit};
use jobs::time::Timestamp;
use zeroize::Zeroizing;

use crate::disk::{DiskError, create_private};

const MAGIC: &[u8; 8] = b"WKKEY\0\0\x01";
const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 8;
const FILE_BYTES: usize = MAGIC.len() + SECRET_BYTES + CHECK_BYTES;
/// Name of the key behind [`KeyFolder::job_secret`]; no sample's name begins with a dot.
pub const JOB_KEY: &str = ".job";
/// With `.key` and a temporary's ending still within the 255 bytes filesystems allow.
const NAME_BYTES_MAX: usize = 200;

/// The secret under which one sample's records of one job are sealed; wiped from memory when dropped.
#[derive(Clone)]
pub struct SampleKey {
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

/// Gives out keys against permits. A job on one machine has a [`KeyFolder`].
pub trait KeyService: Sync {
    /// The key called `name`, which opens data of `samples`: the permit must allow reading all of them, and cannot
    /// be asked for nobody's.
    fn key(
        &self,
        name: &str,
        samples: &[&str],
        permit: &Permit,
        now: Timestamp,
    ) -> Result<SampleKey, KeyError>;
}

/// Key files in a folder, made when they are first asked for.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    dir: PathBuf,
}

impl KeyFolder {
    /// The keys in `dir`, which must exist.
    pub fn new(dir: &Path) -> Self {
        KeyFolder { dir: dir.to_owned() }
    }

    /// A secret of the job itself, no sample's: the same for the same purpose as long as the job lives.
    pub fn job_secret(&self, purpose: &str) -> Result<Zeroizing<[u8; SECRET_BYTES]>, KeyError> {
        let key = self.load_or_create(JOB_KEY)?;
        let mut hasher = blake3::Hasher::new_derive_key("wakachi 2026 job secret");
        hasher.update(&*key.secret).update(purpose.as_bytes());
        Ok(Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    /// Removes the key files among `names` that are damaged, and says which: what they opened is lost, and new keys
    /// are made when they are asked for.
    pub fn forget_damaged<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Vec<PathBuf>, KeyError> {
        let mut forgotten = Vec::new();
        for name in names {
            if let Err(KeyError::Damaged { path }) = load(&self.path(name)?) {
                fs::remove_file(&path).map_err(DiskError::on("remove", &path))?;
                forgotten.push(path);
            }
        }
        Ok(forgotten)
    }

    /// Where the key of this name lies, if it was made.
    pub fn path(&self, name: &str) -> Result<PathBuf, KeyError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(['/', '\0']) {
            return Err(KeyError::Name { name: name.to_owned() });
        }
        Ok(self.dir.join(format!("{name}.key")))
    }

    /// Reads a key file, or makes it from the system's random generator. Safe against others doing the same at the
    /// same time: all get one key.
    fn load_or_create(&self, name: &str) -> Result<SampleKey, KeyError> {
        let path = self.path(name)?;
        match load(&path) {
            Err(KeyError::Disk(DiskError::Refused { source, .. }))
                if source.kind() == ErrorKind::NotFound =>
            {
                create(&path)?;
                load(&path)
            }
            loaded => loaded,
        }
    }
}

impl KeyService for KeyFolder {
    fn key(
        &self,
        name: &str,
        samples: &[&str],
        permit: &Permit,
        now: Timestamp,
    ) -> Result<SampleKey, KeyError> {
        if samples.is_empty() {
            return Err(KeyError::Nobody { name: name.to_owned() });
        }
        for sample in samples {
            permit.check(Action::Read, sample, now)?;
        }
        self.load_or_create(name)
    }
}

impl SampleKey {
    /// A key that is on no disk: for data that dies with the process.
    pub fn fleeting() -> Self {
        SampleKey { secret: random() }
    }

    /// Tells keys apart without giving them away; stands in each record.
    pub(crate) fn id(&self) -> [u8; 8] {
        let id = blake3::derive_key("wakachi 2026 sample key id", &*self.secret);
        id[..8].try_into().expect("eight bytes")
    }

    /// The key of the record with this salt.
    pub(crate) fn record_key(&self, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key("wakachi 2026 pack record key");
        hasher.update(&*self.secret).update(salt);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// A secret for [`SampleKey::from_secret`], of the system's randomness.
    pub fn random_secret() -> Zeroizing<[u8; SECRET_BYTES]> {
        random()
    }

    /// The key of a secret that somebody else keeps: of what is re-sealed to travel.
    pub fn from_secret(secret: Zeroizing<[u8; SECRET_BYTES]>) -> Self {
        SampleKey { secret }
    }
}

impl std::fmt::Debug for SampleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SampleKey(..)")
    }
}

fn load(path: &Path) -> Result<SampleKey, KeyError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES + 1));
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(DiskError::on("read key", path))?;
    let (body, stored) = bytes.split_at(bytes.len().saturating_sub(CHECK_BYTES));
    if bytes.len() != FILE_BYTES || !body.starts_with(MAGIC) || stored != check(body) {
        return Err(KeyError::Damaged { path: path.to_owned() });
    }
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    secret.copy_from_slice(&body[MAGIC.len()..]);
    Ok(SampleKey { secret })
}

/// Makes the key, unless somebody else just did.
fn create(path: &Path) -> Result<(), KeyError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&*random::<SECRET_BYTES>());
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    match create_private(path, &bytes) {
        Err(DiskError::Refused { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => Ok(created?),
    }
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    blake3::hash(body).as_bytes()[..CHECK_BYTES].try_into().expect("eight bytes")
}

/// Random bytes of the system. A machine without any cannot do anything here.
pub(crate) fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(&mut *bytes).expect("the system's random generator answers");
    bytes
}

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The filesystem refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The permit does not cover it.
    #[error("no key without a permit")]
    Permit(#[from] NotPermitted),
    /// A key was asked for without saying whose data it opens.
    #[error("key {name} was asked for on behalf of no sample")]
    Nobody {
        /// The key.
        name: String,
    },
    /// The name cannot be a file's.
    #[error("sample name '{name}' cannot name a key file: expected 1 to 200 bytes without a slash")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The file is not a whole key.
    #[error("key {} is damaged: expected {FILE_BYTES} bytes that match their checksum", path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
}

impl Classified for KeyError {
    fn class(&self) -> Class {
        match self {
            KeyError::Disk(error) => error.class(),
            KeyError::Permit(_) => Class::Policy,
            KeyError::Nobody { .. } => Class::Internal,
            KeyError::Name { .. } => Class::Input,
            KeyError::Damaged { .. } => Class::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            KeyError::Disk(error) => error.hint(),
            KeyError::Permit(_) | KeyError::Nobody { .. } => None,
            KeyError::Name { .. } => Some("rename the sample in the cohort sheet".to_owned()),
            KeyError::Damaged { .. } => {
                Some("put the key file back from a backup, or give the same command with --repair".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| KeyFolder::new(dir.path()).load_or_create("NA12878").unwrap().id()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_ne!(KeyFolder::new(dir.path()).load_or_create("NA12891").unwrap().id(), ids[0]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary is left");
        let mode = fs::metadata(dir.path().join("NA12878.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        KeyFolder::new(dir.path()).load_or_create("a").unwrap();
        let path = dir.path().join("a.key");
        let whole = fs::read(&path).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
        cases.extend((0..whole.len()).map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            flipped
        }));
        cases.push([&whole[..], b"\n"].concat());
        for case in cases {
            fs::write(&path, &case).unwrap();
            let error = KeyFolder::new(dir.path()).load_or_create("a").unwrap_err();
            assert_eq!(error.class(), Class::Integrity);
            assert!(error.to_string().contains("a.key"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), case);
        }
    }

    #[test]
    fn names_stay_within_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "../a", "a/b", "/a", "a\0", &"a".repeat(201)] {
            let error = KeyFolder::new(dir.path()).load_or_create(name).unwrap_err();
            assert_eq!(error.class(), Class::Input, "{name}");
        }
        for name in ["日本 sample-1", ".cohort", ".", "..", &"a".repeat(200)] {
            KeyFolder::new(dir.path()).load_or_create(name).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", SampleKey::from_secret(Zeroizing::new([7; 32]))), "SampleKey(..)");
    }
}
