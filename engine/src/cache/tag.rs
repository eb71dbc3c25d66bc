//! Which model a state belongs to.

use std::fmt::{self, Display, Write};
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use latchless::{Attention, KvBits, ModelSpec};
use twox_hash::XxHash3_64;

use crate::backend::Model;

/// Everything that must be equal for a state to mean the same: the backend and its version, the model
/// and its weights, and each field of geometry and quantisation.
///
/// It is kept as named fields, so that a refusal can name the one that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTag(String);

/// The first field in which two tags differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagDifference {
    /// Its name.
    pub field: String,
    /// What it has to be.
    pub expected: String,
    /// What it was.
    pub found: String,
}

impl Display for TagDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, expected, found } = self;
        write!(f, "{field} is {found}, not {expected}")
    }
}

impl ModelTag {
    /// The tag of a model. `backend` names the form of the states, its version included, for example
    /// `"llama-cpp-2 0.1.160"`.
    ///
    /// Geometry does not tell two fine-tunes of one model apart: add the [`fingerprint`] of the file by
    /// [`with`](Self::with). A state also depends on how its context lays out cells, where it does.
    pub fn new(backend: &str, model: &str, spec: &ModelSpec, vocabulary: u32) -> Self {
        let (bits, group) = match spec.bits() {
            KvBits::Sixteen => (16, 0),
            KvBits::Eight { group } => (8, group),
            KvBits::Four { group } => (4, group),
        };
        Self(String::new())
            .with("backend", backend)
            .with("model", model)
            .with("vocabulary", vocabulary)
            .with("layers", spec.layers())
            .with("attention", attention(spec.attention()))
            .with("KV heads", spec.kv_heads())
            .with("head size", spec.head_size())
            .with("tokens a block", spec.block_tokens())
            .with("bits", bits)
            .with("quantisation group", group)
    }

    /// The tag of a loaded model.
    pub fn of(backend: &str, model: &dyn Model) -> Self {
        Self::new(backend, model.name(), model.spec(), model.vocabulary_size())
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Display) -> Self {
        // A line a field; a name from a model's file may hold anything.
        let value = value.to_string().escape_default().to_string();
        let _infallible = writeln!(self.0, "{field}={value}");
        self
    }

    /// The first field that is not as it has to be, if any.
    pub fn difference(&self, found: &Self) -> Option<TagDifference> {
        if self == found {
            return None;
        }
        let nothing = ("the end", "nothing");
        let field = |line: Option<&'_ str>| match line {
            Some(line) => line.split_once('=').map(|(field, value)| (field.into(), value.into())),
            None => Some((nothing.0.to_owned(), nothing.1.to_owned())),
        };
        let (mut expected, mut actual) = (self.0.lines(), found.0.lines());
        loop {
            let (left, right) = (expected.next(), actual.next());
            if left == right && left.is_some() {
                continue;
            }
            let (name, value) = field(left)?;
            let (other, found) = field(right)?;
            let field = if left.is_some() { name } else { other };
            return Some(TagDifference { field, expected: value, found });
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A tag as it was written: lines of `field=value`.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let well_formed = text.ends_with('\n') && text.lines().all(|line| line.contains('='));
        well_formed.then_some(Self(text))
    }
}

/// One word a run of equal layers: `30*full`, `1*sliding(4096)`.
fn attention(layers: &[Attention]) -> String {
    let mut words = Vec::new();
    for run in layers.chunk_by(|one, next| one == next) {
        words.push(match run[0] {
            Attention::Full => format!("{}*full", run.len()),
            Attention::Sliding { window } => format!("{}*sliding({window})", run.len()),
        });
    }
    words.join(" ")
}

