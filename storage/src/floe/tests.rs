//! FLOE against its published vectors, by a second implementation, and under every change.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::hmac;

use super::*;

const KEY: [u8; 32] = [0; 32];
const SMALL: Parameters = Parameters { segment_bytes: 40, rotation_bits: 2 };

fn data_key(bytes: [u8; 32]) -> DataKey {
    DataKey(Zeroizing::new(bytes))
}

fn plain(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn seal(parameters: Parameters, aad: &[u8], plain: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut header = [0; HEADER_BYTES];
    let message = Message::seal_header(parameters, &data_key(KEY), aad, &mut header);
    let parts: Vec<&[u8]> = match plain {
        [] => vec![&[]],
        _ => plain.chunks(parameters.segment_bytes - OVERHEAD_BYTES).collect(),
    };
    let segments = parts.iter().enumerate().map(|(position, part)| {
        let mut out = Vec::new();
        message.seal(position as u64, position + 1 == parts.len(), part, &mut out);
        out
    });
    (header.to_vec(), segments.collect())
}

fn open<'a>(
    parameters: Parameters,
    aad: &[u8],
    header: &[u8],
    segments: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, FloeError> {
    let message = Message::open_header(parameters, &data_key(KEY), aad, header)?;
    let (mut out, last) = (Vec::new(), segments.len() - 1);
    for (position, segment) in segments.enumerate() {
        message.open(position as u64, position == last, segment, &mut out)?;
    }
    Ok(out)
}

/// The specification once more, with nothing of ours but the cipher: HKDF-Expand of at most one hash is
/// HMAC(key, info || 1).
fn open_by_the_book(
    parameters: Parameters,
    key: &[u8],
    aad: &[u8],
    header: &[u8],
    segments: &[Vec<u8>],
) -> Vec<u8> {
    let kdf = |key: &[u8], purpose: &[u8], bytes: usize| {
        let info = [&header[..42], purpose, aad, &[1]].concat();
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, key), &info).as_ref()[..bytes].to_vec()
    };
    let segment_bytes = parameters.segment_bytes as u32;
    assert_eq!(header[..10], [&[0, 0], &segment_bytes.to_be_bytes()[..], &[0, 0, 0, 32]].concat());
    assert_eq!(header[42..], kdf(key, b"HEADER_TAG:", 32));
    let message_key = kdf(key, b"MESSAGE_KEY:", 48);
    let mut plain = Vec::new();
    for (position, segment) in segments.iter().enumerate() {
        let is_last = position + 1 == segments.len();
        let length = if is_last { segment.len() as u32 } else { 0xffff_ffff };
        assert_eq!(segment[..4], length.to_be_bytes());
        let masked = position as u64 & (u64::MAX << parameters.rotation_bits);
        let aead_key = kdf(&message_key, &[b"DEK:", &masked.to_be_bytes()[..]].concat(), 32);
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &aead_key).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&segment[4..16]).unwrap();
        let associated = [&(position as u64).to_be_bytes()[..], &[u8::from(is_last)]].concat();
        let mut sealed = segment[16..].to_vec();
        plain.extend_from_slice(cipher.open_in_place(nonce, Aad::from(associated), &mut sealed).unwrap());
    }
    plain
}

#[test]
fn published_answers_open() {
    let folder = std::env::var_os("WAKACHI_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let Ok(files) = fs::read_dir(folder.join("vectors/storage/floe")) else {
        return println!("skipped: no published answers of FLOE beside the repository");
    };
    let hex = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let digits: Vec<u8> = text.trim().bytes().map(|b| (b as char).to_digit(16).unwrap() as u8).collect();
        digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect::<Vec<u8>>()
    };
    let mut opened = 0;
    for path in files.map(|file| file.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(stem) = name.strip_suffix("_ct.txt") else { continue };
        let (ciphertext, expected) = (hex(path.clone()), hex(path.with_file_name(format!("{stem}_pt.txt"))));
        let (header, body) = ciphertext.split_at(HEADER_BYTES);
        let segment_bytes = u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize;
        let rotation_bits = if stem.contains("rotation") { 2 } else { 20 };
        let parameters = Parameters { segment_bytes, rotation_bits };
        let found = [&b"This is AAD"[..], b"Test AAD", b""].iter().find_map(|aad| {
            match open(parameters, aad, header, body.chunks(parameters.segment_bytes)) {
                Err(FloeError::HeaderTag) => None,
                result => Some(result.unwrap()),
            }
        });
        assert_eq!(found, Some(expected), "{name}");
        opened += 1;
    }
    assert_eq!(opened, 17);
}

