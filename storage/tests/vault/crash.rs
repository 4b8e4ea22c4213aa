//! A crash at every write, sync, rename, folder and removal of a seal: what was acknowledged restores, anything else
//! leaves nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jobs::event::Node;
use jobs::policy::{Action, DataClass};
use storage::site::{Device, RealDevice};
use storage::vault::{AuditLog, Damage, ObjectId, Part, Place, Recovered};

use crate::small::{NOW, PLAIN, SMALL, Shape, SmallVault, content, files, permit};

/// Works until operation `at`, which is done half or not at all; then nothing works any more.
#[derive(Debug)]
struct CrashingDevice {
    done: AtomicU64,
    at: u64,
    /// Whether the operation at which the crash comes reaches the medium, of a write the first half.
    is_done: bool,
}

impl CrashingDevice {
    fn new(at: u64, is_done: bool) -> Arc<Self> {
        Arc::new(CrashingDevice { done: AtomicU64::new(0), at, is_done })
    }

    fn step<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let crash = || io::Error::other("the machine crashed");
        match self.done.fetch_add(1, Ordering::Relaxed) {
            step if step < self.at => act(),
            step if step == self.at && self.is_done => act().and(Err(crash())),
            _ => Err(crash()),
        }
    }
}

impl Device for CrashingDevice {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDevice.create_folder(path))
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(|| RealDevice.create(path))
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let torn = self.done.load(Ordering::Relaxed) == self.at;
        let reaching = if torn { &bytes[..bytes.len() / 2] } else { bytes };
        self.step(|| RealDevice.write(file, reaching))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step(|| RealDevice.sync(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| RealDevice.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDevice.remove(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDevice.remove_folder(path))
    }
}

const SHAPE: Shape = Shape { data: 2, parity: 1, sites: 3, quorum: 2, custodians: 2 };

/// What lies at sites, in ledgers and in `pending/`.
fn traces(small: &SmallVault) -> Vec<PathBuf> {
    [small.stored(), files(&small.path("vault/pending"))].concat()
}

/// Empty folders of objects are traces too.
fn object_folders(small: &SmallVault) -> usize {
    let count =
        |site| std::fs::read_dir(small.site(site).join("objects")).map_or(0, |entries| entries.count());
    (0..small.shape.sites).map(count).sum()
}

#[test]
fn a_crash_anywhere_loses_nothing_and_leaves_nothing() {
    let small = SmallVault::new(SHAPE);
    let kept = content(1000, 1);
    let first = small.seal("kept.cram", &kept);
    let (untouched, folders) = (traces(&small), object_folders(&small));
    let plain = content(3 * PLAIN + 10, 2);
    let (mut acknowledged, mut removed) = (0, 0);
    for is_done in [false, true] {
        for at in 0.. {
            let device = CrashingDevice::new(at, is_done);
            let crashed = small.seal_with(&small.vault_on(device.clone()), "new.cram", &plain);
            let vault = small.vault();
            let recovered = vault.recover(&small.log, &small.caller, NOW).unwrap();
            let objects = vault.list().objects;
            match (&crashed, objects.len()) {
                (Err(_), 1) => {
                    assert_eq!(traces(&small), untouched, "at {at}");
                    assert_eq!(object_folders(&small), folders, "at {at}");
                    removed += recovered.removed.len();
                }
                (_, 2) => {
                    let id = objects.iter().map(|object| object.id).find(|id| *id != first).unwrap();
                    assert!(
                        crashed.is_ok() || recovered.acknowledged == [id] || recovered == Default::default()
                    );
                    assert!(small.restore(id, &[1, 2]).unwrap().0 == plain, "at {at}");
                    assert_eq!(vault.check(None, &mut |_| {}).findings, [], "at {at}");
                    acknowledged += 1;
                    forget(&small, id);
                }
                (sealed, objects) => panic!("at {at}: {sealed:?}, {objects} objects"),
            }
            assert!(small.restore(first, &[1, 2]).unwrap().0 == kept);
            if crashed.is_ok() {
                break;
            }
        }
    }
    assert!(removed > 100 && acknowledged > 2, "{removed} removed, {acknowledged} acknowledged");
}

/// Makes the next attempt a first one again, as if the object had never been.
fn forget(small: &SmallVault, id: ObjectId) {
    (0..small.shape.sites).for_each(|site| std::fs::remove_dir_all(small.folder(site, id)).unwrap());
    (1..=small.shape.custodians).for_each(|index| std::fs::remove_file(small.share(index, id)).unwrap());
}

