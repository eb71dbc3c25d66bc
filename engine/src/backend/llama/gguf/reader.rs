//! Reads little-endian values from a file of known length, and never past it.

use std::io::{self, BufRead};

use super::GgufError;

/// A reader that knows where it is and how much there is.
///
/// A length that the file claims is compared with what is left of the file before anything is
/// allocated or skipped, so a made-up one costs nothing.
pub(super) struct Reader<R> {
    inner: R,
    at: u64,
    len: u64,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of `inner`, which has `len` bytes.
    pub(super) fn new(inner: R, len: u64) -> Self {
        Self { inner, at: 0, len }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of the whole file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn u8(&mut self) -> Result<u8, GgufError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, GgufError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string of at most `most` bytes; what is no UTF-8 in it is replaced.
    pub(super) fn string(&mut self, most: u64) -> Result<String, GgufError> {
        let len = self.u64()?;
        self.needs(len)?;
        if len > most {
            return Err(self.corrupt(format!("a name of {len} bytes, at most {most} are allowed")));
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Skips a string.
    pub(super) fn skip_string(&mut self) -> Result<(), GgufError> {
        let len = self.u64()?;
        self.skip(len)
    }

    /// Skips `bytes` bytes.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), GgufError> {
        self.needs(bytes)?;
        let mut left = bytes;
        while left > 0 {
            let buffered = self.inner.fill_buf().map_err(GgufError::Io)?.len() as u64;
            if buffered == 0 {
                return Err(self.shrunk(bytes));
            }
            let step = buffered.min(left);
            self.inner.consume(step as usize);
            left -= step;
        }
        self.at += bytes;
        Ok(())
    }

    /// The error for contents that cannot be.
    pub(super) fn corrupt(&self, what: String) -> GgufError {
        GgufError::Corrupt { at: self.at, what }
    }

    /// Refuses to go on when fewer than `bytes` bytes are left.
    fn needs(&self, bytes: u64) -> Result<(), GgufError> {
        if bytes <= self.len - self.at {
            return Ok(());
        }
        Err(GgufError::Truncated { expected: self.at.saturating_add(bytes), found: self.len })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        let wanted = bytes.len() as u64;
        self.needs(wanted)?;
        match self.inner.read_exact(bytes) {
            Ok(()) => self.at += wanted,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.shrunk(wanted));
            }
            Err(error) => return Err(GgufError::Io(error)),
        }
        Ok(())
    }

    /// The file became shorter while it was read.
    fn shrunk(&self, wanted: u64) -> GgufError {
        GgufError::Truncated { expected: self.at.saturating_add(wanted), found: self.at }
    }
}
