//! A result as a script for R or Python that computes the page's numbers again from the counts, with the language's own functions.
//!
//! Cast: [`script`], [`Language`].
//!
//! The scripts need no packages and read no files; they hold counts per arm only. Each prints the page's figure beside its own, and ends
//! with an error when one differs by more than a millionth.

use std::fmt::Write as _;

use crate::experiment::decide::EXACT;
use crate::report::page::{Estimate, ResultPage};

/// What the script is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// R, base and stats.
    R,
    /// Python 3, standard library.
    Python,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::R, Self::Python];

    /// The word used on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::R => "r",
            Self::Python => "python",
        }
    }
}

/// Figures the page shows: rates with interval, comparisons with interval and p-values, chances. None becomes the language's missing value.
struct Shown {
    rates: Vec<[Option<f64>; 3]>,
    differences: Vec<[Option<f64>; 3]>,
    p_values: Vec<Option<f64>>,
    adjusted: Vec<Option<f64>>,
    better: Vec<Option<f64>>,
    exact: Vec<bool>,
}

fn ends(estimate: &Estimate) -> [Option<f64>; 3] {
    match estimate {
        Estimate::Interval { estimate, lower, upper } => [Some(*estimate), Some(*lower), Some(*upper)],
        Estimate::NotEstimable { .. } => [None; 3],
    }
}

impl Shown {
    fn of(page: &ResultPage) -> Self {
        Self {
            rates: page.arms.iter().map(|arm| ends(&arm.rate)).collect(),
            differences: page.comparisons.iter().map(|comparison| ends(&comparison.difference)).collect(),
            p_values: page.comparisons.iter().map(|comparison| comparison.p_value).collect(),
            adjusted: page.comparisons.iter().map(|comparison| comparison.adjusted_p_value).collect(),
            better: page.comparisons.iter().map(|comparison| comparison.chance_better).collect(),
            exact: page.comparisons.iter().map(|comparison| comparison.method == EXACT).collect(),
        }
    }
}

/// Writes the script.
pub fn script(page: &ResultPage, language: Language) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match language {
        Language::R => write_r(&mut text, page),
        Language::Python => write_python(&mut text, page),
    };
    text
}

/// A comment line cannot be left by what is written in it.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn header(text: &mut String, page: &ResultPage) -> std::fmt::Result {
    writeln!(text, "# {}: {} of those {}, as of {}.", plain(&page.campaign), page.metric, page.denominator, page.as_of)?;
    writeln!(text, "# Computes the numbers of the result page again from the counts per arm and prints both.")?;
    if !page.plan.hash.is_empty() {
        writeln!(text, "# Sealed {} with {}.", page.plan.sealed_at, page.plan.hash)?;
    }
    writeln!(text)
}

fn list<T>(items: &[T], missing: &str, write: impl Fn(&T) -> Option<String>) -> String {
    items.iter().map(|item| write(item).unwrap_or_else(|| missing.to_owned())).collect::<Vec<_>>().join(", ")
}

fn number(value: &Option<f64>) -> Option<String> {
    value.map(|value| format!("{value:e}"))
}

fn column(rows: &[[Option<f64>; 3]], index: usize, missing: &str) -> String {
    list(rows, missing, |row| row.get(index).and_then(number))
}

