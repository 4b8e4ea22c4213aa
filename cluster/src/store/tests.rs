//! Stores that keep what they promise, and stores that do not.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&storage::site::url_of(&dir.path().join("store"))).unwrap();
    (dir, store)
}

#[test]
fn a_directory_keeps_what_the_engine_relies_on() {
    let (_dir, store) = store();
    store.probe("one").unwrap();
    assert_eq!(store.list("probe").unwrap(), [], "the probe leaves nothing");
}

#[test]
fn objects_are_created_once_listed_in_order_and_removed() {
    let (dir, store) = store();
    for name in ["a/2", "a/1", "b/1"] {
        store.create(name, name.as_bytes().to_vec()).unwrap();
    }
    assert!(matches!(store.create("a/1", Vec::new()), Err(StoreError::Exists { .. })));
    assert_eq!(store.list("a").unwrap(), [("a/1".to_owned(), 3), ("a/2".to_owned(), 3)]);
    assert_eq!(store.get("a/1", 3).unwrap(), b"a/1");
    assert!(matches!(store.get("a/1", 2), Err(StoreError::Large { bytes: 3, .. })));
    assert!(matches!(store.get("a/3", 2), Err(StoreError::Missing { .. })));
    store.remove_all("a").unwrap();
    store.remove("a/1").unwrap();
    assert_eq!((store.bytes_of("a/1").unwrap(), store.bytes_of("b/1").unwrap()), (None, Some(3)));
    let file = dir.path().join("file");
    std::fs::write(&file, vec![7; 100]).unwrap();
    store.upload("index/x", &file).unwrap();
    store.upload("index/x", &file).unwrap();
    assert_eq!(store.get("index/x", 100).unwrap(), [7; 100]);
}

#[test]
fn a_fetched_file_has_its_digest_or_is_not_there() {
    let (dir, store) = store();
    store.create("x", b"bytes".to_vec()).unwrap();
    let url = store.url_to_get("x", Duration::from_secs(60)).unwrap();
    let (path, digest) = (dir.path().join("got"), *blake3::hash(b"bytes").as_bytes());
    presigned::fetch(&url, &digest, 5, &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
    assert!(matches!(presigned::fetch(&url, &[0; 32], 5, &path), Err(StoreError::Digest { .. })));
    assert!(!path.exists());
    let new = store.url_to_put("y/z", Duration::from_secs(60)).unwrap();
    assert!(presigned::create(&new, b"1").unwrap());
    assert!(!presigned::create(&new, b"2").unwrap());
    assert_eq!(store.get("y/z", 9).unwrap(), b"1");
}

#[test]
fn urls_name_stores_or_say_what_is_possible() {
    for url in ["s3://", "s3://b/a//c", "https://b/a", "b/a", "s3://b/../c"] {
        assert!(matches!(Store::open(url), Err(StoreError::Url { .. })), "{url}");
    }
    for (url, expect) in [
        ("http://127.0.0.1:9/x", true),
        ("http://localhost", true),
        ("http://[::1]:80", true),
        ("https://127.0.0.1", false),
        ("http://127.0.0.1.evil.example", false),
        ("http://10.0.0.1:9", false),
    ] {
        assert_eq!(is_loopback(url), expect, "{url}");
    }
}
