//! Is a file the one that was meant? Its size first, which is cheap, then its SHA-256.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// In which way `path` differs from a file of `bytes` bytes whose SHA-256 is `sha256` (lower-case
/// hexadecimal); `None` if it does not.
pub(super) fn difference(path: &Path, bytes: u64, sha256: &str) -> io::Result<Option<String>> {
    let length = path.metadata()?.len();
    if length != bytes {
        return Ok(Some(format!("it has {length} bytes, not {bytes}")));
    }
    let found = sha256_of(path)?;
    Ok((found != sha256).then(|| format!("its SHA-256 is {found}, not {sha256}")))
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_is_that_of_the_standard() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        assert_eq!(sha256_of(file.path()).unwrap(), ABC);
        assert_eq!(difference(file.path(), 3, ABC).unwrap(), None);
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![b'a'; 1_000_000]).unwrap();
        // FIPS 180-2, appendix B.3.
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha256_of(file.path()).unwrap(), million);
        let mut longer = vec![b'a'; (1 << 20) + 1];
        fs::write(file.path(), &longer).unwrap();
        let before = sha256_of(file.path()).unwrap();
        longer[1 << 20] = b'b';
        fs::write(file.path(), &longer).unwrap();
        assert_ne!(sha256_of(file.path()).unwrap(), before);
    }

    #[test]
    fn another_length_and_another_content_are_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abcd").unwrap();
        let length = difference(file.path(), 3, ABC).unwrap().unwrap();
        assert_eq!(length, "it has 4 bytes, not 3");
        fs::write(file.path(), "abd").unwrap();
        let content = difference(file.path(), 3, ABC).unwrap().unwrap();
        assert!(content.contains("SHA-256") && content.ends_with(ABC), "{content}");
    }
}
