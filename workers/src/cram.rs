//! CRAM 3.0 containers of coordinate-sorted records (CRAMv3 §7 to §10), one slice each, in the coding that suits what our
//! own runs hold; several times cheaper than asking htslib, which tries every coding on every block of a fresh file.
//!
//! Invariant: a container is a function of the reference, the read groups and its records. What is not coded here is
//! refused, never approximated: `None` sends the caller to htslib. What these containers decode to is what htslib
//! would have given back: MD and NM that the reference gives are left out, tags come in order but for RG at the end.
//! Knows nothing of the file a container will stand in.

pub(crate) mod rans;
mod series;
mod slice;
mod stream;

use crate::htslib::container::{self, Header};
use kernels::reference::Reference;
use slice::SliceStreams;
use stream::{put_array, put_itf8};

const COMPRESSION_HEADER: u8 = 1;
const SLICE_HEADER: u8 = 2;
const EXTERNAL_DATA: u8 = 4;
const CORE_DATA: u8 = 5;

/// Buffers kept from container to container.
#[derive(Default)]
pub struct ContainerEncoder {
    streams: SliceStreams,
    compressors: stream::Compressors,
}

impl ContainerEncoder {
    /// The container of up to 10,000 records, numbered from 0, with counters that [`renumber`](crate::htslib::renumber)
    /// can change; `groups` are the ids of the header's read groups in order. `None` where this encoder has no code for
    /// a record: contigs mixed, positions not in order, reads without bases that are aligned, unusual tags.
    pub fn container<'a>(
        &mut self,
        reference: &Reference<'_>,
        groups: &[Vec<u8>],
        records: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<Vec<u8>> {
        self.streams.fill(reference, groups, records)?;
        let streams = &self.streams;
        let mut blocks = Vec::with_capacity(streams.raw_bytes() / 4 + 4096);
        let header = streams.compression_header();
        container::put_block(container::RAW, COMPRESSION_HEADER, 0, header.len(), &header, &mut blocks);
        let slice_at = blocks.len();
        let external: Vec<stream::Coded> = streams.coded(&mut self.compressors);
        let slice = self.slice_header(&external);
        container::put_block(container::RAW, SLICE_HEADER, 0, slice.len(), &slice, &mut blocks);
        container::put_block(container::RAW, CORE_DATA, 0, 0, &[], &mut blocks);
        for coded in &external {
            let (method, id) = (coded.method, coded.content_id);
            container::put_block(method, EXTERNAL_DATA, id, coded.raw_bytes, &coded.bytes, &mut blocks);
        }
        let header = Header {
            place: streams.place(),
            records: streams.records(),
            counter: 0,
            counter_at: 0,
            bases: streams.bases(),
            blocks: external.len() as u32 + 3,
            landmarks: vec![slice_at as u32],
            bytes: blocks.len(),
        };
        let mut out = Vec::with_capacity(blocks.len() + 64);
        header.put(&mut out);
        out.append(&mut blocks);
        Some(out)
    }

    /// CRAMv3 §8.4.
    fn slice_header(&self, external: &[stream::Coded]) -> Vec<u8> {
        let mut out = Vec::new();
        self.streams.place().iter().for_each(|&value| put_itf8(value, &mut out));
        put_itf8(self.streams.records(), &mut out);
        container::put_counter(0, &mut out);
        // The core block counts, but has no content id of its own to be listed.
        put_itf8(external.len() as u32 + 1, &mut out);
        let ids: Vec<u32> = external.iter().map(|coded| coded.content_id).collect();
        put_array(&ids, &mut out);
        // No embedded reference.
        put_itf8(u32::MAX, &mut out);
        out.extend_from_slice(&self.streams.reference_md5());
        out
    }
}

#[cfg(test)]
mod tests;
