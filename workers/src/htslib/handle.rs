//! htslib's objects as owned Rust values: the only foreign calls and the only `unsafe` of the binding.
//!
//! Invariant: each handle frees its object once, and no pointer into a handle outlives it. What may be opened is
//! decided by who calls; these handles only ever touch file descriptors and absolute paths they are given, so htslib's
//! URL schemes, reference look-ups by MD5 and caches are out of reach.
#![allow(unsafe_code)] // htslib is C

use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, Once};

use hts_sys as c;

/// BAM's fixed fields (SAMv1 §4.2) in bytes.
const FIXED: usize = 32;

/// htslib reports through return values; its own talk on stderr would mix with the program's.
fn silence() {
    static ONCE: Once = Once::new();
    // SAFETY: sets one global integer of htslib, once.
    ONCE.call_once(|| unsafe { c::hts_set_log_level(c::htsLogLevel_HTS_LOG_OFF) });
}

/// A path as htslib takes it: absolute, so that no part of it reads as a URL scheme.
pub fn c_path(path: &Path) -> io::Result<CString> {
    let absolute = std::path::absolute(path)?;
    CString::new(absolute.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A file in memory, seen by htslib through a file descriptor.
pub fn memory_file(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: the name is a terminated literal; the result is checked before it is owned.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"htslib".as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        File::from_raw_fd(fd)
    };
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// What kind of alignment file htslib sees in the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SAM text, plain or compressed.
    Sam,
    /// BAM.
    Bam,
    /// CRAM.
    Cram,
}

/// What came of reading one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A record is there.
    Record,
    /// The stream ended as it should.
    End,
    /// The bytes do not decode.
    Damaged,
}

/// A SAM header.
pub struct Header(NonNull<c::sam_hdr_t>);

// SAFETY: a header is plain memory without thread affinity; it is only changed through `&mut`.
unsafe impl Send for Header {}

impl Header {
    /// Parses SAM header text.
    pub fn parse(text: &str) -> Option<Header> {
        silence();
        // SAFETY: pointer and length describe `text`, which htslib copies.
        let header = unsafe { c::sam_hdr_parse(text.len(), text.as_ptr().cast()) };
        NonNull::new(header).map(Header)
    }

    /// The header as text.
    pub fn text(&mut self) -> Vec<u8> {
        // SAFETY: the string belongs to the header and is copied at once.
        unsafe {
            let text = c::sam_hdr_str(self.0.as_ptr());
            if text.is_null() { Vec::new() } else { CStr::from_ptr(text).to_bytes().to_vec() }
        }
    }

    /// Names and lengths of the contigs.
    pub fn contigs(&self) -> Vec<(String, u64)> {
        // SAFETY: ids run below `sam_hdr_nref`; names belong to the header and are copied.
        unsafe {
            (0..c::sam_hdr_nref(self.0.as_ptr()))
                .map(|id| {
                    let name = CStr::from_ptr(c::sam_hdr_tid2name(self.0.as_ptr(), id));
                    let length = c::sam_hdr_tid2len(self.0.as_ptr(), id);
                    (name.to_string_lossy().into_owned(), length.max(0) as u64)
                })
                .collect()
        }
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { c::sam_hdr_destroy(self.0.as_ptr()) }
    }
}

/// One alignment in htslib's memory layout.
pub struct Alignment(NonNull<c::bam1_t>);

// SAFETY: plain owned memory.
unsafe impl Send for Alignment {}

impl Alignment {
    /// An empty alignment.
    pub fn new() -> Alignment {
        // SAFETY: returns a fresh object or null.
        Alignment(NonNull::new(unsafe { c::bam_init1() }).expect("allocation of a small struct"))
    }