fn write_r(text: &mut String, page: &ResultPage) -> std::fmt::Result {
    let shown = Shown::of(page);
    header(text, page)?;
    writeln!(text, "arm <- c({})", list(&page.arms, "NA", |arm| Some(format!("\"{}\"", arm.letter))))?;
    writeln!(text, "x <- c({})", list(&page.arms, "NA", |arm| Some(arm.successes.to_string())))?;
    writeln!(text, "n <- c({})", list(&page.arms, "NA", |arm| Some(arm.trials.to_string())))?;
    writeln!(text, "enrolled <- c({})", list(&page.arms, "NA", |arm| Some(arm.enrolled.to_string())))?;
    writeln!(text, "confidence <- {}", page.confidence)?;
    writeln!(text, "exact <- c({})", list(&shown.exact, "FALSE", |exact| Some(if *exact { "TRUE" } else { "FALSE" }.to_owned())))?;
    writeln!(text, "page_rate <- c({})", column(&shown.rates, 0, "NA"))?;
    writeln!(text, "page_rate_lower <- c({})", column(&shown.rates, 1, "NA"))?;
    writeln!(text, "page_rate_upper <- c({})", column(&shown.rates, 2, "NA"))?;
    writeln!(text, "page_difference <- c({})", column(&shown.differences, 0, "NA"))?;
    writeln!(text, "page_difference_lower <- c({})", column(&shown.differences, 1, "NA"))?;
    writeln!(text, "page_difference_upper <- c({})", column(&shown.differences, 2, "NA"))?;
    writeln!(text, "page_p <- c({})", list(&shown.p_values, "NA", number))?;
    writeln!(text, "page_adjusted_p <- c({})", list(&shown.adjusted, "NA", number))?;
    writeln!(text, "page_chance_better <- c({})", list(&shown.better, "NA", number))?;
    text.push_str(R);
    Ok(())
}

fn write_python(text: &mut String, page: &ResultPage) -> std::fmt::Result {
    let shown = Shown::of(page);
    header(text, page)?;
    writeln!(text, "arm = [{}]", list(&page.arms, "None", |arm| Some(format!("\"{}\"", arm.letter))))?;
    writeln!(text, "x = [{}]", list(&page.arms, "None", |arm| Some(arm.successes.to_string())))?;
    writeln!(text, "n = [{}]", list(&page.arms, "None", |arm| Some(arm.trials.to_string())))?;
    writeln!(text, "confidence = {}", page.confidence)?;
    writeln!(text, "exact = [{}]", list(&shown.exact, "False", |exact| Some(if *exact { "True" } else { "False" }.to_owned())))?;
    writeln!(text, "page = {{")?;
    for (name, rows) in [("rate", &shown.rates), ("difference", &shown.differences)] {
        for (index, end) in ["", " lower", " upper"].iter().enumerate() {
            writeln!(text, "    \"{name}{end}\": [{}],", column(rows, index, "None"))?;
        }
    }
    for (name, values) in [("p", &shown.p_values), ("adjusted p", &shown.adjusted), ("chance better", &shown.better)] {
        writeln!(text, "    \"{name}\": [{}],", list(values, "None", number))?;
    }
    writeln!(text, "}}")?;
    text.push_str(PYTHON);
    Ok(())
}

const R: &str = r#"
# Skewness-corrected score (Laud 2017) of "rate B - rate A = d"; restricted estimates by Farrington and Manning's (1990) closed cubic.
scas <- function(d, xa, na, xb, nb) {
  pb <- xb / nb; pa <- xa / na; t <- na / nb
  if (d == 0) { b <- a <- (xa + xb) / (na + nb) } else {
    k3 <- 1 + t; k2 <- -(1 + t + pb + t * pa + d * (t + 2))
    k1 <- d^2 + d * (2 * pb + t + 1) + pb + t * pa; k0 <- -pb * d * (1 + d)
    v <- k2^3 / (27 * k3^3) - k2 * k1 / (6 * k3^2) + k0 / (2 * k3)
    u <- ifelse(v < 0, -1, 1) * sqrt(max(0, k2^2 / (9 * k3^2) - k1 / (3 * k3)))
    w <- if (u == 0) pi / 2 else (pi + acos(max(-1, min(1, v / u^3)))) / 3
    b <- min(1, max(0, d, 2 * u * cos(w) - k2 / (3 * k3))); a <- min(1, max(0, b - d))
  }
  variance <- (a * (1 - a) / na + b * (1 - b) / nb) * (na + nb) / (na + nb - 1)
  score <- pb - pa - d
  if (variance <= 0) return(if (score == 0) 0 else sign(score) * Inf)
  third <- (b * (1 - b) * (1 - 2 * b) / nb^2 - a * (1 - a) * (1 - 2 * a) / na^2)
  skew <- third / (6 * variance^1.5); target <- score / sqrt(variance) + skew
  root <- 1 + 4 * skew * target
  if (root <= 0) -0.5 / skew else 2 * target / (1 + sqrt(root))
}
solve_end <- function(f, from, to) if (f(to) * f(from) > 0) to else uniroot(f, sort(c(from, to)), tol = 1e-14)$root

