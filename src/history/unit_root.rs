//! Whether a series comes back: the augmented Dickey-Fuller test, with `MacKinnon`'s tables.
//!
//! The figures are those of statsmodels 0.15 (`tsa.stattools.adfuller`, `autolag="AIC"`). What is
//! done differently is the arithmetic. Regressors are lags of one series, so their sums of
//! products differ from one lag to the next by a product at each end; one pass a lag and one
//! Cholesky factor give every regression of the lag search, where statsmodels fits each anew.
//! A constant is not a column but is taken out of the others, which keeps the sums well
//! conditioned when the series moves by a millionth of its level.

use std::cmp::Ordering;
use std::iter;

use super::normal;
use super::sums::{centred, count, dot, mean, steps};

/// What a test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitRoot {
    /// The t-statistic of the level: the more negative, the surer the series comes back.
    pub statistic: f64,
    /// The probability of such a statistic when the series does not come back, 0 to 1.
    pub p_value: f64,
    /// How many lagged steps were used.
    pub lag: usize,
    /// How many observations the regression had.
    pub observations: usize,
    /// Where the statistic would be significant.
    pub critical: CriticalValues,
}

/// A statistic below one of them is significant at that level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CriticalValues {
    /// At 1 %.
    pub one_percent: f64,
    /// At 5 %.
    pub five_percent: f64,
    /// At 10 %.
    pub ten_percent: f64,
}

/// The augmented Dickey-Fuller test with a constant: steps on the level before and lagged steps,
/// as many as Akaike's criterion wants, up to Schwert's 12 (n / 100)^(1/4).
///
/// **Shape**: oldest first. `None` when the series is shorter than about ten values, moves by
/// rounding noise only ([`is_noise`]), or is predicted by its past to the last digit.
///
/// **Speed**: n times the largest lag, so n^1.25.
/// **Source**: statsmodels `adfuller(x, regression="c", autolag="AIC")`.
#[must_use]
pub fn dickey_fuller(series: &[f64]) -> Option<UnitRoot> {
    let level = centred(series);
    if is_noise(&level, mean(series)) {
        return None;
    }
    let fit = fit(&level, Constant::Free)?;
    Some(fit.judged(Table::OneSeries, fit.observations))
}

/// The second step of Engle and Granger: the same test for what a regression of one series on
/// another left over, without a constant and with the table for two series.
///
/// **Shape**: oldest first. `None` as for [`dickey_fuller`], and for an even number of at most 20
/// values, because the largest lag then fits as many values as it has coefficients (statsmodels
/// divides by what rounding leaves of that). The sample size of the critical values
/// is one less than the residuals, and `observations` is what the regression had.
/// **Source**: statsmodels `coint(y0, y1, trend="c", autolag="aic")`, its second half.
#[must_use]
pub fn of_residuals(residuals: &[f64]) -> Option<UnitRoot> {
    let fit = fit(residuals, Constant::Absent)?;
    Some(fit.judged(Table::TwoSeries, residuals.len() - 1))
}

/// Whether values around their mean deviate from it by no more than rounding: a quotient of two
/// prices is off by a few 1e-16 of itself, and 1e-12 is the strategy's bound too.
#[must_use]
pub fn is_noise(centred: &[f64], mean: f64) -> bool {
    (dot(centred, centred) / count(centred.len())).sqrt() <= 1e-12 * mean.abs()
}

// --- the tables --------------------------------------------------------------------------------

/// Which distribution a statistic has when nothing comes back. A regression has a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// One series: a test for a unit root.
    OneSeries,
    /// Two series: a test of the residuals of one on the other.
    TwoSeries,
}

impl Table {
    /// The probability of at most `statistic`, for a sample without end: near a level of
    /// significance the critical values, which know the sample's size, are the better judge.
    /// Exactly 0 or 1 beyond the range of the approximation.
    ///
    /// **Source**: `MacKinnon`, "Approximate asymptotic distribution functions for unit-root and
    /// cointegration tests", Journal of Business & Economic Statistics 12(2), 1994, as in
    /// statsmodels `tsa/adfvalues.py`, `mackinnonp`.
    #[must_use]
    pub fn p_value(self, statistic: f64) -> f64 {
        let Surface { least, split, most, lower, upper, .. } = self.surface();
        if statistic > *most {
            1.0
        } else if statistic < *least {
            0.0
        } else if statistic <= *split {
            normal::cdf(normal::horner(lower, statistic))
        } else {
            normal::cdf(normal::horner(upper, statistic))
        }
    }