    /// Takes over a record in BAM's layout; `None` if it is none.
    pub fn load(&mut self, bytes: &[u8]) -> Option<()> {
        let record = crate::record::Record::new(bytes).ok()?;
        let name_bytes = bytes[8] as usize;
        // Names are padded so that the CIGAR behind them is aligned.
        let padding = name_bytes.next_multiple_of(4) - name_bytes;
        let length = bytes.len() - FIXED + padding;
        let length_c = c_int::try_from(length).ok()?;
        // SAFETY: `data` is grown to `length` bytes by the allocator htslib frees it with, before it is filled.
        let data = unsafe {
            let b = self.0.as_mut();
            if (b.m_data as usize) < length {
                let capacity = u32::try_from(length.next_power_of_two()).ok()?;
                let data = libc::realloc(b.data.cast(), capacity as usize).cast::<u8>();
                if data.is_null() {
                    return None;
                }
                ptr::write_bytes(data, 0, capacity as usize);
                b.data = data;
                b.m_data = capacity;
            }
            b.l_data = length_c;
            b.core.tid = record.contig();
            b.core.pos = record.position().into();
            b.core.bin = u16::from_le_bytes([bytes[10], bytes[11]]);
            b.core.qual = record.mapq();
            b.core.l_extranul = padding as u8;
            b.core.flag = record.flag();
            b.core.l_qname = (name_bytes + padding) as u16;
            b.core.n_cigar = record.cigar().len() as u32;
            b.core.l_qseq = record.bases() as i32;
            b.core.mtid = record.mate_contig();
            b.core.mpos = record.mate_position().into();
            b.core.isize_ = record.template_length().into();
            std::slice::from_raw_parts_mut(b.data, length)
        };
        let (name, rest) = bytes[FIXED..].split_at(name_bytes);
        data[..name_bytes].copy_from_slice(name);
        data[name_bytes..name_bytes + padding].fill(0);
        data[name_bytes + padding..].copy_from_slice(rest);
        Some(())
    }

    /// Writes the record in BAM's layout to `out`; `None` where it does not fit BAM (positions beyond 2^31, over 65,535
    /// CIGAR operations).
    pub fn store(&self, out: &mut Vec<u8>) -> Option<()> {
        // SAFETY: htslib filled the object; `l_data` bytes of `data` are initialised.
        let (core, data) = unsafe {
            let b = self.0.as_ref();
            let data: &[u8] = if b.data.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(b.data, b.l_data.max(0) as usize)
            };
            (&b.core, data)
        };
        let padded = usize::from(core.l_qname);
        let name_bytes = padded.checked_sub(core.l_extranul.into())?;
        let rest = data.get(padded..)?;
        out.clear();
        out.extend_from_slice(&core.tid.to_le_bytes());
        out.extend_from_slice(&i32::try_from(core.pos).ok()?.to_le_bytes());
        out.push(u8::try_from(name_bytes).ok()?);
        out.push(core.qual);
        out.extend_from_slice(&core.bin.to_le_bytes());
        out.extend_from_slice(&u16::try_from(core.n_cigar).ok()?.to_le_bytes());
        out.extend_from_slice(&core.flag.to_le_bytes());
        out.extend_from_slice(&core.l_qseq.to_le_bytes());
        out.extend_from_slice(&core.mtid.to_le_bytes());
        out.extend_from_slice(&i32::try_from(core.mpos).ok()?.to_le_bytes());
        out.extend_from_slice(&i32::try_from(core.isize_).ok()?.to_le_bytes());
        out.extend_from_slice(data.get(..name_bytes)?);
        out.extend_from_slice(rest);
        crate::record::Record::new(out).ok().map(|_| ())
    }

    /// Appends the record as a line of SAM text, without line end, to `out`.
    pub fn format(&self, header: &Header, out: &mut Vec<u8>) -> Option<()> {
        let mut line = c::kstring_t { l: 0, m: 0, s: ptr::null_mut() };
        // SAFETY: htslib grows `line` with malloc; its `l` bytes are copied and the buffer freed once.
        unsafe {
            let length = c::sam_format1(header.0.as_ptr(), self.0.as_ptr(), &mut line);
            if length >= 0 {
                out.extend_from_slice(std::slice::from_raw_parts(line.s.cast::<u8>(), line.l));
            }
            libc::free(line.s.cast());
            (length >= 0).then_some(())
        }
    }
}

impl Drop for Alignment {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { c::bam_destroy1(self.0.as_ptr()) }
    }
}

