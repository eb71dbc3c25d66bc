//! The geometry of a model's KV cache: how many blocks a sequence takes, and how many bytes a block.

use thiserror::Error;

/// Bits of one stored key or value element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvBits {
    /// Half precision: 2 bytes an element, no groups.
    Sixteen,
    /// 8-bit integers in groups, each with a 16-bit scale and a 16-bit offset.
    Eight {
        /// Elements that share a scale and an offset; a power of two.
        group: u32,
    },
    /// 4-bit integers in groups, each with a 16-bit scale and a 16-bit offset.
    Four {
        /// Elements that share a scale and an offset; a power of two.
        group: u32,
    },
}

impl KvBits {
    /// From a number of bits and, below 16, a group size.
    ///
    /// # Errors
    /// [`SpecError::Bits`] for bits other than 4, 8 and 16, [`SpecError::Group`] for a group that is
    /// no power of two.
    pub fn new(bits: u32, group: u32) -> Result<Self, SpecError> {
        let kv = match bits {
            16 => Self::Sixteen,
            8 => Self::Eight { group },
            4 => Self::Four { group },
            bits => return Err(SpecError::Bits { bits }),
        };
        kv.validate().map(|()| kv)
    }

    fn validate(self) -> Result<(), SpecError> {
        match self {
            Self::Eight { group } | Self::Four { group } if !group.is_power_of_two() => {
                Err(SpecError::Group { group })
            }
            _ => Ok(()),
        }
    }

    /// Bytes that `elements` take, scales and offsets included.
    fn bytes(self, elements: u64) -> u64 {
        const SCALE_AND_OFFSET: u64 = 4;
        let grouped = |bits: u64, group: u32| {
            (elements * bits).div_ceil(8) + elements.div_ceil(u64::from(group)) * SCALE_AND_OFFSET
        };
        match self {
            Self::Sixteen => elements * 2,
            Self::Eight { group } => grouped(8, group),
            Self::Four { group } => grouped(4, group),
        }
    }
}

/// What a layer attends to.
///
/// ```
/// use latchless::{Attention, ModelSpec};
///
/// // Every other layer sees the last 1,024 tokens.
/// let sliding = Attention::Sliding { window: 1_024 };
/// let spec = ModelSpec::new(2, 8, 128, 16)?.with_attention(vec![Attention::Full, sliding])?;
/// assert_eq!(spec.blocks_for(4_096), 256 + 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attention {
    /// All tokens so far.
    Full,
    /// The last `window` tokens.
    Sliding {
        /// Tokens in sight.
        window: u32,
    },
}

/// The geometry of a model's KV cache. A block holds the keys and values of
/// [`block_tokens`](Self::block_tokens) tokens of **one** layer, so a sequence takes blocks of every
/// layer.
///
/// ```
/// use latchless::{KvBits, ModelSpec};
/// let spec = ModelSpec::new(48, 8, 256, 256)?;
/// assert_eq!(spec.bytes_per_block(), 2_097_152);
/// assert_eq!(spec.with_bits(KvBits::new(4, 64)?)?.bytes_per_block(), 589_824);
/// # Ok::<(), latchless::SpecError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    layers: Vec<Attention>,
    kv_heads: u32,
    head_size: u32,
    block_tokens: u32,
    bits: KvBits,
}

/// A geometry that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpecError {
    /// A count is zero.
    #[error("{what} is 0; a model has at least one")]
    Zero {
        /// Which count.
        what: &'static str,
    },
    /// More layers than a [`LayerId`](crate::LayerId) can name.
    #[error("{layers} layers; at most {} can be named", u16::MAX)]
    TooManyLayers {
        /// The layers asked for.
        layers: usize,
    },
    /// The list of attentions is not as long as there are layers.
    #[error("{given} attentions for {layers} layers; give one a layer")]
    LayerCount {
        /// Layers of the model.
        layers: usize,
        /// Attentions in the list.
        given: usize,
    },
    /// A number of bits that no cache has.
    #[error("{bits} bits an element; choose 4, 8 or 16")]
    Bits {
        /// The bits asked for.
        bits: u32,
    },
    /// A group that is no power of two.
    #[error("a group of {group} elements; choose a power of two such as 32 or 64")]
    Group {
        /// The group asked for.
        group: u32,
    },
}