    /// The critical values for a sample of that size.
    ///
    /// **Source**: `MacKinnon`, "Critical values for cointegration tests", Queen's Economics
    /// Department Working Paper 1227, 2010, as in statsmodels `tsa/adfvalues.py`, `mackinnoncrit`.
    #[must_use]
    pub fn critical_values(self, observations: usize) -> CriticalValues {
        let inverse = 1.0 / count(observations);
        let [one_percent, five_percent, ten_percent] =
            self.surface().critical.map(|row| normal::horner(&row, inverse));
        CriticalValues { one_percent, five_percent, ten_percent }
    }

    fn surface(self) -> &'static Surface {
        match self {
            Self::OneSeries => &ONE_SERIES,
            Self::TwoSeries => &TWO_SERIES,
        }
    }
}

/// Polynomials, the highest power first: of the statistic below and above `split`, and for the
/// critical values of 1, 5 and 10 % of the inverse of the sample size.
struct Surface {
    least: f64,
    split: f64,
    most: f64,
    lower: [f64; 3],
    upper: [f64; 4],
    critical: [[f64; 4]; 3],
}

const ONE_SERIES: Surface = Surface {
    least: -18.83,
    split: -1.61,
    most: 2.74,
    lower: [0.038_269, 1.4412, 2.1659],
    upper: [-0.010_368, -0.127_45, 0.932_02, 1.7339],
    critical: [
        [-79.433, -16.786, -6.5393, -3.430_35],
        [-40.040, -4.234, -2.8903, -2.861_54],
        [0.0, -2.809, -1.5384, -2.566_77],
    ],
};

const TWO_SERIES: Surface = Surface {
    least: -18.86,
    split: -2.62,
    most: 0.92,
    lower: [0.039_796, 1.5012, 2.92],
    upper: [-0.042_377, -0.291_98, 0.646_95, 2.1945],
    critical: [
        [0.0, -33.527, -10.9519, -3.896_44],
        [0.0, -6.823, -6.1101, -3.336_13],
        [0.0, -2.720, -4.2412, -3.044_45],
    ],
};

// --- the regressions ---------------------------------------------------------------------------

/// Whether a regression has a constant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Constant {
    Absent,
    Free,
}

struct Fit {
    statistic: f64,
    lag: usize,
    observations: usize,
}

impl Fit {
    /// By this table, for a sample of that size.
    fn judged(&self, table: Table, sample: usize) -> UnitRoot {
        let Self { statistic, lag, observations } = *self;
        let p_value = table.p_value(statistic);
        let critical = table.critical_values(sample);
        UnitRoot { statistic, p_value, lag, observations, critical }
    }
}

/// Finds the lag and fits once more with it, on the observations that it leaves.
fn fit(level: &[f64], constant: Constant) -> Option<Fit> {
    let free = usize::from(constant == Constant::Free);
    let most = most_lags(level.len(), free)?;
    let lag = best_lag(&Products::new(level, most, constant), free)?;
    let products = Products::new(level, lag, constant);
    let observations = products.observations;
    let freedom = count(observations.checked_sub(lag + 1 + free).filter(|left| *left > 0)?);
    // With the level as the last regressor, its t-statistic stands at the end of the factor: the
    // coefficient is row[k] / factor[k][k], its error is the residuals' over factor[k][k].
    let order: Vec<usize> = (1..=lag).chain([products.level(), STEP]).collect();
    let factor = products.factor(&order)?;
    let [.., level, rest] = factor.last()?.as_slice() else { return None };
    Some(Fit { statistic: level / rest * freedom.sqrt(), lag, observations })
}

/// Schwert's rule, and never more than half of the values can bear.
fn most_lags(length: usize, free: usize) -> Option<usize> {
    let bearable = (length / 2).checked_sub(free + 1)?;
    // Two square roots, because they are exact where a power of 1/4 might round up.
    let wanted = (12.0 * (count(length) / 100.0).sqrt().sqrt()).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 4000")]
    let wanted = wanted as usize;
    Some(bearable.min(wanted))
}

