//! Where each tensor's bytes lie: enough to tell a truncated file from a whole one.

use std::io::BufRead;

use super::GgufError;
use super::reader::Reader;

/// ggml refuses longer names (`GGML_MAX_NAME`, with the terminator).
const LONGEST_NAME: u64 = 63;
/// ggml's tensors have at most so many dimensions (`GGML_MAX_DIMS`).
const MOST_DIMENSIONS: u32 = 4;

/// A ggml type: its number and name, and the elements and bytes of one of its blocks.
struct Kind(u32, &'static str, u64, u64);

/// The types of this version of ggml, from ggml.c and the block sizes in ggml-common.h.
const KINDS: [Kind; 35] = [
    Kind(0, "F32", 1, 4),
    Kind(1, "F16", 1, 2),
    Kind(2, "Q4_0", 32, 18),
    Kind(3, "Q4_1", 32, 20),
    Kind(6, "Q5_0", 32, 22),
    Kind(7, "Q5_1", 32, 24),
    Kind(8, "Q8_0", 32, 34),
    Kind(9, "Q8_1", 32, 36),
    Kind(10, "Q2_K", 256, 84),
    Kind(11, "Q3_K", 256, 110),
    Kind(12, "Q4_K", 256, 144),
    Kind(13, "Q5_K", 256, 176),
    Kind(14, "Q6_K", 256, 210),
    Kind(15, "Q8_K", 256, 292),
    Kind(16, "IQ2_XXS", 256, 66),
    Kind(17, "IQ2_XS", 256, 74),
    Kind(18, "IQ3_XXS", 256, 98),
    Kind(19, "IQ1_S", 256, 50),
    Kind(20, "IQ4_NL", 32, 18),
    Kind(21, "IQ3_S", 256, 110),
    Kind(22, "IQ2_S", 256, 82),
    Kind(23, "IQ4_XS", 256, 136),
    Kind(24, "I8", 1, 1),
    Kind(25, "I16", 1, 2),
    Kind(26, "I32", 1, 4),
    Kind(27, "I64", 1, 8),
    Kind(28, "F64", 1, 8),
    Kind(29, "IQ1_M", 256, 56),
    Kind(30, "BF16", 1, 2),
    Kind(34, "TQ1_0", 256, 54),
    Kind(35, "TQ2_0", 256, 66),
    Kind(39, "MXFP4", 32, 17),
    Kind(40, "NVFP4", 64, 36),
    Kind(41, "Q1_0", 128, 18),
    Kind(42, "Q2_0", 64, 18),
];

/// The type of this number; `None` for one that this version of ggml does not have.
fn kind_of(number: u32) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.0 == number)
}

/// Reads one tensor's entry and returns where its bytes end, counted from the start of the data.
///
/// Of a type that is not known only the start counts.
pub(super) fn end_of_tensor<R: BufRead>(
    reader: &mut Reader<R>,
    alignment: u64,
) -> Result<u64, GgufError> {
    let name = reader.string(LONGEST_NAME)?;
    let dimensions = reader.u32()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(reader.corrupt(format!("tensor {name:?} has {dimensions} dimensions")));
    }
    let mut elements = 1_u64;
    let mut row = 1;
    for dimension in 0..dimensions {
        let size = reader.u64()?;
        if dimension == 0 {
            row = size;
        }
        elements =
            elements
                .checked_mul(size)
                .filter(|elements| i64::try_from(*elements).is_ok())
                .ok_or_else(|| reader.corrupt(format!("tensor {name:?} has too many elements")))?;
    }
    let number = reader.u32()?;
    let offset = reader.u64()?;
    if !offset.is_multiple_of(alignment) {
        return Err(reader.corrupt(format!("tensor {name:?} starts at an odd offset, {offset}")));
    }
    let Some(Kind(_, kind, block, bytes)) = kind_of(number) else {
        return Ok(offset);
    };
    if !row.is_multiple_of(*block) {
        return Err(reader.corrupt(format!(
            "tensor {name:?} of type {kind} has rows of {row} elements, in blocks of {block}"
        )));
    }
    (elements / block)
        .checked_mul(*bytes)
        .and_then(|size| size.checked_add(offset))
        .ok_or_else(|| reader.corrupt(format!("tensor {name:?} ends outside any file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits a weight, as each type's authors give them: a slip in the table shows.
    #[test]
    fn blocks_have_the_published_bits_a_weight() {
        for (name, bits) in [
            ("F32", 32.0),
            ("F16", 16.0),
            ("BF16", 16.0),
            ("Q4_0", 4.5),
            ("Q4_1", 5.0),
            ("Q5_0", 5.5),
            ("Q5_1", 6.0),
            ("Q8_0", 8.5),
            ("Q2_K", 2.625),
            ("Q3_K", 3.4375),
            ("Q4_K", 4.5),
            ("Q5_K", 5.5),
            ("Q6_K", 6.5625),
            ("IQ2_XXS", 2.0625),
            ("IQ2_XS", 2.3125),
            ("IQ3_XXS", 3.0625),
            ("IQ1_S", 1.5625),
            ("IQ4_NL", 4.5),
            ("IQ3_S", 3.4375),
            ("IQ2_S", 2.5625),
            ("IQ4_XS", 4.25),
            ("IQ1_M", 1.75),
            ("TQ1_0", 1.6875),
            ("TQ2_0", 2.0625),
            ("MXFP4", 4.25),
            ("NVFP4", 4.5),
        ] {
            let Kind(_, _, elements, bytes) = KINDS.iter().find(|kind| kind.1 == name).unwrap();
            let found = *bytes as f64 * 8.0 / *elements as f64;
            assert!((found - bits).abs() < 1e-9, "{name}: {found} bits, not {bits}");
        }
        assert!([4, 31, u32::MAX].iter().all(|number| kind_of(*number).is_none()));
    }
}