z <- qnorm(1 - (1 - confidence) / 2)
rate <- lower <- upper <- rep(NA, length(x))
for (i in seq_along(x)) if (n[i] > 0) {
  wilson <- suppressWarnings(prop.test(x[i], n[i], conf.level = confidence, correct = FALSE)$conf.int)
  rate[i] <- x[i] / n[i]; lower[i] <- wilson[1]; upper[i] <- wilson[2]
}
k <- length(x) - 1
difference <- d_lower <- d_upper <- p <- better <- rep(NA, k)
for (i in seq_len(k)) if (n[1] > 0 && n[i + 1] > 0) {
  xa <- x[1]; na <- n[1]; xb <- x[i + 1]; nb <- n[i + 1]
  difference[i] <- xb / nb - xa / na
  score <- function(d) scas(d, xa, na, xb, nb)
  d_lower[i] <- solve_end(function(d) score(d) - z, difference[i], -1)
  d_upper[i] <- solve_end(function(d) score(d) + z, difference[i], 1)
  p[i] <- if (exact[i]) fisher.test(matrix(c(xa, na - xa, xb, nb - xb), 2))$p.value else 2 * pnorm(-abs(score(0)))
  # P(B > A) for independent Beta(1 + x, 1 + n - x): the sum of A's distribution over B's quantiles.
  better[i] <- integrate(function(q) pbeta(qbeta(q, 1 + xb, 1 + nb - xb), 1 + xa, 1 + na - xa), 0, 1, rel.tol = 1e-10, subdivisions = 2000)$value
}
adjusted <- p.adjust(p, "holm")

worst <- 0
show <- function(name, page, own) {
  gap <- ifelse(is.na(page) | is.na(own), 0, abs(page - own) / pmax(abs(own), 1e-9))
  worst <<- max(worst, gap)
  cat(sprintf("%-28s page %-24s here %-24s\n", name, format(page, digits = 12), format(own, digits = 12)), sep = "")
}
show(paste("rate", arm), page_rate, rate)
show(paste("rate lower", arm), page_rate_lower, lower)
show(paste("rate upper", arm), page_rate_upper, upper)
others <- arm[-1]
show(paste("difference", others), page_difference, difference)
show(paste("difference lower", others), page_difference_lower, d_lower)
show(paste("difference upper", others), page_difference_upper, d_upper)
show(paste("p", others), page_p, p)
show(paste("adjusted p", others), page_adjusted_p, adjusted)
show(paste("chance better", others), page_chance_better, better)
cat(sprintf("largest relative difference: %.2g\n", worst))
if (worst > 1e-6) stop("the page and this script differ")
"#;

const PYTHON: &str = r#"
import math
import sys
from fractions import Fraction
from statistics import NormalDist

normal = NormalDist()


def scas(d, xa, na, xb, nb):
    """Skewness-corrected score (Laud 2017) of "rate B - rate A = d"; restricted estimates by Farrington and Manning's (1990) closed cubic."""
    pb, pa, t = xb / nb, xa / na, na / nb
    if d == 0:
        a = b = (xa + xb) / (na + nb)
    else:
        k3, k2 = 1 + t, -(1 + t + pb + t * pa + d * (t + 2))
        k1, k0 = d * d + d * (2 * pb + t + 1) + pb + t * pa, -pb * d * (1 + d)
        v = k2**3 / (27 * k3**3) - k2 * k1 / (6 * k3**2) + k0 / (2 * k3)
        u = math.copysign(math.sqrt(max(0.0, k2**2 / (9 * k3**2) - k1 / (3 * k3))), v)
        w = math.pi / 2 if u == 0 else (math.pi + math.acos(max(-1.0, min(1.0, v / u**3)))) / 3
        b = min(1.0, max(0.0, d, 2 * u * math.cos(w) - k2 / (3 * k3)))
        a = min(1.0, max(0.0, b - d))
    variance = (a * (1 - a) / na + b * (1 - b) / nb) * (na + nb) / (na + nb - 1)
    score = pb - pa - d
    if variance <= 0:
        return 0.0 if score == 0 else math.copysign(math.inf, score)
    third = b * (1 - b) * (1 - 2 * b) / nb**2 - a * (1 - a) * (1 - 2 * a) / na**2
    skew = third / (6 * variance**1.5)
    target = score / math.sqrt(variance) + skew
    root = 1 + 4 * skew * target
    return -0.5 / skew if root <= 0 else 2 * target / (1 + math.sqrt(root))