/// Puts an object back into `pending/`, as a copy of the vault's folder from before would.
fn suspend(small: &SmallVault, id: ObjectId) -> PathBuf {
    let pending = small.path(&format!("vault/pending/{id}"));
    std::fs::write(&pending, b"").unwrap();
    pending
}

/// A log that does not know yet what was sealed.
fn empty_log(small: &SmallVault, name: &str) -> AuditLog {
    AuditLog::open(&small.path(name), &[7; 32], "another", Node::default()).unwrap()
}

#[test]
fn a_sealed_object_stays_whatever_is_amiss_with_it() {
    let check = |name: &str, damage: &dyn Fn(&SmallVault, ObjectId)| {
        for is_logged in [true, false] {
            let small = SmallVault::new(SMALL);
            let plain = content(PLAIN, 3);
            let id = small.seal("a.cram", &plain);
            let pending = suspend(&small, id);
            damage(&small, id);
            let other = empty_log(&small, "other.jsonl");
            let log = if is_logged { &small.log } else { &other };
            let recovered = small.vault().recover(log, &small.caller, NOW).unwrap();
            assert_eq!((recovered.acknowledged, recovered.removed.len()), (vec![id], 0), "{name}");
            assert!(!pending.exists(), "{name}");
            small.seal("b.cram", b"another").to_string();
            assert!(small.restore(id, &[1, 2]).unwrap().0 == plain, "{name}");
            assert!(small.vault().list().objects.iter().any(|object| object.id == id), "{name}");
        }
    };
    let remove = |path: PathBuf| std::fs::remove_file(path).unwrap();
    check("nothing", &|_, _| {});
    check("a flipped bit", &|small, id| {
        let mut bytes = std::fs::read(small.fragment(0, id)).unwrap();
        bytes[3000] ^= 1;
        std::fs::write(small.fragment(0, id), bytes).unwrap();
    });
    check("a missing fragment", &|small, id| remove(small.fragment(1, id)));
    check("a missing seal", &|small, id| remove(small.folder(1, id).join("seal.json")));
    check("a missing core", &|small, id| remove(small.folder(1, id).join("core.json")));
    check("a missing share", &|small, id| remove(small.share(3, id)));
    check("a stray file", &|small, id| std::fs::write(small.folder(2, id).join("notes.txt"), b"x").unwrap());
    check("four seals and a fragment missing", &|small, id| {
        (1..5).for_each(|site| remove(small.folder(site, id).join("seal.json")));
        remove(small.fragment(0, id));
    });
}

#[test]
fn what_cannot_be_judged_stays() {
    let small = SmallVault::new(SMALL);
    let plain = content(PLAIN, 3);
    let id = small.seal("a.cram", &plain);
    let pending = suspend(&small, id);
    let stored = small.stored();
    // No seal and no event: as if it had never been sealed, but for a site or ledger that is away.
    for site in 0..5 {
        std::fs::remove_file(small.folder(site, id).join("seal.json")).unwrap();
    }
    let unsealed = small.stored();
    assert_eq!(stored.len(), unsealed.len() + 5);
    let log = empty_log(&small, "other.jsonl");
    for folder in [small.site(4), small.ledger(2)] {
        let away = small.path("away");
        std::fs::rename(&folder, &away).unwrap();
        let recovered = small.vault().recover(&log, &small.caller, NOW).unwrap();
        assert_eq!(recovered, Recovered { left: vec![id], ..Recovered::default() });
        // An empty mount point does not answer for the site either.
        std::fs::create_dir(&folder).unwrap();
        if folder == small.site(4) {
            assert_eq!(small.vault().recover(&log, &small.caller, NOW).unwrap().left, [id]);
        }
        std::fs::remove_dir(&folder).unwrap();
        std::fs::rename(&away, &folder).unwrap();
        assert!(pending.exists() && small.stored() == unsealed);
    }
    // The log knows better.
    assert_eq!(small.vault().recover(&small.log, &small.caller, NOW).unwrap().acknowledged, [id]);
    assert_eq!(small.stored(), unsealed);
    suspend(&small, id);
    assert_eq!(small.vault().recover(&log, &small.caller, NOW).unwrap().removed, [id]);
    assert!(
        !pending.exists()
            && !small.stored().iter().any(|path| path.to_string_lossy().contains(&id.to_string()))
    );
}

#[test]
fn a_sealed_object_that_cannot_be_restored_is_left() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    let pending = suspend(&small, id);
    (0..3).for_each(|index| std::fs::remove_file(small.fragment(index, id)).unwrap());
    let stored = small.stored();
    let recovered = small.vault().recover(&empty_log(&small, "other.jsonl"), &small.caller, NOW).unwrap();
    assert_eq!(recovered, Recovered { left: vec![id], ..Recovered::default() });
    assert!(pending.exists() && small.stored() == stored);
}