/// A reference's sequences, loaded contig by contig as they are needed and shared by the CRAM files that name them.
///
/// htslib counts the users of the set in a plain integer, so every attaching and releasing happens under `users`.
pub struct References {
    refs: NonNull<c::refs_t>,
    users: Mutex<()>,
    /// The file that owns the set; never read or written.
    owner: Option<AlignmentFile<'static>>,
}

// SAFETY: htslib guards loading and counting of sequences with the set's own mutex, the table of contigs is not changed
// after `load`, and the user count is changed under `users` only.
unsafe impl Send for References {}
// SAFETY: as above.
unsafe impl Sync for References {}

impl References {
    /// Opens an indexed FASTA for the contigs of a header; each of them must be in the FASTA.
    pub fn load(fasta: &Path, header: &Header) -> io::Result<References> {
        let owner = AlignmentFile::create_cram(memory_file(&[])?, header)?;
        owner.set_reference(fasta)?;
        // SAFETY: `owner` is an open CRAM file; the set it returns lives at least as long as `owner`.
        let refs = unsafe { c::cram_get_refs(owner.file.as_ptr()) };
        let refs = NonNull::new(refs).ok_or(io::ErrorKind::InvalidData)?;
        Ok(References { refs, users: Mutex::new(()), owner: Some(owner) })
    }

    fn locked<T>(&self, run: impl FnOnce() -> T) -> T {
        let _guard = self.users.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        run()
    }
}

impl Drop for References {
    fn drop(&mut self) {
        self.owner.take();
    }
}

/// An open SAM, BAM or CRAM file. Those that share [`References`] borrow them.
pub struct AlignmentFile<'r> {
    file: NonNull<c::htsFile>,
    references: Option<&'r References>,
    /// A CRAM index points into its file, so it lives and ends here.
    index: Option<Index>,
}

// SAFETY: a file has no thread affinity; all use is through `&mut` or on values no other thread holds.
unsafe impl Send for AlignmentFile<'_> {}