#[test]
fn what_is_sealed_opens_by_the_book_and_here() {
    let check = |parameters: Parameters, aad: &[u8], bytes: usize| {
        let plain = plain(bytes);
        let (header, segments) = seal(parameters, aad, &plain);
        let sealed: usize = segments.iter().map(Vec::len).sum();
        assert_eq!(sealed, bytes + OVERHEAD_BYTES * segments.len());
        assert!(open_by_the_book(parameters, &KEY, aad, &header, &segments) == plain, "{bytes} bytes");
        assert!(open(parameters, aad, &header, segments.iter().map(Vec::as_slice)) == Ok(plain));
    };
    for bytes in (0..=100).chain([8 * 64, 8 * 64 + 1]) {
        check(SMALL, b"", bytes);
        check(SMALL, &[7; 200], bytes);
    }
    for bytes in [0, 1, PLAIN_BYTES - 1, PLAIN_BYTES, PLAIN_BYTES + 1, 3 * PLAIN_BYTES, 3 * PLAIN_BYTES + 9] {
        check(VAULT, &[9; 32], bytes);
    }
}

#[test]
fn positions_far_apart_take_the_keys_of_their_rotation() {
    let mut header = [0; HEADER_BYTES];
    let message = Message::seal_header(VAULT, &data_key(KEY), b"", &mut header);
    let opener = Message::open_header(VAULT, &data_key(KEY), b"", &header).unwrap();
    let text = plain(PLAIN_BYTES);
    for position in [0, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, SEGMENTS_MAX - 1, 0] {
        let (mut segment, mut out) = (Vec::new(), Vec::new());
        message.seal(position, false, &text, &mut segment);
        opener.open(position, false, &segment, &mut out).unwrap();
        assert!(out == text);
        let masked = position & !0xf_ffff;
        assert_eq!(opener.recent.lock().unwrap().as_ref().unwrap().0, masked);
    }
}

#[test]
fn many_threads_seal_and_open_one_file() {
    let mut header = [0; HEADER_BYTES];
    let message = Message::seal_header(SMALL, &data_key(KEY), b"", &mut header);
    let text = plain(8 * 64);
    let parts: Vec<&[u8]> = text.chunks(8).collect();
    let segments: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let seal = |position: usize| {
            let (message, parts) = (&message, &parts);
            scope.spawn(move || {
                let mut out = Vec::new();
                message.seal(position as u64, position + 1 == parts.len(), parts[position], &mut out);
                out
            })
        };
        let threads: Vec<_> = (0..parts.len()).map(seal).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(open_by_the_book(SMALL, &KEY, b"", &header, &segments), text);
}