#[test]
fn removing_follows_no_link_and_takes_only_what_a_seal_writes() {
    use std::os::unix::fs::symlink;
    let small = SmallVault::new(SMALL);
    let kept = small.seal("kept.cram", b"one");
    let id: ObjectId = "ab".repeat(16).parse().unwrap();
    let victim = small.path("victim");
    std::fs::create_dir_all(victim.join("sub")).unwrap();
    let mine = ["core.json", "seal.json", "00.fragment", "photo.jpg", "sub/x"];
    mine.iter().for_each(|name| std::fs::write(victim.join(name), b"mine").unwrap());
    symlink(&victim, small.folder(0, id)).unwrap();
    std::fs::create_dir_all(small.folder(1, id).join("01.fragment")).unwrap();
    std::fs::write(small.folder(1, id).join("core.json.partial"), b"begun").unwrap();
    std::fs::create_dir(small.folder(2, id)).unwrap();
    symlink(victim.join("photo.jpg"), small.folder(2, id).join("core.json")).unwrap();
    std::fs::write(small.folder(2, id).join("notes.txt"), b"x").unwrap();
    std::fs::create_dir(small.folder(3, id)).unwrap();
    std::fs::write(small.folder(3, id).join("03.fragment"), b"x").unwrap();
    symlink(victim.join("photo.jpg"), small.share(1, id)).unwrap();
    let pending = suspend(&small, id);
    small.seal("b.cram", b"two").to_string();
    assert!(!pending.exists());
    assert!(mine.iter().all(|name| std::fs::read(victim.join(name)).unwrap() == b"mine"));
    for (site, left) in [(1, vec!["01.fragment"]), (2, vec!["core.json", "notes.txt"])] {
        let mut names: Vec<_> = std::fs::read_dir(small.folder(site, id))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, left);
    }
    assert!(!small.folder(3, id).exists());
    assert_eq!(small.restore(kept, &[1, 2]).unwrap().0, b"one");
}

#[test]
fn a_crash_while_clearing_away_is_cleared_away_too() {
    let small = SmallVault::new(SHAPE);
    let untouched = traces(&small);
    for at in [15, 35, 55] {
        for again in 0..12 {
            let device = CrashingDevice::new(at, true);
            small.seal_with(&small.vault_on(device), "new.cram", &content(PLAIN, 2)).unwrap_err();
            let vault = small.vault_on(CrashingDevice::new(again, again % 2 == 0));
            let _ = vault.recover(&small.log, &small.caller, NOW);
            let vault = small.vault();
            vault.recover(&small.log, &small.caller, NOW).unwrap();
            assert_eq!(traces(&small), untouched, "{at} {again}");
        }
    }
}

#[test]
fn an_interrupted_sealing_is_named_until_it_is_cleared_and_a_running_one_is_not() {
    let small = SmallVault::new(SHAPE);
    small
        .seal_with(&small.vault_on(CrashingDevice::new(35, false)), "a.cram", &content(PLAIN, 2))
        .unwrap_err();
    let vault = small.vault();
    let [named] = &vault.check(None, &mut |_| {}).findings[..] else { panic!("one finding") };
    assert_eq!((&named.place, named.part, &named.what), (&Place::Vault, Part::Pending, &Damage::Unfinished));
    assert_eq!(vault.list().findings, std::slice::from_ref(named));
    let said = named.to_string();
    assert!(said.ends_with("interrupted sealing, cleared by the next seal: never acknowledged"), "{said}");

    let (file, mut running) = (small.path("b.cram"), Vec::new());
    std::fs::write(&file, content(PLAIN, 3)).unwrap();
    let mut progress = |_| running.extend(vault.list().findings);
    let permit = permit(Action::Archive, DataClass::Cram, NOW);
    small.seal_file(&vault, &file, &permit, &[], &mut progress).unwrap();
    assert_eq!((running, vault.list().findings), (vec![], vec![]));
}

#[test]
fn nothing_is_removed_that_is_not_pending() {
    let small = SmallVault::new(SMALL);
    let id = small.seal("a.cram", b"one");
    std::fs::remove_file(small.fragment(1, id)).unwrap();
    std::fs::remove_file(small.folder(2, id).join("seal.json")).unwrap();
    let before = small.stored();
    let vault = small.vault();
    assert_eq!(vault.recover(&small.log, &small.caller, NOW).unwrap(), Default::default());
    assert_eq!(small.stored(), before);
}
