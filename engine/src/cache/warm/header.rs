//! How a stored sequence begins, and what is believed of it.
//!
//! All numbers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `LATCHSEQ` |
//! | 4 | format, 1 |
//! | 4, 4, 4 | lengths of agent and tag in bytes, of the token list in tokens |
//! | 8, 8 | length and XXH3 of the payload |
//! | … | agent, tag, tokens (4 bytes each) |
//! | 8 | XXH3 of everything before |
//! | … | the payload, to the end of the file |
//!
//! A parser of lengths that somebody else wrote: every length is checked against the length of the file
//! before memory is taken for it, so it never takes more than the file has.

use std::io::{self, Read};

use latchless::AgentId;
use twox_hash::XxHash3_64;

use super::super::{FileProblem, ModelTag};
use crate::backend::Token;

const MAGIC: [u8; 8] = *b"LATCHSEQ";
const FORMAT: u32 = 1;
/// Magic, format, three short lengths, length and checksum of the payload.
const FIXED: usize = 8 + 4 + 3 * 4 + 2 * 8;
const CHECKSUM: usize = 8;

/// The header of a stored sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) agent: AgentId,
    pub(super) tag: ModelTag,
    pub(super) tokens: Vec<Token>,
    pub(super) payload_len: u64,
    payload_checksum: u64,
}

/// A header that was not read.
#[derive(Debug)]
pub(super) enum HeaderError {
    Io(io::Error),
    Problem(FileProblem),
}

impl From<FileProblem> for HeaderError {
    fn from(problem: FileProblem) -> Self {
        Self::Problem(problem)
    }
}