#[test]
fn nothing_but_what_was_sealed_opens() {
    let (header, segments) = seal(SMALL, b"aad", &plain(20));
    let whole: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
    let open = |aad: &[u8], header: &[u8], segments: &[&[u8]]| {
        open(SMALL, aad, header, segments.iter().copied()).unwrap_err()
    };
    for bit in 0..8 * HEADER_BYTES {
        let mut flipped = header.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit < 80 { FloeError::Parameters } else { FloeError::HeaderTag };
        assert_eq!(open(b"aad", &flipped, &whole), expected, "bit {bit} of the header");
    }
    for bytes in 0..HEADER_BYTES {
        assert_eq!(open(b"aad", &header[..bytes], &whole), FloeError::HeaderLength { bytes });
    }
    assert_eq!(open(b"aaD", &header, &whole), FloeError::HeaderTag);
    for (at, segment) in segments.iter().enumerate() {
        let position = at as u64;
        let with = |other: &[u8]| open(b"aad", &header, &[&whole[..at], &[other], &whole[at + 1..]].concat());
        for bit in 0..8 * segment.len() {
            let mut flipped = segment.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected =
                if bit < 32 { FloeError::Ending { position } } else { FloeError::Tag { position } };
            assert_eq!(with(&flipped), expected, "bit {bit} of segment {at}");
        }
        for bytes in 0..segment.len() {
            let error = with(&segment[..bytes]);
            let short = matches!(error, FloeError::SegmentLength { .. } | FloeError::Ending { .. });
            assert!(short, "{bytes} of segment {at}: {error}");
        }
        let too_long = [&segment[..], &[0; 40]].concat();
        assert_eq!(with(&too_long), FloeError::SegmentLength { position, bytes: too_long.len() });
    }
    let swapped = [whole[1], whole[0], whole[2]];
    assert_eq!(open(b"aad", &header, &swapped), FloeError::Tag { position: 0 });
    assert_eq!(open(b"aad", &header, &whole[..2]), FloeError::Ending { position: 1 });
    let (_, others) = seal(SMALL, b"aad", &plain(20));
    assert_eq!(open(b"aad", &header, &[&others[0], whole[1], whole[2]]), FloeError::Tag { position: 0 });
}

#[test]
fn an_error_leaves_the_output_as_it_was() {
    let key = data_key([5; 32]);
    let (encryptor, header) = Encryptor::start(&key, b"core");
    let mut sealed = b"before".to_vec();
    encryptor.segment(0, true, b"text", &mut sealed);
    assert_eq!(sealed.len(), 6 + 4 + OVERHEAD_BYTES);
    let decryptor = Decryptor::start(&key, b"core", &header).unwrap();
    let mut out = b"kept".to_vec();
    decryptor.segment(0, true, &sealed[6..], &mut out).unwrap();
    assert_eq!(out, b"kepttext");
    for position in [1, SEGMENTS_MAX] {
        decryptor.segment(position, true, &sealed[6..], &mut out).unwrap_err();
        assert_eq!(out, b"kepttext");
    }
    assert_eq!(Decryptor::start(&data_key([6; 32]), b"core", &header).unwrap_err(), FloeError::HeaderTag);
    assert_eq!(format!("{key:?} {encryptor:?}").matches("5, 5").count(), 0);
}

#[test]
fn the_data_key_takes_both_secrets_and_the_core() {
    let hkdf = |salt: &[u8], secret: &[u8], info: &[u8]| {
        let prk = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), secret);
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, prk.as_ref()), &[info, &[1]].concat())
    };
    let derived = |core, s_c, s_s| *DataKey::derive(&[core; 32], &[s_c; 32], &[s_s; 32]).0;
    let expected = hkdf(&[1; 32], &[[2; 32], [3; 32]].concat(), b"wakachi 2026 vault data key");
    assert_eq!(derived(1, 2, 3), expected.as_ref());
    for other in [derived(0, 2, 3), derived(1, 0, 3), derived(1, 2, 0), derived(1, 3, 2)] {
        assert_ne!(derived(1, 2, 3), other);
    }
}

#[test]
fn lengths_of_files_and_ciphertexts_give_each_other() {
    let (full, segment) = (PLAIN_BYTES as u64, SEGMENT_BYTES as u64);
    let cases = [
        (0, 32),
        (1, 33),
        (full, segment),
        (full + 1, segment + 33),
        (2 * full, 2 * segment),
        (full << 40, segment << 40),
    ];
    for (plain, sealed) in cases {
        assert_eq!(ciphertext_bytes(plain), sealed);
        assert_eq!(plaintext_bytes(sealed), Some(plain));
    }
    let none = [0, 31, segment + 1, segment + 32, 2 * segment + 32, (segment << 40) + 33, u64::MAX];
    none.iter().for_each(|sealed| assert_eq!(plaintext_bytes(*sealed), None, "{sealed}"));
}
