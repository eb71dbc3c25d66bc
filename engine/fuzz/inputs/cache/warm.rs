//! The header's place in the crate.

use twox_hash::XxHash3_64;

use self::header::{Header, HeaderError};
use super::FileProblem;

#[path = "../../../src/cache/warm/header.rs"]
#[allow(dead_code, unreachable_pub)]
mod header;

/// Magic, format, lengths and the payload's checksum: what goes before the fields.
const FIXED: usize = 40;
const CHECKSUM: usize = 8;

/// Reads a file as it is, and once more with a checksum that fits its header: nobody guesses 64 bits, and
/// what is behind them is to be tried too. Whoever may write the file may write its checksum.
pub(crate) fn read(file: &[u8]) -> [Result<(), FileProblem>; 2] {
    let mut mended = file.to_vec();
    mend(&mut mended);
    [read_once(file), read_once(&mended)]
}

fn read_once(file: &[u8]) -> Result<(), FileProblem> {
    let mut payload = file;
    match Header::read(&mut payload, file.len() as u64) {
        Ok(header) => {
            assert_eq!(header.payload_len, payload.len() as u64, "it stands at the payload");
            header.verify(payload)?;
            // What is believed is what somebody could have written.
            let again = Header::encode(&header.agent, &header.tag, &header.tokens, payload);
            assert!(file == [&again[..], payload].concat(), "read as something else");
            Ok(())
        }
        Err(HeaderError::Problem(problem)) => Err(problem),
        Err(HeaderError::Io(error)) => panic!("a slice has no errors: {error}"),
    }
}

fn mend(file: &mut [u8]) {
    let number = |at: usize| {
        let bytes = file.get(at..at + 4)?;
        bytes.first_chunk().map(|number| u64::from(u32::from_le_bytes(*number)))
    };
    let [Some(agent), Some(tag), Some(tokens)] = [12, 16, 20].map(number) else { return };
    let body = FIXED as u64 + agent + tag + 4 * tokens;
    if body + CHECKSUM as u64 <= file.len() as u64 {
        let (body, rest) = file.split_at_mut(body as usize);
        rest[..CHECKSUM].copy_from_slice(&XxHash3_64::oneshot(body).to_le_bytes());
    }
}