/// A number that tells model files apart: their length, and 64 samples of 64 KiB from the first byte to
/// the last. It reads 4 MiB of a model of any size, so it takes milliseconds where a checksum of the whole would take
/// as long as loading it.
///
/// # Errors
/// The file cannot be read.
pub fn fingerprint(path: impl AsRef<Path>) -> io::Result<u64> {
    const SAMPLES: u64 = 64;
    const SAMPLE: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut hasher = XxHash3_64::new();
    hasher.write_u64(len);
    let mut sample = Vec::with_capacity(SAMPLE as usize);
    for number in 0..SAMPLES {
        // Evenly spread; of a small file, all of it from the first sample on.
        let last = u128::from(len.saturating_sub(SAMPLE));
        let from = last * u128::from(number) / u128::from(SAMPLES - 1);
        file.seek(SeekFrom::Start(from as u64))?;
        sample.clear();
        file.by_ref().take(SAMPLE).read_to_end(&mut sample)?;
        hasher.write(&sample);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ModelSpec {
        ModelSpec::new(4, 8, 128, 32).unwrap()
    }

    fn tag(spec: &ModelSpec) -> ModelTag {
        ModelTag::new("b 1", "m", spec, 100)
    }

    /// Case 26: each field of geometry or quantisation.
    #[test]
    fn the_field_that_differs_is_named() {
        let sliding = Attention::Sliding { window: 64 };
        let mixed = vec![Attention::Full, sliding, sliding, Attention::Full];
        let specs = [
            ("layers", ModelSpec::new(5, 8, 128, 32).unwrap()),
            ("KV heads", ModelSpec::new(4, 4, 128, 32).unwrap()),
            ("head size", ModelSpec::new(4, 8, 64, 32).unwrap()),
            ("tokens a block", ModelSpec::new(4, 8, 128, 16).unwrap()),
            ("attention", spec().with_attention(mixed).unwrap()),
            ("bits", spec().with_bits(KvBits::new(8, 64).unwrap()).unwrap()),
        ];
        for (field, other) in specs {
            let difference = tag(&spec()).difference(&tag(&other)).unwrap();
            assert_eq!(difference.field, field);
        }
        let grouped = |group| spec().with_bits(KvBits::new(4, group).unwrap()).unwrap();
        let difference = tag(&grouped(32)).difference(&tag(&grouped(64))).unwrap();
        assert_eq!(difference.to_string(), "quantisation group is 64, not 32");
        for (field, other) in [
            ("backend", ModelTag::new("b 2", "m", &spec(), 100)),
            ("model", ModelTag::new("b 1", "n", &spec(), 100)),
            ("vocabulary", ModelTag::new("b 1", "m", &spec(), 101)),
            ("weights", tag(&spec()).with("weights", 7)),
        ] {
            assert_eq!(tag(&spec()).difference(&other).unwrap().field, field);
            assert_eq!(other.difference(&tag(&spec())).unwrap().field, field);
        }
        assert_eq!(tag(&spec()).difference(&tag(&spec())), None);
    }

    #[test]
    fn a_name_cannot_pose_as_a_field() {
        let posing = ModelTag::new("b 1", "m\nvocabulary=100\nlayers=4", &spec(), 7);
        assert_eq!(tag(&spec()).difference(&posing).unwrap().field, "model");
        assert_eq!(ModelTag::parse(posing.as_bytes().to_vec()), Some(posing));
        for nonsense in ["", "no sign\n", "a=b", "\n"] {
            assert_eq!(ModelTag::parse(nonsense.into()), None, "{nonsense:?}");
        }
    }

    #[test]
    fn files_of_one_length_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let print = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            fingerprint(&path).unwrap()
        };
        let mut bytes = vec![3; 9 << 20];
        let plain = print(&bytes);
        assert_eq!(plain, print(&bytes));
        for at in [0, bytes.len() - 1] {
            bytes[at] = 4;
            assert_ne!(print(&bytes), plain, "{at}");
            bytes[at] = 3;
        }
        assert_ne!(print(&bytes[1..]), plain);
        assert_ne!(print(b""), print(b"x"));
        assert!(fingerprint(folder.path().join("none")).is_err());
    }
}