impl<'r> AlignmentFile<'r> {
    /// Opens for reading. The name is for htslib's own record only.
    pub fn open(file: impl Into<OwnedFd>, name: &CStr) -> io::Result<(AlignmentFile<'r>, Kind)> {
        silence();
        let stream = Stream::new(file.into(), c"r")?;
        // SAFETY: the stream is open; detection peeks and fills `format`.
        let kind = unsafe {
            let mut format = std::mem::zeroed::<c::htsFormat>();
            if c::hts_detect_format(stream.0.as_ptr(), &mut format) < 0 {
                return Err(io::Error::last_os_error());
            }
            match format.format {
                c::htsExactFormat_sam => Kind::Sam,
                c::htsExactFormat_bam => Kind::Bam,
                c::htsExactFormat_cram => Kind::Cram,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        };
        Ok((Self::from_stream(stream, name, c"r")?, kind))
    }

    /// Opens a CRAM file for writing containers of records; neither file definition nor header is written.
    pub fn create_cram(file: impl Into<OwnedFd>, header: &Header) -> io::Result<AlignmentFile<'r>> {
        silence();
        let file = Self::from_stream(Stream::new(file.into(), c"w")?, c"cram", c"wc")?;
        // SAFETY: the file is CRAM, so `fp.cram` is the valid member; the header is copied.
        let status = unsafe { c::cram_set_header(file.cram(), header.0.as_ptr()) };
        // A missing reference must fail, not switch to embedding one.
        file.set_option(c::hts_fmt_option_CRAM_OPT_EMBED_REF, 0)?;
        if status < 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(file) }
    }

    fn from_stream(stream: Stream, name: &CStr, mode: &CStr) -> io::Result<AlignmentFile<'r>> {
        // SAFETY: on success htslib owns the stream, on failure it is still ours and dropped.
        let file = unsafe { c::hts_hopen(stream.0.as_ptr(), name.as_ptr(), mode.as_ptr()) };
        let file = NonNull::new(file).ok_or(io::ErrorKind::InvalidData)?;
        std::mem::forget(stream);
        Ok(AlignmentFile { file, references: None, index: None })
    }

    fn cram(&self) -> *mut c::cram_fd {
        // SAFETY: read only by callers that know the file is CRAM.
        unsafe { self.file.as_ref().fp.cram }
    }

    fn set_option(&self, option: c::hts_fmt_option, value: c_int) -> io::Result<()> {
        // SAFETY: every option passed here takes one int.
        match unsafe { c::hts_set_opt(self.file.as_ptr(), option, value) } {
            0 => Ok(()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Names the FASTA of a CRAM file.
    pub fn set_reference(&self, fasta: &Path) -> io::Result<()> {
        let fasta = c_path(fasta)?;
        // SAFETY: the option takes a path, which htslib copies.
        let status = unsafe {
            c::hts_set_opt(self.file.as_ptr(), c::hts_fmt_option_CRAM_OPT_REFERENCE, fasta.as_ptr())
        };
        if status == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Makes a CRAM file use sequences already loaded.
    pub fn share_references(&mut self, references: &'r References) -> io::Result<()> {
        let refs = references.refs.as_ptr();
        let option = c::hts_fmt_option_CRAM_OPT_SHARED_REF;
        // SAFETY: the option takes a set of references, which outlives `self` by the borrow.
        let status = references.locked(|| unsafe { c::hts_set_opt(self.file.as_ptr(), option, refs) });
        self.references = Some(references);
        if status == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Takes M5 and UR of a contig out of a CRAM file's own header, so that htslib has nowhere to look for a sequence
    /// that the FASTA does not hold.
    pub fn forbid_look_up(&mut self, contig: &str) {
        let Ok(name) = CString::new(contig) else { return };
        for tag in [c"M5", c"UR"] {
            // SAFETY: the file is CRAM and owns its header; all strings are terminated.
            unsafe {
                let header = c::cram_fd_get_header(self.cram());
                c::sam_hdr_remove_tag_id(header, c"SQ".as_ptr(), c"SN".as_ptr(), name.as_ptr(), tag.as_ptr());
            }
        }
    }

    /// Reads the header; must be the first read.
    pub fn header(&mut self) -> Option<Header> {
        // SAFETY: returns a header of its own or null.
        NonNull::new(unsafe { c::sam_hdr_read(self.file.as_ptr()) }).map(Header)
    }

    /// Reads the next record in file order.
    pub fn read(&mut self, header: &mut Header, alignment: &mut Alignment) -> Next {
        // SAFETY: all three are live and of one file.
        let status = unsafe { c::sam_read1(self.file.as_ptr(), header.0.as_ptr(), alignment.0.as_ptr()) };
        self.next(status)
    }

    fn next(&self, status: c_int) -> Next {
        match status {
            0.. => Next::Record,
            -1 if self.ended_well() => Next::End,
            _ => Next::Damaged,
        }
    }

    /// Whether the end of the stream carries the mark its format puts there.
    fn ended_well(&self) -> bool {
        // SAFETY: the format says which member of the union is the valid one.
        unsafe {
            let file = self.file.as_ref();
            match file.format.format {
                c::htsExactFormat_cram => c::cram_eof(file.fp.cram) == 1,
                c::htsExactFormat_bam => (*file.fp.bgzf).no_eof_block() == 0,
                _ => true,
            }
        }
    }

    /// Loads the index beside the file.
    pub fn load_index(&mut self, path: &CStr) -> Option<()> {
        // SAFETY: a null index path means htslib's own rule; flags 0 load nothing remote.
        let index = unsafe { c::sam_index_load3(self.file.as_ptr(), path.as_ptr(), ptr::null(), 0) };
        self.index = NonNull::new(index).map(Index);
        self.index.as_ref().map(|_| ())
    }

    /// A query through the loaded index for records that overlap a 0-based half-open interval.
    pub fn query(&self, contig: u32, start: u32, end: u32) -> Option<Query> {
        let contig = c_int::try_from(contig).ok()?;
        let index = self.index.as_ref()?.0.as_ptr();
        // SAFETY: the index is live; the query holds no pointer into it.
        NonNull::new(unsafe { c::sam_itr_queryi(index, contig, start.into(), end.into()) }).map(Query)
    }

    /// Reads the next record of a query.
    pub fn read_query(&mut self, query: &mut Query, alignment: &mut Alignment) -> Next {
        // SAFETY: query, file and alignment are live; `bgzf` is valid unless the file is CRAM, as `sam_itr_next` does it.
        let status = unsafe {
            let file = self.file.as_ptr();
            let bgzf = if (*file).is_cram() == 1 { ptr::null_mut() } else { (*file).fp.bgzf };
            c::hts_itr_next(bgzf, query.0.as_ptr(), alignment.0.as_ptr().cast(), file.cast())
        };
        match status {
            0.. => Next::Record,
            -1 => Next::End,
            _ => Next::Damaged,
        }
    }

    /// Adds a record to a CRAM file.
    pub fn write_cram(&mut self, alignment: &Alignment) -> Option<()> {
        // SAFETY: the file is CRAM with a header of its own; htslib copies the alignment.
        let status = unsafe {
            c::sam_write1(self.file.as_ptr(), c::cram_fd_get_header(self.cram()), alignment.0.as_ptr())
        };
        (status >= 0).then_some(())
    }

    /// Writes the containers out that a CRAM file still holds.
    pub fn flush_containers(&mut self) -> Option<()> {
        // SAFETY: the file is CRAM and open for writing.
        unsafe {
            (c::cram_flush(self.cram()) == 0 && c::hflush(c::cram_fd_get_fp(self.cram())) == 0).then_some(())
        }
    }
}

impl Drop for AlignmentFile<'_> {
    fn drop(&mut self) {
        self.index.take();
        // SAFETY: owned, closed once. The outcome does not matter: what must be on disk was flushed and checked.
        let close = || unsafe { c::hts_close(self.file.as_ptr()) };
        match self.references {
            Some(references) => references.locked(close),
            None => close(),
        };
    }
}

struct Index(NonNull<c::hts_idx_t>);

impl Drop for Index {
    fn drop(&mut self) {
        // SAFETY: owned, freed once, before its file.
        unsafe { c::hts_idx_destroy(self.0.as_ptr()) }
    }
}

/// A running query.
pub struct Query(NonNull<c::hts_itr_t>);

// SAFETY: plain owned memory.
unsafe impl Send for Query {}

impl Drop for Query {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { c::hts_itr_destroy(self.0.as_ptr()) }
    }
}

/// htslib's stream over a file descriptor.
struct Stream(NonNull<c::hFILE>);

impl Stream {
    fn new(file: OwnedFd, mode: &CStr) -> io::Result<Stream> {
        // SAFETY: on success htslib owns the descriptor, which `into_raw_fd` gave up; on failure it is still ours.
        unsafe {
            let stream = c::hdopen(file.as_raw_fd(), mode.as_ptr());
            let stream = NonNull::new(stream).ok_or_else(io::Error::last_os_error)?;
            let _ = file.into_raw_fd();
            Ok(Stream(stream))
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: owned, closed once.
        unsafe { c::hclose_abruptly(self.0.as_ptr()) }
    }
}

/// Builds BAI (`min_shift` 0), CSI or CRAI as the file asks for. Errors by htslib's own codes.
pub fn build_alignment_index(path: &CStr, index: &CStr, min_shift: c_int) -> Result<(), c_int> {
    silence();
    // SAFETY: terminated strings; no threads.
    match unsafe { c::sam_index_build3(path.as_ptr(), index.as_ptr(), min_shift, 0) } {
        0.. => Ok(()),
        code => Err(code),
    }
}

/// Builds `.fai` (and `.gzi` for BGZF) beside a FASTA.
pub fn build_fasta_index(path: &CStr, fai: &CStr, gzi: &CStr) -> Option<()> {
    silence();
    // SAFETY: terminated strings.
    (unsafe { c::fai_build3(path.as_ptr(), fai.as_ptr(), gzi.as_ptr()) } == 0).then_some(())
}

/// The bytes of a memory file from its beginning.
pub fn memory_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