impl ModelSpec {
    /// A model with full attention in every layer and 16-bit elements.
    ///
    /// `kv_heads` and `head_size` are those of one layer; `block_tokens` is the number of tokens of a
    /// block.
    ///
    /// # Errors
    /// [`SpecError`] when a count is 0 or there are too many layers.
    pub fn new(
        layers: usize,
        kv_heads: u32,
        head_size: u32,
        block_tokens: u32,
    ) -> Result<Self, SpecError> {
        if layers > usize::from(u16::MAX) {
            return Err(SpecError::TooManyLayers { layers });
        }
        let counts = [
            ("the number of layers", layers as u64),
            ("the number of KV heads", kv_heads.into()),
            ("the head size", head_size.into()),
            ("the number of tokens a block", block_tokens.into()),
        ];
        if let Some((what, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(SpecError::Zero { what });
        }
        let layers = vec![Attention::Full; layers];
        Ok(Self { layers, kv_heads, head_size, block_tokens, bits: KvBits::Sixteen })
    }

    /// The same with these attentions, one a layer.
    ///
    /// # Errors
    /// [`SpecError::LayerCount`] when there are more or fewer than layers, [`SpecError::Zero`] for an
    /// empty window.
    pub fn with_attention(mut self, attention: Vec<Attention>) -> Result<Self, SpecError> {
        if attention.len() != self.layers.len() {
            let (layers, given) = (self.layers.len(), attention.len());
            return Err(SpecError::LayerCount { layers, given });
        }
        if attention.contains(&Attention::Sliding { window: 0 }) {
            return Err(SpecError::Zero { what: "the sliding window" });
        }
        self.layers = attention;
        Ok(self)
    }

    /// The same with elements of this width.
    ///
    /// # Errors
    /// [`SpecError::Group`] for a group that is no power of two.
    pub fn with_bits(mut self, bits: KvBits) -> Result<Self, SpecError> {
        bits.validate()?;
        self.bits = bits;
        Ok(self)
    }

    /// Number of layers.
    pub fn layers(&self) -> u16 {
        self.layers.len() as u16
    }

    /// What each layer attends to.
    pub fn attention(&self) -> &[Attention] {
        &self.layers
    }

    /// KV heads of a layer.
    pub fn kv_heads(&self) -> u32 {
        self.kv_heads
    }

    /// Elements of a head.
    pub fn head_size(&self) -> u32 {
        self.head_size
    }

    /// Tokens of a block.
    pub fn block_tokens(&self) -> u32 {
        self.block_tokens
    }

    /// Width of an element.
    pub fn bits(&self) -> KvBits {
        self.bits
    }

    /// Bytes of one block: keys and values of `block_tokens` tokens of one layer.
    pub fn bytes_per_block(&self) -> u64 {
        let elements =
            u64::from(self.kv_heads) * u64::from(self.head_size) * u64::from(self.block_tokens) * 2;
        self.bits.bytes(elements)
    }

    /// Blocks that `tokens` tokens take in layers of this attention: a sliding window never needs more
    /// than the window covers.
    pub fn blocks_in_layer(&self, attention: Attention, tokens: u32) -> u32 {
        let in_sight = match attention {
            Attention::Full => tokens,
            Attention::Sliding { window } => tokens.min(window),
        };
        in_sight.div_ceil(self.block_tokens)
    }

    /// Blocks that a sequence of `tokens` tokens takes in all layers together.
    pub fn blocks_for(&self, tokens: u32) -> u64 {
        self.layers.iter().map(|layer| u64::from(self.blocks_in_layer(*layer, tokens))).sum()
    }

    /// Sequences of `tokens` tokens that fit into `blocks` blocks together.
    ///
    /// ```
    /// # use latchless::ModelSpec;
    /// assert_eq!(ModelSpec::new(48, 8, 256, 256)?.max_batch_size(1_000, 256), 20);
    /// assert_eq!(ModelSpec::new(32, 8, 256, 256)?.max_batch_size(640, 512), 10);
    /// # Ok::<(), latchless::SpecError>(())
    /// ```
    pub fn max_batch_size(&self, blocks: u32, tokens: u32) -> u64 {
        u64::from(blocks).checked_div(self.blocks_for(tokens)).unwrap_or(0)
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    fn spec(layers: usize) -> ModelSpec {
        ModelSpec::new(layers, 8, 256, 256).unwrap()
    }

    /// Case 10 of the behaviour: bytes a block at 16 bits, and at 4 bits in groups of 64.
    #[test]
    fn bytes_count_scales_and_offsets() {
        assert_eq!(spec(1).bytes_per_block(), 2_097_152);
        let four = spec(1).with_bits(KvBits::new(4, 64).unwrap()).unwrap();
        assert_eq!(four.bytes_per_block(), 589_824);
        let eight = spec(1).with_bits(KvBits::new(8, 64).unwrap()).unwrap();
        assert_eq!(eight.bytes_per_block(), 1_048_576 + 65_536);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(KvBits::new(5, 64), Err(SpecError::Bits { bits: 5 }));
        assert_eq!(KvBits::new(4, 48), Err(SpecError::Group { group: 48 }));
        assert_eq!(KvBits::new(8, 0), Err(SpecError::Group { group: 0 }));
        assert_eq!(
            spec(1).with_bits(KvBits::Four { group: 3 }),
            Err(SpecError::Group { group: 3 })
        );
        assert_eq!(
            spec(3).with_attention(vec![Attention::Full; 2]),
            Err(SpecError::LayerCount { layers: 3, given: 2 })
        );
        assert!(matches!(ModelSpec::new(0, 8, 256, 256), Err(SpecError::Zero { .. })));
        assert!(matches!(ModelSpec::new(1, 8, 256, 0), Err(SpecError::Zero { .. })));
        assert!(matches!(
            ModelSpec::new(70_000, 8, 256, 256),
            Err(SpecError::TooManyLayers { layers: 70_000 })
        ));
    }

    /// Case 10: a sliding-window layer needs ceil(window / block) blocks at most.
    #[test]
    fn a_sliding_window_bounds_its_blocks() {
        let sliding = Attention::Sliding { window: 1_000 };
        let spec = spec(2).with_attention(vec![Attention::Full, sliding]).unwrap();
        assert_eq!(spec.blocks_in_layer(sliding, 100_000), 4);
        assert_eq!(spec.blocks_in_layer(sliding, 257), 2);
        assert_eq!(spec.blocks_for(2_560), 10 + 4);
    }

    /// Case 9: how many sequences fit.
    #[test]
    fn batch_size_counts_every_layer() {
        assert_eq!(spec(48).max_batch_size(1_000, 256), 20);
        assert_eq!(spec(32).max_batch_size(640, 512), 10);
        assert_eq!(spec(32).max_batch_size(640, 0), 0);
    }
}
