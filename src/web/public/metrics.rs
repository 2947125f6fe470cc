//! `GET /metrics`: what the tracker does now, as Prometheus reads it. Numbers only; no database is asked.

use std::fmt;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::app::outpost::{Live, live};
use crate::tracking::commits::BOUNDS_MICROS;
use crate::web::edge::Edge;
use crate::web::error::Fault;
use crate::web::session::same;

/// Answers whoever knows the token of the settings; without one there is no such page.
pub async fn show(edge: web::Data<Edge>, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sent = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token.trim());
    if !same(sent, &edge.outpost.config.web.metrics_token) {
        return Err(Fault::NotFound);
    }
    let text = edge.run(|outpost| written(live(outpost)).map_err(anyhow::Error::new)).await?;
    Ok(HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text))
}

/// The numbers as text.
fn written(live: Live) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("letterlab");
    registry.register_collector(Box::new(Numbers(live)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Numbers read once.
#[derive(Debug)]
struct Numbers(Live);

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let live = &self.0;
        let mut hits = encoder.encode_descriptor(
            "hits",
            "Pixels and links with a token of ours that may be recorded, by the class they get at once",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for judged in &live.judged {
            let labels = [("kind", judged.kind), ("class", judged.class.as_str())];
            ConstCounter::new(judged.hits).encode(hits.encode_family(&labels)?)?;
        }
        for (name, help, number) in [
            ("hits_refused", "Requests with a token that is not ours", live.refused),
            ("hits_limited", "Of the refused, those of sources with too many of them", live.limited),
            ("hits_unrecorded", "Requests answered without recording: measuring ended or was withdrawn, or too many", live.unrecorded),
            ("hits_flooded", "Of the unrecorded, those above 10,000 of one letter in a day", live.flooded),
            ("hits_shed", "Hits not taken because too many were waiting for the disk", live.shed),
        ] {
            let counter = ConstCounter::new(number);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("requests_per_second", "Requests for pixels and links per second of late", live.per_second)?;
        gauge("hits_waiting", "Hits in memory, waiting for the disk", live.waiting as f64)?;
        if let Some(spooled) = live.spooled {
            gauge("spool_hits", "Hits on the disk, on their way to the ledger", spooled as f64)?;
        }
        gauge("spool_works", "1 while the spool can be written", f64::from(u8::from(live.spool_works)))?;
        let commits = &live.commits;
        let seconds = |micros: u64| micros as f64 / 1_000_000.0;
        let classes = BOUNDS_MICROS.into_iter().map(seconds).zip(commits.within);
        // The last class has no upper end.
        let slower = commits.count.saturating_sub(commits.within.iter().sum());
        let classes: Vec<(f64, u64)> = classes.chain([(f64::INFINITY, slower)]).collect();
        let kind = prometheus_client::metrics::MetricType::Histogram;
        encoder
            .encode_descriptor("commit", "How long it takes to make a group of hits durable", Some(&Unit::Seconds), kind)?
            .encode_histogram::<[(&str, &str); 0]>(seconds(commits.micros), commits.count, &classes, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::outpost::Judged;
    use crate::signal::Class;
    use crate::tracking::commits::Taken;

    #[test]
    fn every_number_is_there_in_the_form_that_prometheus_reads() {
        let mut within = [0; BOUNDS_MICROS.len()];
        (within[0], within[4]) = (3, 1);
        let text = written(Live {
            judged: vec![Judged { kind: "open", class: Class::Human, hits: 7 }, Judged { kind: "click", class: Class::Scanner, hits: 2 }],
            per_second: 1.5,
            refused: 11,
            unrecorded: 12,
            flooded: 10,
            limited: 13,
            shed: 14,
            waiting: 15,
            spooled: Some(16),
            spool_works: true,
            commits: Taken { count: 5, micros: 2_500_000, slowest_micros: 2_000_000, within },
        })
        .unwrap();
        for line in [
            "# TYPE letterlab_hits counter",
            "letterlab_hits_total{kind=\"open\",class=\"human\"} 7",
            "letterlab_hits_total{kind=\"click\",class=\"scanner\"} 2",
            "letterlab_hits_refused_total 11",
            "letterlab_hits_unrecorded_total 12",
            "letterlab_hits_flooded_total 10",
            "letterlab_hits_limited_total 13",
            "letterlab_hits_shed_total 14",
            "letterlab_requests_per_second 1.5",
            "letterlab_hits_waiting 15.0",
            "letterlab_spool_hits 16.0",
            "letterlab_spool_works 1.0",
            "# TYPE letterlab_commit_seconds histogram",
            "letterlab_commit_seconds_bucket{le=\"0.0001\"} 3",
            "letterlab_commit_seconds_bucket{le=\"0.0025\"} 4",
            "letterlab_commit_seconds_bucket{le=\"+Inf\"} 5",
            "letterlab_commit_seconds_sum 2.5",
            "letterlab_commit_seconds_count 5",
            "# EOF",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in\n{text}");
        }
    }
}
