//! The load report for balancers: tokens that the server has accepted and not computed yet.
//!
//! It has the form of Open Request Cost Aggregation (ORCA, <https://github.com/envoyproxy/envoy/issues/6614>), with named metrics alone. A
//! client asks for it by the header `endpoint-load-metrics-format`, as with vLLM and Triton.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use serde_json::json;

use crate::http::state::AppState;

const FORMAT: HeaderName = HeaderName::from_static("endpoint-load-metrics-format");
const REPORT: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// The forms that ORCA has for headers and lexivec writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Accepted work, of all models together.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Outstanding {
    /// The cost of the texts that wait or are being computed, in tokens of short texts. A token of a long text counts for more than one,
    /// because it attends to more tokens.
    tokens: usize,
    /// The time that they take; `None` until the speed of a model with outstanding tokens has been measured.
    seconds: Option<f64>,
}

/// The middleware that adds the report to responses of requests that ask for it.
pub(crate) async fn add_load_report<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let format = request.headers().get(FORMAT).and_then(format);
    let state = request.app_data::<Data<AppState>>().cloned();
    let mut response = next.call(request).await?;
    if let (Some(format), Some(state)) = (format, state)
        && let Ok(report) = HeaderValue::from_str(&report(outstanding(&state), format))
    {
        response.headers_mut().insert(REPORT, report);
    }
    Ok(response)
}

fn format(asked: &HeaderValue) -> Option<Format> {
    match asked.to_str().ok()?.to_ascii_uppercase().as_str() {
        "TEXT" => Some(Format::Text),
        "JSON" => Some(Format::Json),
        _ => None,
    }
}

fn outstanding(state: &AppState) -> Outstanding {
    let each = state.models.iter().map(|model| {
        let load = model.engine.load();
        (model.engine.queue().cost() + load.running, load.speed())
    });
    total(each)
}

/// Sums the outstanding tokens of models, each with its speed in tokens per second.
fn total(models: impl Iterator<Item = (usize, Option<f64>)>) -> Outstanding {
    let none = Outstanding {
        tokens: 0,
        seconds: Some(0.0),
    };
    models.fold(none, |sum, (tokens, speed)| Outstanding {
        tokens: sum.tokens + tokens,
        seconds: match (sum.seconds, tokens, speed) {
            (seconds, 0, _) => seconds,
            (Some(seconds), _, Some(speed)) => Some(seconds + tokens as f64 / speed),
            _ => None,
        },
    })
}

fn report(load: Outstanding, format: Format) -> String {
    let (tokens, seconds) = (load.tokens, load.seconds);
    match format {
        Format::Text => {
            let seconds =
                seconds.map(|time| format!(", named_metrics.outstanding_seconds={time:.3}"));
            let seconds = seconds.unwrap_or_default();
            format!("TEXT named_metrics.outstanding_tokens={tokens}{seconds}")
        }
        Format::Json => {
            let mut metrics = json!({"outstanding_tokens": tokens});
            if let Some(time) = seconds {
                metrics["outstanding_seconds"] = ((time * 1e3).round() / 1e3).into();
            }
            format!("JSON {}", json!({"named_metrics": metrics}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_summed_and_an_unknown_speed_leaves_the_time_out() {
        let none = total([].into_iter());
        assert_eq!(
            report(none, Format::Text),
            "TEXT named_metrics.outstanding_tokens=0, named_metrics.outstanding_seconds=0.000"
        );
        let both = total([(1000, Some(500.0)), (50, Some(100.0)), (0, None)].into_iter());
        assert_eq!(
            report(both, Format::Json),
            r#"JSON {"named_metrics":{"outstanding_seconds":2.5,"outstanding_tokens":1050}}"#
        );
        let unknown = total([(1000, Some(500.0)), (7, None)].into_iter());
        assert_eq!(
            report(unknown, Format::Text),
            "TEXT named_metrics.outstanding_tokens=1007"
        );
        assert_eq!(
            report(unknown, Format::Json),
            r#"JSON {"named_metrics":{"outstanding_tokens":1007}}"#
        );
    }

    #[test]
    fn formats_have_any_case_and_others_are_ignored() {
        let asked = |text: &'static str| format(&HeaderValue::from_static(text));
        assert_eq!(asked("TEXT"), Some(Format::Text));
        assert_eq!(asked("json"), Some(Format::Json));
        assert_eq!(asked("BIN"), None);
    }
}
