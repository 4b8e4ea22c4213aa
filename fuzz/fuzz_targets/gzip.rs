//! A compressed file and a stored seek point: whatever they hold, bytes or a refusal; and where reading works, it works
//! from every seek point with the same bytes. The first byte says whether the rest is the file or what it compresses.
#![no_main]

use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use wakachi_fuzz::on_file;
use workers::gzip::{Reader, SeekPoint};

const STEP: usize = 1 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    if first & 1 == 0 {
        let (point, file) = rest.split_at(rest.len().min(usize::from(first)));
        return on_file(file, |path| {
            read_all(Reader::open(path).ok());
            let point = SeekPoint::from_bytes(point);
            read_all(point.and_then(|point| Reader::resume(path, &point).ok()));
        });
    }
    let members = rest.chunks(1 << (first >> 4)).map(|text| {
        let mut member = GzEncoder::new(Vec::new(), Compression::new(u32::from(first >> 1 & 7)));
        text.chunks(100).for_each(|text| {
            member.write_all(text).and_then(|()| member.flush()).expect("memory takes everything");
        });
        member.finish().expect("memory takes everything")
    });
    on_file(&members.collect::<Vec<_>>().concat(), |path| {
        let mut reader = Reader::open(path).expect("a sound file");
        let (mut text, mut points) = (Vec::new(), Vec::new());
        while reader.fill().expect("a sound file") {
            while !reader.buffer().is_empty() {
                points.push(reader.seek_point());
                let bytes = reader.buffer().len().min(STEP);
                text.extend_from_slice(&reader.buffer()[..bytes]);
                reader.consume(bytes);
            }
        }
        assert_eq!(text, rest);
        for point in points {
            let stored = SeekPoint::from_bytes(&point.to_bytes()).expect("a point just stored");
            assert_eq!(stored, point);
            let resumed = read_all(Reader::resume(path, &stored).ok()).expect("a point of this file");
            assert_eq!(resumed, text[point.position() as usize..]);
        }
    });
});

fn read_all(reader: Option<Reader>) -> Option<Vec<u8>> {
    let (mut reader, mut text) = (reader?, Vec::new());
    while reader.fill().ok()? && text.len() < 1 << 24 {
        text.extend_from_slice(reader.buffer());
        reader.consume(reader.buffer().len());
    }
    Some(text)
}