def solve_end(f, start, end):
    if (f(start) > 0) == (f(end) > 0):
        return end
    for _ in range(200):
        middle = (start + end) / 2
        if (f(middle) > 0) == (f(start) > 0):
            start = middle
        else:
            end = middle
    return (start + end) / 2


def wilson(x, n, z):
    centre = (x + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(x * (n - x) / n + z * z / 4)
    return (0.0 if x == 0 else centre - half, 1.0 if x == n else centre + half)


def fisher(xa, na, xb, nb):
    """Two-sided by minimum likelihood, in whole numbers."""
    m = xa + xb
    ways = {k: math.comb(na, k) * math.comb(nb, m - k) for k in range(max(0, m - nb), min(m, na) + 1)}
    limit = ways[xa] * Fraction(10_000_001, 10_000_000)
    return float(Fraction(sum(way for way in ways.values() if way <= limit), sum(ways.values())))


def ln_beta(a, b):
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def chance_better(xa, na, xb, nb):
    """P(B > A) for independent Beta(1 + x, 1 + n - x) as a closed sum (Miller 2015)."""
    a1, b1, a2, b2 = 1 + xa, 1 + na - xa, 1 + xb, 1 + nb - xb
    terms = (ln_beta(a1 + i, b1 + b2) - math.log(b2 + i) - ln_beta(1 + i, b2) - ln_beta(a1, b1) for i in range(a2))
    return math.fsum(map(math.exp, terms))


def holm(p_values):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


z = normal.inv_cdf(1 - (1 - confidence) / 2)
own = {name: [] for name in page}
for xi, ni in zip(x, n):
    lower, upper = wilson(xi, ni, z) if ni else (None, None)
    own["rate"].append(xi / ni if ni else None)
    own["rate lower"].append(lower)
    own["rate upper"].append(upper)
xa, na = x[0], n[0]
for xb, nb, is_exact in zip(x[1:], n[1:], exact):
    if not (na and nb):
        for name in ("difference", "difference lower", "difference upper", "p", "chance better"):
            own[name].append(None)
        continue
    difference = xb / nb - xa / na
    own["difference"].append(difference)
    own["difference lower"].append(solve_end(lambda d: scas(d, xa, na, xb, nb) - z, difference, -1.0))
    own["difference upper"].append(solve_end(lambda d: scas(d, xa, na, xb, nb) + z, difference, 1.0))
    own["p"].append(fisher(xa, na, xb, nb) if is_exact else math.erfc(abs(scas(0, xa, na, xb, nb)) / math.sqrt(2)))
    own["chance better"].append(chance_better(xa, na, xb, nb))
known = [p for p in own["p"] if p is not None]
adjusted = iter(holm(known))
own["adjusted p"] = [None if p is None else next(adjusted) for p in own["p"]]

worst = 0.0
for name, figures in page.items():
    letters = arm if name.startswith("rate") else arm[1:]
    for letter, shown, here in zip(letters, figures, own[name]):
        print(f"{name} {letter}: page {shown}, here {here}")
        if shown is not None and here is not None:
            worst = max(worst, abs(shown - here) / max(abs(here), 1e-9))
print(f"largest relative difference: {worst:.2g}")
if worst > 1e-6:
    sys.exit("the page and this script differ")
"#;
