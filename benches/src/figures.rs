//! Collects the rounds of each variant: medians, ranges and ratios within one run.

/// A median with its range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of these figures; `None` when there are none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, low, high })
    }
}

/// The figure below which `share` of them lie.
pub(crate) fn percentile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// One measure of several variants; every round adds a figure to each.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// The variants that the others are divided by.
    pub(crate) bases: Vec<String>,
    pub(crate) variants: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, unit: &'static str) -> Self {
        Self { title: title.into(), unit, bases: Vec::new(), variants: Vec::new() }
    }

    /// The same with a column that divides by `variant`.
    pub(crate) fn over(mut self, variant: impl Into<String>) -> Self {
        self.bases.push(variant.into());
        self
    }

    /// Adds the figure of one round, and shows it.
    pub(crate) fn add(&mut self, variant: impl Into<String>, figure: f64) {
        let variant = variant.into();
        let shown = digits(figure);
        eprintln!("    {variant}: {figure:.shown$} {}", self.unit);
        match self.variants.iter_mut().find(|(name, _)| *name == variant) {
            Some((_, rounds)) => rounds.push(figure),
            None => self.variants.push((variant, vec![figure])),
        }
    }

    pub(crate) fn rounds(&self, variant: &str) -> &[f64] {
        self.variants.iter().find(|(name, _)| name == variant).map_or(&[], |(_, rounds)| rounds)
    }

    pub(crate) fn spread(&self, variant: &str) -> Option<Spread> {
        Spread::of(self.rounds(variant))
    }

    /// `variant` ÷ `base`, round by round: what slows a round slows both.
    pub(crate) fn ratio(&self, variant: &str, base: &str) -> Option<Spread> {
        let pairs = self.rounds(variant).iter().zip(self.rounds(base));
        Spread::of(&pairs.map(|(figure, base)| figure / base).collect::<Vec<_>>())
    }

    /// The slowest ÷ the fastest of the variants, by their medians.
    pub(crate) fn evenness(&self) -> Option<Spread> {
        let medians: Vec<f64> = self
            .variants
            .iter()
            .filter_map(|(name, _)| self.spread(name))
            .map(|spread| spread.median)
            .collect();
        let all = Spread::of(&medians)?;
        Some(Spread { median: all.low / all.high, low: all.low / all.high, high: all.low / all.high })
    }
}

/// How many decimals a figure is worth.
pub(crate) fn digits(figure: f64) -> usize {
    match figure.abs() {
        figure if figure >= 100.0 => 0,
        figure if figure >= 10.0 => 1,
        _ => 2,
    }
}