impl Header {
    /// The bytes that go before `payload`.
    pub(super) fn encode(
        agent: &AgentId,
        tag: &ModelTag,
        tokens: &[Token],
        payload: &[u8],
    ) -> Vec<u8> {
        let (agent, tag) = (agent.as_str().as_bytes(), tag.as_bytes());
        let len = FIXED + agent.len() + tag.len() + 4 * tokens.len() + CHECKSUM;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend(MAGIC);
        for number in [FORMAT, agent.len() as u32, tag.len() as u32, tokens.len() as u32] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(XxHash3_64::oneshot(payload).to_le_bytes());
        bytes.extend(agent);
        bytes.extend(tag);
        bytes.extend(tokens.iter().flat_map(|token| token.0.to_le_bytes()));
        bytes.extend(XxHash3_64::oneshot(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header of a file of `file_len` bytes. `file` stands at the payload afterwards, and the
    /// payload is as long as the header says.
    pub(super) fn read(file: &mut impl Read, file_len: u64) -> Result<Self, HeaderError> {
        let short = |expected| FileProblem::Short { expected, found: file_len };
        let mut bytes = vec![0; FIXED];
        exactly(file, &mut bytes[..8 + 4], short((FIXED + CHECKSUM) as u64))?;
        if bytes[..8] != MAGIC {
            return Err(FileProblem::NotASequence.into());
        }
        let found = u32_at(&bytes, 8);
        if found != FORMAT {
            return Err(FileProblem::Version { found, known: FORMAT }.into());
        }
        exactly(file, &mut bytes[8 + 4..], short((FIXED + CHECKSUM) as u64))?;
        let [agent, tag, tokens] = [12, 16, 20].map(|at| u64::from(u32_at(&bytes, at)));
        let [payload_len, payload_checksum] = [24, 32].map(|at| u64_at(&bytes, at));

        // Cannot overflow: three numbers of 32 bits.
        let header_len = (FIXED + CHECKSUM) as u64 + agent + tag + 4 * tokens;
        let expected = header_len.saturating_add(payload_len);
        if expected > file_len {
            return Err(short(expected).into());
        }
        if expected < file_len {
            return Err(FileProblem::Long { extra: file_len - expected }.into());
        }
        bytes.resize(header_len as usize, 0);
        exactly(file, &mut bytes[FIXED..], short(expected))?;

        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        if XxHash3_64::oneshot(body) != u64_at(checksum, 0) {
            return Err(FileProblem::Checksum { part: "header" }.into());
        }
        let field = |field| FileProblem::Field { field };
        let (name, rest) = body[FIXED..].split_at(agent as usize);
        let (tag, tokens) = rest.split_at(tag as usize);
        let name = str::from_utf8(name).map_err(|_| field("the agent's id"))?;
        let agent = AgentId::new(name).map_err(|_| field("the agent's id"))?;
        let tag = ModelTag::parse(tag.to_vec()).ok_or(field("the model's tag"))?;
        let (tokens, _) = tokens.as_chunks::<4>();
        let tokens = tokens.iter().map(|token| Token(i32::from_le_bytes(*token))).collect();
        Ok(Self { agent, tag, tokens, payload_len, payload_checksum })
    }

    /// Refuses a payload that is not the one that was written.
    pub(super) fn verify(&self, payload: &[u8]) -> Result<(), FileProblem> {
        if XxHash3_64::oneshot(payload) == self.payload_checksum {
            Ok(())
        } else {
            Err(FileProblem::Checksum { part: "payload" })
        }
    }
}

/// Fills `bytes`; a file that ends before has become shorter since its length was asked.
fn exactly(file: &mut impl Read, bytes: &mut [u8], short: FileProblem) -> Result<(), HeaderError> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => short.into(),
        _ => HeaderError::Io(error),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |number| u32::from_le_bytes(*number))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use latchless::ModelSpec;

    use super::*;

    const PAYLOAD: &[u8] = b"what the model remembers";

    fn agent() -> AgentId {
        AgentId::new("planner").unwrap()
    }

    fn tag() -> ModelTag {
        ModelTag::new("b 1", "m", &ModelSpec::new(4, 8, 128, 32).unwrap(), 100)
    }

    fn file() -> Vec<u8> {
        let tokens: Vec<_> = (0..50).map(Token).collect();
        let mut bytes = Header::encode(&agent(), &tag(), &tokens, PAYLOAD);
        bytes.extend(PAYLOAD);
        bytes
    }

    /// Header and payload of a file, as [`WarmCache`](super::super::WarmCache) reads them.
    fn read(mut file: &[u8]) -> Result<Header, FileProblem> {
        let len = file.len() as u64;
        let header = match Header::read(&mut file, len) {
            Ok(header) => header,
            Err(HeaderError::Problem(problem)) => return Err(problem),
            Err(HeaderError::Io(error)) => panic!("{error}"),
        };
        header.verify(file)?;
        Ok(header)
    }

    #[test]
    fn what_was_written_is_read() {
        let header = read(&file()).unwrap();
        assert_eq!((header.agent, header.tag), (agent(), tag()));
        assert_eq!((header.tokens.len(), header.tokens[49]), (50, Token(49)));
        assert_eq!(header.payload_len, PAYLOAD.len() as u64);
    }

    /// Case 27: empty, too short, cut off anywhere.
    #[test]
    fn a_file_that_ends_early_is_short() {
        let file = file();
        for len in 0..file.len() {
            let problem = read(&file[..len]).unwrap_err();
            assert!(matches!(problem, FileProblem::Short { .. }), "{len}: {problem}");
        }
        let longer = [&file[..], b"!"].concat();
        assert_eq!(read(&longer), Err(FileProblem::Long { extra: 1 }));
    }

    #[test]
    fn foreign_and_newer_files_are_told_apart_from_damaged_ones() {
        let mut bytes = file();
        bytes[8] = 2;
        assert_eq!(read(&bytes), Err(FileProblem::Version { found: 2, known: 1 }));
        bytes[0] = b'X';
        assert_eq!(read(&bytes), Err(FileProblem::NotASequence));
        assert_eq!(read(&[0xFF; 100]), Err(FileProblem::NotASequence));
    }

    /// Every single bit of a file counts.
    #[test]
    fn no_bit_can_be_flipped() {
        let whole = file();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "bit {bit}");
        }
    }

    /// Mutations at random, half of them with a checksum that is right again, so that what is behind the
    /// checksum sees them too. No panic, and no more memory than the file has, three times over: the
    /// bytes, and what is made of them.
    #[test]
    fn hostile_headers_take_no_more_memory_than_the_file_has() {
        let mut random = fastrand::Rng::with_seed(27);
        let (mut refused, mut behind) = (0, 0);
        for round in 0..40_000 {
            let mut bytes = file();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(8..bytes.len());
                bytes[at] = if random.bool() { random.u8(..) } else { 0xFF };
            }
            match random.u8(0..4) {
                0 => bytes.truncate(random.usize(0..bytes.len())),
                1 => bytes.extend(std::iter::repeat_n(0, random.usize(0..99))),
                _ => {}
            }
            let fixed = round % 2 == 0;
            if fixed {
                mend(&mut bytes);
            }
            let mut outcome = Err(FileProblem::NotASequence);
            let peak = measure(|| outcome = read(&bytes)).bytes_max;
            let most = 3 * bytes.len() as u64 + 512;
            assert!(peak <= most, "{peak} bytes for a file of {}", bytes.len());
            refused += u32::from(outcome.is_err());
            behind += u32::from(matches!(outcome, Err(FileProblem::Field { .. })));
        }
        assert!(refused > 30_000, "{refused} refused");
        assert!(behind > 1_000, "{behind} came behind the checksum");
    }

    /// Gives a header the checksum of what it has become, if its lengths still lie in the file.
    fn mend(bytes: &mut [u8]) {
        if bytes.len() < FIXED {
            return;
        }
        let lens = [12, 16, 20].map(|at| u64::from(u32_at(bytes, at)));
        let body = FIXED as u64 + lens[0] + lens[1] + 4 * lens[2];
        if body + CHECKSUM as u64 <= bytes.len() as u64 {
            let (body, rest) = bytes.split_at_mut(body as usize);
            rest[..CHECKSUM].copy_from_slice(&XxHash3_64::oneshot(body).to_le_bytes());
        }
    }
}
