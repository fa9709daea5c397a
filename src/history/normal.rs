//! The standard normal distribution, to nearly all digits of a double.

/// The probability of at most `x`.
///
/// **Error**: below 1e-15, relative, in the lower tail as well: down to x = -37.5, where it is the
/// smallest ordinary double.
/// **Source**: Cody, "Algorithm 715: SPECFUN", ACM Transactions on Mathematical Software 19(1),
/// 1993, function `ANORM`; the approximations are of Cody, Mathematics of Computation 23, 1969.
#[must_use]
pub fn cdf(x: f64) -> f64 {
    let size = x.abs();
    if size <= 0.662_91 {
        let square = x * x;
        return 0.5 + x * horner(&CENTRE.0, square) / horner(&CENTRE.1, square);
    }
    if size > 39.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let lower = if size <= SQRT_32 {
        horner(&MIDDLE.0, size) / horner(&MIDDLE.1, size)
    } else {
        let inverse = 1.0 / (size * size);
        let correction = inverse * horner(&TAIL.0, inverse) / horner(&TAIL.1, inverse);
        (1.0 / (2.0 * std::f64::consts::PI).sqrt() - correction) / size
    };
    // exp(-x²/2) with the square split, so that its rounding is not magnified by the exponent.
    let coarse = (size * 16.0).trunc() / 16.0;
    let rest = (size - coarse) * (size + coarse);
    let lower = (-coarse * coarse / 2.0).exp() * (-rest / 2.0).exp() * lower;
    if x > 0.0 { 1.0 - lower } else { lower }
}

/// The x whose [`cdf`] is `probability`: infinite at 0 and 1, not a number outside.
///
/// **Error**: below 1e-15, relative. Above one half, ask for the complement and negate: what
/// 1 - p has lost can't be found again.
/// **Source**: Wichura, "Algorithm AS 241: The percentage points of the normal distribution",
/// Applied Statistics 37(3), 1988, function `PPND16`.
#[must_use]
pub fn quantile(probability: f64) -> f64 {
    let distance = probability - 0.5;
    if distance.abs() <= 0.425 {
        let r = 0.180_625 - distance * distance;
        return distance * horner(&INNER.0, r) / horner(&INNER.1, r);
    }
    let tail = if distance < 0.0 { probability } else { 1.0 - probability };
    if tail <= 0.0 {
        return if tail < 0.0 { f64::NAN } else { f64::INFINITY.copysign(distance) };
    }
    let r = (-tail.ln()).sqrt();
    let size = if r <= 5.0 {
        horner(&OUTER.0, r - 1.6) / horner(&OUTER.1, r - 1.6)
    } else {
        horner(&FAR.0, r - 5.0) / horner(&FAR.1, r - 5.0)
    };
    size.copysign(distance)
}

/// The polynomial with these coefficients, the highest power first.
pub(super) fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

const SQRT_32: f64 = 5.656_854_249_492_381;

/// Numerator and denominator of a quotient of polynomials.
type Quotient<const N: usize, const D: usize> = ([f64; N], [f64; D]);

/// In x², for |x| up to 0.66291.
#[rustfmt::skip]
const CENTRE: Quotient<5, 5> = (
    [0.065_682_337_918_207_45, 2.235_252_035_460_683_7, 161.028_231_068_555_87,
     1_067.689_485_460_370_9, 18_154.981_253_343_56],
    [1.0, 47.202_581_904_688_245, 976.098_551_737_776_7, 10_260.932_208_618_979,
     45_507.789_335_026_73],
);

/// In |x|, up to √32.
#[rustfmt::skip]
const MIDDLE: Quotient<9, 9> = (
    [1.076_557_677_372_019_2e-8, 0.398_941_512_088_134_66, 8.883_149_794_388_377,
     93.506_656_132_177_85, 597.270_276_394_800_2, 2_494.537_585_290_372_6, 6_848.190_450_536_283,
     11_602.651_437_647_35, 9_842.714_838_383_978],
    [1.0, 22.266_688_044_328_117, 235.387_901_782_625, 1_519.377_599_407_554_7,
     6_485.558_298_266_761,
     18_615.571_640_885_097, 34_900.952_721_145_98, 38_912.003_286_093_27, 19_685.429_676_859_992],
);

/// In 1 / x², beyond.
#[rustfmt::skip]
const TAIL: Quotient<6, 6> = (
    [0.023_073_441_764_940_174, 0.215_898_534_057_957, 0.127_401_161_160_247_36,
     0.022_235_277_870_649_807, 0.001_421_619_193_227_893_4, 2.911_287_495_116_879_3e-5],
    [1.0, 1.284_260_096_144_911, 0.468_238_212_480_865_1, 0.065_988_137_868_928_56,
     0.003_782_396_332_027_582_4, 7.297_515_550_839_662e-5],
);

/// For probabilities from 0.075 to 0.925.
#[rustfmt::skip]
const INNER: Quotient<8, 8> = (
    [2_509.080_928_730_122_7, 33_430.575_583_588_13, 67_265.770_927_008_7, 45_921.953_931_549_87,
     13_731.693_765_509_46, 1_971.590_950_306_551_3, 133.141_667_891_784_38,
     3.387_132_872_796_366_5],
    [5_226.495_278_852_546, 28_729.085_735_721_943, 39_307.895_800_092_71, 21_213.794_301_586_597,
     5_394.196_021_424_751, 687.187_007_492_057_9, 42.313_330_701_600_91, 1.0],
);

/// In √(-ln p) - 1.6, for p down to e⁻²⁵.
#[rustfmt::skip]
const OUTER: Quotient<8, 8> = (
    [0.000_774_545_014_278_341_4, 0.022_723_844_989_269_184, 0.241_780_725_177_450_6,
     1.270_458_252_452_368_4, 3.647_848_324_763_204_5, 5.769_497_221_460_691, 4.630_337_846_156_546,
     1.423_437_110_749_683_5],
    [1.050_750_071_644_416_9e-9, 0.000_547_593_808_499_534_5, 0.015_198_666_563_616_457,
     0.148_103_976_427_480_08, 0.689_767_334_985_1, 1.676_384_830_183_803_8, 2.053_191_626_637_759,
     1.0],
);

/// In √(-ln p) - 5, beyond.
#[rustfmt::skip]
const FAR: Quotient<8, 8> = (
    [2.010_334_399_292_288_1e-7, 2.711_555_568_743_487_6e-5, 0.001_242_660_947_388_078_4,
     0.026_532_189_526_576_124, 0.296_560_571_828_504_87, 1.784_826_539_917_291_3,
     5.463_784_911_164_114, 6.657_904_643_501_103],
    [2.044_263_103_389_939_7e-15, 1.421_511_758_316_446e-7, 1.846_318_317_510_054_8e-5,
     0.000_786_869_131_145_613_3, 0.014_875_361_290_850_615, 0.136_929_880_922_735_8,
     0.599_832_206_555_888, 1.0],
);
