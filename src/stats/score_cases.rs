//! Calls one method of the room by the name a reference file gives it.
//!
//! Cast: [`run`], [`Outcome`]. Never judges the answer: `score` compares.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::*;

/// What came of a case.
pub(crate) enum Outcome {
    /// Figures by name.
    Figures(Map<String, Value>),
    /// The inputs were refused or the figure is not estimable.
    Failed(String),
    /// There is no such method.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
enum CaseError {
    #[error("input {0} is missing or of the wrong kind")]
    Input(&'static str),
    #[error("{0}")]
    NotEstimable(#[from] NotEstimable),
    #[error("{0}")]
    Invalid(#[from] InvalidInput),
}

type Figures = Result<Value, CaseError>;

struct Inputs<'a>(&'a Map<String, Value>);

impl Inputs<'_> {
    fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, CaseError> {
        self.0.get(name).and_then(|value| serde_json::from_value(value.clone()).ok()).ok_or(CaseError::Input(name))
    }

    fn number(&self, name: &'static str) -> Result<f64, CaseError> {
        self.get(name)
    }

    /// A whole number, also when it is written as 1e8.
    fn whole(&self, name: &'static str) -> Result<u64, CaseError> {
        let value = self.0.get(name).ok_or(CaseError::Input(name))?;
        whole_number(value).ok_or(CaseError::Input(name))
    }

    fn whole_list(&self, name: &'static str) -> Result<Vec<u64>, CaseError> {
        let list = self.0.get(name).and_then(Value::as_array).ok_or(CaseError::Input(name))?;
        list.iter().map(|value| whole_number(value).ok_or(CaseError::Input(name))).collect()
    }

    fn count(&self, successes: &'static str, trials: &'static str) -> Result<Count, CaseError> {
        Ok(Count::new(self.whole(successes)?, self.whole(trials)?)?)
    }

    fn a(&self) -> Result<Count, CaseError> {
        self.count("x_a", "n_a")
    }

    fn b(&self) -> Result<Count, CaseError> {
        self.count("x_b", "n_b")
    }

    fn counts(&self) -> Result<Vec<Count>, CaseError> {
        let (x, n) = (self.whole_list("x")?, self.whole_list("n")?);
        if x.len() != n.len() {
            return Err(CaseError::Input("n"));
        }
        x.iter().zip(n).map(|(successes, trials)| Ok(Count::new(*successes, trials)?)).collect()
    }

    fn level(&self) -> Result<Level, CaseError> {
        Ok(Level::new(self.number("conf")?)?)
    }

    fn alpha_level(&self) -> Result<Level, CaseError> {
        Ok(Level::from_alpha(self.number("alpha")?)?)
    }

    fn mean(&self, mean: &'static str, sd: &'static str, n: &'static str) -> Result<MeanSummary, CaseError> {
        Ok(MeanSummary::new(self.number(mean)?, self.number(sd)?, self.whole(n)?)?)
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0 && *number < 1.8e19).map(|number| number as u64))
}

/// Runs the named method on the inputs of a case.
pub(crate) fn run(method: &str, inputs: &Map<String, Value>) -> Outcome {
    let inputs = Inputs(inputs);
    let figures = match method {
        "norm_sf" | "norm_ppf" | "chi2_sf" | "t_sf" | "t_isf" | "beta_cdf" => distribution(method, &inputs),
        "wilson" | "two_prop_z" | "newcombe_diff" | "agresti_caffo_diff" | "katz_ratio" => closed_form(method, &inputs),
        "mee_diff" | "miettinen_nurminen_diff" | "scas_diff" => score_differences(method, &inputs),
        "koopman_ratio" | "miettinen_nurminen_ratio" | "scas_ratio" => score_ratios(method, &inputs),
        "fisher_two_sided" | "fisher_mid_p" | "boschloo_central" => exact_tests(method, &inputs),
        "welch" | "mean_lift_log" | "delta_ratio" => means(method, &inputs),
        "holm" | "benjamini_hochberg" | "bh" | "omnibus_chisq" | "srm_chisq" | "winner_iut" => several_arms(method, &inputs),
        "seq_urn" | "seq_label" | "seq_srm" | "bernoulli_cs" | "asymp_cs" => sequences(method, &inputs),
        "beta_binomial" | "prob_best" => bayesian(method, &inputs),
        "sample_size_two_prop" | "power_two_prop" | "mde_two_prop" | "sample_size_mean" | "mpp_attenuation" | "test_and_roll" => {
            planning(method, &inputs)
        }
        _ => return Outcome::Unknown,
    };
    match figures {
        Ok(Value::Object(map)) => Outcome::Figures(map),
        Ok(_) => Outcome::Unknown,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn unbounded(upper: Option<f64>) -> Value {
    upper.map_or_else(|| json!("inf"), |value| json!(value))
}

fn distribution(method: &str, inputs: &Inputs) -> Figures {
    let with_ln = |ln: f64| json!({"value": ln.exp(), "ln_value": ln});
    Ok(match method {
        "norm_sf" => {
            let x = inputs.number("x")?;
            json!({"value": normal_sf(x), "ln_value": ln_normal_sf(x)})
        }
        "norm_ppf" => json!({"value": -normal_isf(inputs.number("p")?)}),
        "chi2_sf" => with_ln(ln_chi_square_sf(inputs.number("x")?, inputs.number("df")?)),
        "t_sf" => with_ln(ln_student_sf(inputs.number("t")?, inputs.number("df")?)?),
        "t_isf" => json!({"value": student_isf(inputs.number("q")?, inputs.number("df")?)?}),
        _ => {
            let tails = beta_distribution(inputs.number("a")?, inputs.number("b")?, inputs.number("x")?)?;
            json!({"cdf": tails.ln_cdf.exp(), "sf": tails.ln_sf.exp()})
        }
    })
}

fn closed_form(method: &str, inputs: &Inputs) -> Figures {
    let ends = |interval: Interval| json!({"lower": interval.lower, "upper": interval.upper});
    Ok(match method {
        "wilson" => ends(wilson(inputs.count("x", "n")?, inputs.level()?)?),
        "two_prop_z" => {
            let test = pooled_z(inputs.a()?, inputs.b()?)?;
            json!({"z": test.z, "p_value": test.p_value.value(), "log10_p": test.p_value.log10()})
        }
        "newcombe_diff" => ends(newcombe_difference(inputs.a()?, inputs.b()?, inputs.level()?)?),
        "agresti_caffo_diff" => ends(agresti_caffo_difference(inputs.a()?, inputs.b()?, inputs.level()?)?),
        _ => {
            let interval = katz_ratio(inputs.a()?, inputs.b()?, inputs.level()?)?;
            json!({"lower": interval.lower, "upper": unbounded(interval.upper)})
        }
    })
}

fn score_differences(method: &str, inputs: &Inputs) -> Figures {
    let family = match method {
        "mee_diff" => ScoreFamily::Plain,
        "miettinen_nurminen_diff" => ScoreFamily::MiettinenNurminen,
        _ => ScoreFamily::SkewnessCorrected,
    };
    let reading = score_difference(family, inputs.a()?, inputs.b()?, inputs.level()?)?;
    Ok(json!({
        "z0": reading.test.z, "p_value": reading.test.p_value.value(), "log10_p": reading.test.p_value.log10(),
        "lower": reading.interval.lower, "upper": reading.interval.upper,
    }))
}

fn score_ratios(method: &str, inputs: &Inputs) -> Figures {
    let family = match method {
        "koopman_ratio" => ScoreFamily::Plain,
        "miettinen_nurminen_ratio" => ScoreFamily::MiettinenNurminen,
        _ => ScoreFamily::SkewnessCorrected,
    };
    let reading = score_ratio(family, inputs.a()?, inputs.b()?, inputs.level()?)?;
    Ok(json!({"ratio": reading.estimate, "lower": reading.interval.lower, "upper": unbounded(reading.interval.upper)}))
}

fn exact_tests(method: &str, inputs: &Inputs) -> Figures {
    let (a, b) = (inputs.a()?, inputs.b()?);
    let figures = |p: PValue| json!({"p_value": p.value(), "log10_p": p.log10()});
    Ok(match method {
        "fisher_two_sided" => figures(fisher(a, b)?),
        "fisher_mid_p" => figures(fisher_mid_p(a, b)?),
        _ => {
            let test = boschloo(a, b)?;
            json!({"p_value": test.p_value.value(), "p_b_less": test.b_less.value(), "p_b_greater": test.b_greater.value()})
        }
    })
}

fn means(method: &str, inputs: &Inputs) -> Figures {
    if method == "delta_ratio" {
        return delta(inputs);
    }
    let (a, b) = (inputs.mean("mean_a", "sd_a", "n_a")?, inputs.mean("mean_b", "sd_b", "n_b")?);
    if method == "mean_lift_log" {
        let reading = mean_lift(a, b, inputs.level()?)?;
        return Ok(json!({"lift": reading.lift, "lower": reading.interval.lower, "upper": reading.interval.upper}));
    }
    let reading = welch(a, b, inputs.level()?)?;
    Ok(json!({
        "t": reading.t, "df": reading.degrees, "p_value": reading.p_value.value(), "log10_p": reading.p_value.log10(),
        "lower": reading.interval.lower, "upper": reading.interval.upper, "se": reading.standard_error,
    }))
}

fn delta(inputs: &Inputs) -> Figures {
    let a = RatioSums {
        n: inputs.whole("n_a")?,
        sum_y: inputs.number("sum_y_a")?,
        sum_x: inputs.number("sum_x_a")?,
        sum_yy: inputs.number("sum_yy_a")?,
        sum_xx: inputs.number("sum_xx_a")?,
        sum_xy: inputs.number("sum_xy_a")?,
    };
    let b = RatioSums {
        n: inputs.whole("n_b")?,
        sum_y: inputs.number("sum_y_b")?,
        sum_x: inputs.number("sum_x_b")?,
        sum_yy: inputs.number("sum_yy_b")?,
        sum_xx: inputs.number("sum_xx_b")?,
        sum_xy: inputs.number("sum_xy_b")?,
    };
    let reading = delta_ratio(a, b, inputs.level()?)?;
    Ok(json!({
        "ratio_a": reading.ratio_a, "ratio_b": reading.ratio_b, "se_a": reading.error_a, "se_b": reading.error_b,
        "diff": reading.difference, "lower": reading.interval.lower, "upper": reading.interval.upper,
        "z": reading.z, "p_value": reading.p_value.value(),
    }))
}

fn several_arms(method: &str, inputs: &Inputs) -> Figures {
    let chi_square = |test: ChiSquareTest| json!({"statistic": test.statistic, "df": test.degrees, "p_value": test.p_value.value(), "log10_p": test.p_value.log10()});
    Ok(match method {
        "omnibus_chisq" => chi_square(homogeneity(&inputs.counts()?)?),
        "srm_chisq" => chi_square(sample_ratio(&inputs.whole_list("counts")?, &inputs.get::<Vec<f64>>("weights")?)?),
        "winner_iut" => {
            let test = winner(&inputs.counts()?, inputs.number("alpha")?)?;
            json!({"leader": test.leader, "weakest_comparison": test.weakest_comparison, "p_max": test.p_max.value(), "winner": test.winner})
        }
        _ => {
            let raw: Vec<PValue> = inputs.get::<Vec<f64>>("p")?.into_iter().map(PValue::from_value).collect();
            let adjusted = if method == "holm" { holm(&raw) } else { benjamini_hochberg(&raw) };
            json!({"adjusted": adjusted.iter().map(|p| p.value()).collect::<Vec<f64>>()})
        }
    })
}

fn sequences(method: &str, inputs: &Inputs) -> Figures {
    let evidence = |ln_e: f64| json!({"ln_e": ln_e, "p_value": e_to_p(ln_e).value()});
    Ok(match method {
        "seq_urn" => {
            let mut urn = UrnProcess::new(inputs.whole("n_a")?, inputs.whole("n_b")?, inputs.number("tau")?)?;
            for label in inputs.get::<String>("labels")?.chars() {
                urn.observe(if label == 'B' { Arm::B } else { Arm::A })?;
            }
            evidence(urn.ln_e())
        }
        "seq_srm" => evidence(sample_ratio_sequence(
            &inputs.whole_list("counts")?,
            &inputs.get::<Vec<f64>>("weights")?,
            inputs.number("concentration")?,
        )?),
        "seq_label" => {
            let (share, kappa) = (inputs.number("share_b")?, inputs.number("kappa")?);
            let reading = label_sequence(inputs.whole("x_a")?, inputs.whole("x_b")?, share, kappa, inputs.alpha_level()?)?;
            json!({
                "ln_e": reading.ln_e, "p_value": reading.p_value.value(),
                "ratio_lower": reading.ratio.lower, "ratio_upper": unbounded(reading.ratio.upper),
            })
        }
        "bernoulli_cs" => {
            let interval = rate_sequence(inputs.count("x", "n")?, inputs.number("a")?, inputs.number("b")?, inputs.alpha_level()?)?;
            json!({"lower": interval.lower, "upper": interval.upper})
        }
        _ => {
            let (estimate, error) = (inputs.number("estimate")?, inputs.number("se")?);
            let reading = asymptotic_sequence(inputs.whole("n_total")?, estimate, error, inputs.alpha_level()?, inputs.whole("n_star")?)?;
            json!({"half_width": reading.half_width, "p_value": reading.p_value.value()})
        }
    })
}

fn bayesian(method: &str, inputs: &Inputs) -> Figures {
    let (alpha, beta) = (inputs.number("prior_alpha")?, inputs.number("prior_beta")?);
    if method == "prob_best" {
        let arms: Result<Vec<Posterior>, InvalidInput> =
            inputs.counts()?.into_iter().map(|count| Posterior::new(count, alpha, beta)).collect();
        let readings = best_of(&arms?)?;
        let chances: Vec<f64> = readings.iter().map(|reading| reading.chance).collect();
        let losses: Vec<f64> = readings.iter().map(|reading| reading.expected_loss).collect();
        return Ok(json!({"prob_best": chances, "expected_loss": losses}));
    }
    let (a, b) = (Posterior::new(inputs.a()?, alpha, beta)?, Posterior::new(inputs.b()?, alpha, beta)?);
    let losses = expected_losses(a, b);
    let lift = lift_interval(a, b, Level::new(inputs.number("cred")?)?)?;
    Ok(json!({
        "prob_b_gt_a": prob_b_beats_a(a, b), "expected_loss_choose_b": losses.choose_b, "expected_loss_choose_a": losses.choose_a,
        "lift_lower": lift.lower, "lift_upper": lift.upper,
    }))
}

fn planning(method: &str, inputs: &Inputs) -> Figures {
    let plan =
        || -> Result<Plan, CaseError> { Ok(Plan::new(inputs.number("alpha")?, inputs.number("power")?, inputs.number("ratio_b_to_a")?)?) };
    let figures = |size: SampleSize| serialised(&size);
    match method {
        "sample_size_two_prop" => figures(sample_size_two_proportions(inputs.number("p_a")?, inputs.number("p_b")?, plan()?)?),
        "sample_size_mean" => figures(sample_size_means(inputs.number("sd")?, inputs.number("delta")?, plan()?)?),
        "power_two_prop" => {
            let (p_a, p_b, alpha) = (inputs.number("p_a")?, inputs.number("p_b")?, inputs.number("alpha")?);
            Ok(json!({"power": power_two_proportions(p_a, p_b, inputs.whole("n_a")?, inputs.whole("n_b")?, alpha)?}))
        }
        "mde_two_prop" => {
            let (n_a, n_b) = (inputs.whole("n_a")?, inputs.whole("n_b")?);
            let effect = detectable_effect(inputs.number("p_a")?, n_a, n_b, inputs.number("alpha")?, inputs.number("power")?)?;
            Ok(json!({"p_b": effect.p_b, "abs_mde": effect.absolute, "rel_mde": effect.relative}))
        }
        "mpp_attenuation" => {
            let mixed = dilution(inputs.number("p_a")?, inputs.number("p_b")?, inputs.number("machine_fraction")?)?;
            Ok(json!({
                "q_a": mixed.observed_a, "q_b": mixed.observed_b, "observed_lift": mixed.observed_lift, "observed_diff": mixed.observed_difference,
                "inflation_mixed": mixed.inflation_mixed, "inflation_excluded": mixed.inflation_excluded,
            }))
        }
        _ => Ok(json!({"n_per_arm": test_and_roll(inputs.whole("N")?, inputs.number("s")?, inputs.number("sigma")?)?})),
    }
}

fn serialised<T: Serialize>(value: &T) -> Figures {
    serde_json::to_value(value).map_err(|_| CaseError::Input("figures"))
}