/// The lag with the least of Akaike's criterion, the smallest of equals. Every lag is judged on the
/// same observations, those that the largest leaves.
fn best_lag(products: &Products, free: usize) -> Option<usize> {
    let regressors = iter::once(products.level()).chain(1..=products.lags);
    let order: Vec<usize> = regressors.chain([STEP]).collect();
    let factor = products.factor(&order)?;
    let observations = count(products.observations);
    // A regression on the first k of them leaves the squares of the rest of the last row.
    let mut squares = 0.0;
    let mut left: Vec<f64> = Vec::new();
    for part in factor.last()?.iter().skip(1).rev() {
        squares += part * part;
        left.push(squares);
    }
    let criterion = |lag: usize, left: f64| {
        observations * (left / observations).ln() + 2.0 * count(lag + 1 + free)
    };
    let judged = left.iter().rev().enumerate().map(|(lag, left)| (lag, criterion(lag, *left)));
    judged.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(lag, _)| lag)
}

/// Sums of products of the step, the steps before it, and the level that it starts from.
struct Products {
    lags: usize,
    observations: usize,
    /// 0 is the step, 1 to `lags` are the steps before it, then comes the level. Only the upper
    /// triangle is filled, see `between`.
    sums: Vec<Vec<f64>>,
}

impl Products {
    fn new(series: &[f64], lags: usize, constant: Constant) -> Self {
        let steps = steps(series);
        let (length, level) = (steps.len(), lags + 1);
        let observations = length - lags;
        let lagged = |lag: usize| &steps[lags - lag..length - lag];
        let levels = &series[lags..length];
        let mut sums = vec![vec![0.0; lags + 2]; lags + 2];
        for (lag, sum) in sums[0].iter_mut().enumerate().take(level) {
            *sum = dot(lagged(0), lagged(lag));
        }
        for (lag, row) in sums.iter_mut().enumerate().take(level) {
            row[level] = dot(lagged(lag), levels);
        }
        sums[level][level] = dot(levels, levels);
        for row in 1..=lags {
            for column in row..=lags {
                // One observation earlier: it gains a product at the front, and loses the last.
                let gained = steps[lags - row] * steps[lags - column];
                let lost = steps[length - row] * steps[length - column];
                sums[row][column] = sums[row - 1][column - 1] + gained - lost;
            }
        }
        if constant == Constant::Free {
            // Sums of steps telescope.
            let totals = (0..=lags).map(|lag| series[length - lag] - series[lags - lag]);
            let totals: Vec<f64> = totals.chain([levels.iter().sum()]).collect();
            for row in 0..=level {
                for column in row..=level {
                    sums[row][column] -= totals[row] * totals[column] / count(observations);
                }
            }
        }
        Self { lags, observations, sums }
    }

    fn level(&self) -> usize {
        self.lags + 1
    }

    fn between(&self, one: usize, other: usize) -> f64 {
        self.sums[one.min(other)][one.max(other)]
    }

    /// The lower Cholesky factor, row by row, of the sums in that order. `None` when one of them
    /// is a combination of those before it, to the digits that the sums have.
    fn factor(&self, order: &[usize]) -> Option<Vec<Vec<f64>>> {
        let mut factor: Vec<Vec<f64>> = Vec::with_capacity(order.len());
        for (row, from) in order.iter().enumerate() {
            let mut new: Vec<f64> = Vec::with_capacity(row + 1);
            for (column, to) in order[..row].iter().enumerate() {
                let known = dot(&new, &factor[column][..column]);
                new.push((self.between(*from, *to) - known) / factor[column][column]);
            }
            let whole = self.between(*from, *from);
            let rest = whole - dot(&new, &new);
            if rest.partial_cmp(&(SINGULAR * whole)) != Some(Ordering::Greater) {
                return None;
            }
            new.push(rest.sqrt());
            factor.push(new);
        }
        Some(factor)
    }
}

/// The step itself among the [`Products`].
const STEP: usize = 0;
/// A share of a sum of squares that is left to its rounding.
const SINGULAR: f64 = 1e-12;
