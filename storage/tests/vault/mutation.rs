//! Every kind of damage to every file: restored identically with the damage named where it is, or refused; never a wrong
//! output.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jobs::failure::{Class, Classified};
use storage::vault::{Damage, Finding, ObjectId, Part, Place, Vault, custodian};

use crate::small::{PLAIN, Random, Shape, SmallVault, content, files};

const SHAPE: Shape = Shape { data: 2, parity: 1, sites: 3, quorum: 2, custodians: 3 };
const HEADER: usize = 128;
const BLOCK: usize = 65_536;
const VALUE: usize = 32;

/// A vault with two objects of two rows each, the last one short.
struct Target {
    small: SmallVault,
    plains: [(ObjectId, Vec<u8>); 2],
}

impl Target {
    fn new() -> Self {
        let small = SmallVault::new(SHAPE);
        let plains = [1, 2].map(|seed| {
            let plain = content(2 * PLAIN + 777, seed);
            (small.seal(&format!("{seed}.cram"), &plain), plain)
        });
        Target { small, plains }
    }

    fn id(&self) -> ObjectId {
        self.plains[0].0
    }

    /// Restores all objects and compares; gives what was found.
    fn restores(&self, context: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (id, plain) in &self.plains {
            let (bytes, report) =
                self.small.restore(*id, &[1, 2, 3]).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(bytes == *plain, "{context}: wrong output");
            findings.extend(report.findings);
        }
        findings
    }

    /// Checks with the file at `path` damaged, then puts it back.
    fn damaged<T>(&self, path: &Path, whole: &[u8], damage: &[u8], ask: impl FnOnce(Vec<Finding>) -> T) -> T {
        std::fs::write(path, damage).unwrap();
        let answer = ask(self.small.vault().check(Some(&[self.id()]), &mut |_| {}).findings);
        std::fs::write(path, whole).unwrap();
        answer
    }
}

/// Offsets to flip: all of `dense`, and some of the rest.
fn offsets(length: usize, dense: &[Range<usize>], step: usize, random: &mut Random) -> Vec<usize> {
    let mut offsets: Vec<usize> = dense.iter().cloned().flatten().filter(|at| *at < length).collect();
    offsets.extend((0..length).step_by(step).map(|at| (at + random.below(step)).min(length - 1)));
    offsets.sort();
    offsets.dedup();
    offsets
}

