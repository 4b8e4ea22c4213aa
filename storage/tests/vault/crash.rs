//! A crash at every write, sync, rename, folder and removal of a seal: what was acknowledged restores, anything else
//! leaves nothing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jobs::policy::{Action, DataClass};
use storage::site::{Device, RealDevice};
use storage::vault::{Damage, Part, Place, Vault};

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
                    forget(&small, &vault, id);
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
fn forget(small: &SmallVault, vault: &Vault, id: storage::vault::ObjectId) {
    std::fs::write(small.path(&format!("vault/pending/{id}")), b"").unwrap();
    std::fs::remove_file(small.fragment(0, id)).unwrap();
    vault.recover(&small.log, &small.caller, NOW).unwrap();
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
