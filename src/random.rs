//! Numbers drawn from a seed: the same seed gives the same numbers on every machine, always.
//!
//! For samples and statistics only; nothing that has to be secret comes from here.

/// `SplitMix64`, begun with its seed. **Source**: Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1, a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let fraction = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        fraction
    }

    /// From 0 to below `end`, which is not 0. Small ones are preferred by less than `end` / 2⁶⁴.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "something is below");
        let product = u128::from(self.bits()) * u128::try_from(end).expect("wide enough");
        usize::try_from(product >> 64).expect("less than `end`")
    }
}