#[test]
fn a_flipped_bit_of_a_fragment_is_named_by_site_fragment_and_block() {
    let target = Target::new();
    let mut random = Random(11);
    for index in 0..3u8 {
        let path = target.small.fragment(index, target.id());
        let whole = std::fs::read(&path).unwrap();
        let blocks = (whole.len() - HEADER).div_ceil(BLOCK + VALUE);
        let tree = whole.len() - blocks * VALUE;
        let dense = [0..HEADER, HEADER..HEADER + 2, tree - 2..whole.len()];
        for at in offsets(whole.len(), &dense, 1500, &mut random) {
            let bits = if at < HEADER && index == 0 { 0..8 } else { 0..1 };
            for bit in bits {
                let bit = if index == 0 && at < HEADER { bit } else { random.below(8) };
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let part = match at {
                    _ if at < HEADER => Part::Header,
                    _ if at < tree => Part::Block(((at - HEADER) / BLOCK) as u64),
                    _ => Part::Tree,
                };
                let context = format!("fragment {index}, offset {at}, bit {bit}");
                target.damaged(&path, &whole, &flipped, |findings| {
                    assert_eq!(findings.len(), 1, "{context}: {findings:?}");
                    let Finding { place, object, fragment, part: named, what } = &findings[0];
                    assert_eq!(*place, Place::Site(format!("site-{index}")), "{context}");
                    assert_eq!((*object, *fragment), (Some(target.id()), Some(index)), "{context}");
                    assert_eq!(*named, part, "{context}: {what}");
                    if random.below(4) == 0 {
                        let found = target.restores(&context);
                        // Parity is read only where data is damaged.
                        assert!(found == findings || index == 2 && found.is_empty(), "{context}: {found:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn a_flipped_bit_of_a_document_is_named_by_site_and_document() {
    let target = Target::new();
    let mut random = Random(12);
    let folder = target.small.folder(1, target.id());
    let site = target.small.site(1);
    for (path, part, step) in [
        (folder.join("core.json"), Part::Core, 4),
        (folder.join("seal.json"), Part::Seal, 4),
        (site.join("vault.json"), Part::Vault, 40),
    ] {
        let whole = std::fs::read(&path).unwrap();
        for at in offsets(whole.len(), &[], step, &mut random) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << random.below(8);
            let context = format!("{}, offset {at}", path.display());
            target.damaged(&path, &whole, &flipped, |findings| {
                assert_eq!(findings.len(), 1, "{context}: {findings:?}");
                let place = Place::Site("site-1".to_owned());
                assert_eq!((&findings[0].place, findings[0].part), (&place, part), "{context}");
                if random.below(12) == 0 {
                    assert_eq!(target.restores(&context).len(), if part == Part::Vault { 2 } else { 1 });
                }
            });
        }
    }
}

#[test]
fn a_flipped_bit_of_a_wrapped_share_is_named_without_a_key() {
    let target = Target::new();
    let mut random = Random(13);
    let path = target.small.share(2, target.id());
    let whole = std::fs::read(&path).unwrap();
    for at in offsets(whole.len(), &[], 2, &mut random) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << random.below(8);
        target.damaged(&path, &whole, &flipped, |findings| {
            let refused = custodian::open_share(&target.small.vault(), target.id(), &target.small.keys[1]);
            assert!(refused.is_err(), "offset {at}");
            match &findings[..] {
                [finding] => {
                    assert_eq!(finding.place, Place::Ledger("custodian-2".to_owned()));
                    assert_eq!((finding.object, finding.part), (Some(target.id()), Part::Share(2)));
                }
                more => panic!("offset {at}: {more:?}"),
            }
        });
    }
    // Another digit of base64 within `enc` or `ct`.
    for member in ["\"enc\":\"", "\"ct\":\""] {
        let start = whole.windows(member.len()).position(|bytes| bytes == member.as_bytes()).unwrap();
        let mut other = whole.clone();
        let digit = &mut other[start + member.len() + 10];
        *digit = if *digit == b'A' { b'B' } else { b'A' };
        target.damaged(&path, &whole, &other, |findings| {
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].part, Part::Share(2));
            assert!(findings[0].to_string().contains("enc or ct is not what was wrapped"), "{}", findings[0]);
        });
    }
    target.restores("shares put back");
}

#[test]
fn a_file_of_the_vaults_own_is_refused_where_a_bit_is_flipped() {
    let target = Target::new();
    let mut random = Random(14);
    let folder = target.small.path("vault");
    let path = folder.join("vault.json");
    let whole = std::fs::read(&path).unwrap();
    for at in offsets(whole.len(), &[], 5, &mut random) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << random.below(8);
        std::fs::write(&path, flipped).unwrap();
        let error = Vault::open(&folder).unwrap_err();
        assert!(error.to_string().contains("vault.json"), "{error}");
    }
    std::fs::write(&path, whole).unwrap();
    target.restores("vault.json put back");
}

#[test]
fn a_truncated_or_longer_file_is_named_with_its_length() {
    let target = Target::new();
    let mut random = Random(15);
    let folder = target.small.folder(0, target.id());
    let fragment = target.small.fragment(0, target.id());
    let share = target.small.share(1, target.id());
    let paths = [fragment, folder.join("core.json"), folder.join("seal.json"), share];
    for (path, is_fragment) in paths.iter().zip([true, false, false, false]) {
        let whole = std::fs::read(path).unwrap();
        let dense = [0..40, HEADER - 2..HEADER + 3, whole.len() - 40..whole.len()];
        let cuts = offsets(whole.len(), &dense, if is_fragment { 4000 } else { 200 }, &mut random);
        let longer = [&whole[..], b"\n"].concat();
        let damages = cuts.iter().map(|cut| whole[..*cut].to_vec()).chain([longer]);
        for damage in damages {
            let (bytes, expected) = (damage.len() as u64, whole.len() as u64);
            let context = format!("{}: {bytes} of {expected} bytes", path.display());
            target.damaged(path, &whole, &damage, |findings| {
                assert_eq!(findings.len(), 1, "{context}: {findings:?}");
                if is_fragment {
                    let what = match bytes < expected {
                        true => Damage::Truncated { bytes, expected },
                        false => Damage::Overlong { bytes, expected },
                    };
                    assert_eq!((findings[0].part, &findings[0].what), (Part::File, &what), "{context}");
                }
                target.restores(&context);
            });
        }
    }
}

/// Two files change places, are looked at, and go back.
fn swapped<T>(a: &Path, b: &Path, ask: impl FnOnce() -> T) -> T {
    let swap = || {
        let aside = a.with_extension("aside");
        std::fs::rename(a, &aside).unwrap();
        std::fs::rename(b, a).unwrap();
        std::fs::rename(&aside, b).unwrap();
    };
    swap();
    let answer = ask();
    swap();
    answer
}

/// Where a finding about this file would stand.
fn place_of(path: &Path) -> Place {
    static PLACE: OnceLock<Vec<(&str, u8)>> = OnceLock::new();
    let kinds = PLACE.get_or_init(|| vec![("site-", 0), ("ledger-", 1)]);
    let names = path.components().filter_map(|part| part.as_os_str().to_str());
    let found = names.flat_map(|name| kinds.iter().map(move |kind| (name, kind)));
    found
        .filter_map(|(name, (prefix, kind))| Some((name, name.strip_prefix(prefix)?, *kind)))
        .map(|(name, number, kind)| match kind {
            0 => Place::Site(name.to_owned()),
            _ => Place::Ledger(format!("custodian-{number}")),
        })
        .next()
        .expect("a stored file")
}

#[test]
fn two_files_that_change_places_are_both_named() {
    let target = Target::new();
    let stored: Vec<PathBuf> = target.small.stored();
    assert_eq!(stored.len(), 3 * (1 + 2 * 3) + 3 * 2);
    for (at, a) in stored.iter().enumerate() {
        for b in &stored[..at] {
            if std::fs::read(a).unwrap() == std::fs::read(b).unwrap() {
                continue;
            }
            let context = format!("{} and {}", a.display(), b.display());
            swapped(a, b, || {
                let ids = target.plains.each_ref().map(|(id, _)| *id);
                let findings = target.small.vault().check(Some(&ids), &mut |_| {}).findings;
                for place in [place_of(a), place_of(b)] {
                    assert!(findings.iter().any(|finding| finding.place == place), "{context}: {findings:?}");
                }
                for (id, plain) in &target.plains {
                    match target.small.restore(*id, &[1, 2, 3]) {
                        Ok((bytes, _)) => assert!(bytes == *plain, "{context}"),
                        // Two fragments or two shares of one object are one more than may be lost.
                        Err(error) => {
                            assert_eq!(error.class(), Class::Quorum, "{context}: {error}");
                            let of_it = |path: &Path, kind: &str| {
                                let path = path.to_str().unwrap();
                                path.ends_with(kind) && path.contains(&id.to_string())
                            };
                            let both = |kind| of_it(a, kind) && of_it(b, kind);
                            assert!(both(".fragment") || both(".share.json"), "{context}: {error}");
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn a_swap_with_the_vaults_own_files_is_refused_or_harmless() {
    let target = Target::new();
    let own = files(&target.small.path("vault"));
    for a in own.iter().filter(|path| !path.ends_with("lock")) {
        for b in target.small.stored().iter().chain(&own).filter(|b| *b != a && !b.ends_with("lock")) {
            if std::fs::read(a).unwrap() == std::fs::read(b).unwrap() {
                continue;
            }
            let is_vault = a.ends_with("vault.json");
            swapped(a, b, || {
                let vault = Vault::open(&target.small.path("vault"));
                assert_eq!(
                    vault.is_err(),
                    is_vault || b.ends_with("vault/vault.json"),
                    "{} {}",
                    a.display(),
                    b.display()
                );
            });
        }
    }
}

#[test]
fn hostile_documents_are_refused_without_a_panic() {
    let target = Target::new();
    let folder = target.small.folder(0, target.id());
    let long = vec![b'['; 1 << 20];
    let hostile: [&[u8]; 6] = [b"", b"\n\n", b"{}\n{}\n", &long, b"\xff\xfe\n\n", &[0; 4096]];
    for name in ["core.json", "seal.json", "00.fragment"] {
        for damage in hostile {
            let whole = std::fs::read(folder.join(name)).unwrap();
            target.damaged(&folder.join(name), &whole, damage, |findings| {
                assert!(!findings.is_empty());
                target.restores(name);
            });
        }
    }
    let sparse = std::fs::File::create(folder.join("core.json")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let findings = target.restores("sparse");
    assert!(findings[0].to_string().contains("expected at most"), "{findings:?}");
}
