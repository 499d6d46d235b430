//! Metrics of a real agent: OpenMetrics text by the letter, without identifiers, and they move when something happens.

use std::collections::{BTreeMap, BTreeSet};

use sessiond_client::v1;
use tonic::Code;

use crate::harness::{Agent, Localnet, assert_refused, ctl, run, until};

/// Samples by their name with its labels.
type Samples = BTreeMap<String, f64>;

/// Reads OpenMetrics text as strictly as its specification asks: families in one piece with their metadata first, names
/// and suffixes that fit the type, unit at the end of the name, no sample twice, `# EOF` as the last line.
fn parse(text: &str) -> Samples {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    let (mut families, mut samples) = (BTreeSet::new(), Samples::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (word, name) = (words.next().unwrap(), words.next().unwrap());
            let value = words.next().unwrap();
            if name != family {
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                (family, kind) = (name.to_owned(), "unknown".to_owned());
            }
            match word {
                "HELP" => {}
                "TYPE" => kind = value.to_owned(),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let bare = name.split('{').next().unwrap();
        let suffix = bare
            .strip_prefix(&*family)
            .unwrap_or_else(|| panic!("{line}"));
        let fits = match &*kind {
            "counter" => suffix == "_total" && value >= 0.0,
            "gauge" => suffix.is_empty(),
            "info" => suffix == "_info" && value == 1.0,
            "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
            _ => false,
        };
        assert!(fits, "{kind}: {line}");
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(bare.chars().all(in_name), "{line}");
        for (label, value) in labels(name) {
            assert!(label.chars().all(in_name), "{line}");
            // Names of this program, and figures of buckets.
            let in_value = |c: char| c.is_ascii_alphanumeric() || "_./+-".contains(c);
            assert!(value.chars().all(in_value) && value.len() <= 64, "{line}");
            let digits = |c: char| c.is_ascii_hexdigit();
            assert!(
                value.split(|c| !digits(c)).all(|run| run.len() < 16),
                "{line}"
            );
        }
        assert!(
            samples.insert(name.to_owned(), value).is_none(),
            "{line} twice"
        );
    }
    samples
}

fn labels(name: &str) -> Vec<(&str, &str)> {
    let Some((_, labels)) = name.split_once('{') else {
        return Vec::new();
    };
    let labels = labels.strip_suffix('}').unwrap();
    labels
        .split("\",")
        .map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name, value.trim_end_matches('"'))
        })
        .collect()
}

async fn metrics(agent: &Agent) -> Samples {
    let request = v1::GetMetricsRequest {};
    parse(&agent.client().get_metrics(request).await.unwrap().text)
}

#[tokio::test]
async fn metrics_are_strict_text_and_move() {
    let net = Localnet::start().await;
    let a = Agent::start(&net, "a").await;
    let none = metrics(&a).await;
    assert_eq!(none["sessiond_healthy{check=\"vault\"}"], 1.0);
    assert!(!none.contains_key("sessiond_events_total"));
    let a_id = a.create("a").await;
    let (b, b_id) = Agent::with_account(&net, "b").await;
    let before = metrics(&a).await;
    let sent = a.send_stored(&b_id, "hello").await;
    a.until_synced(&sent.id).await;
    b.until_messages(&a_id, 1).await;
    b.send_stored(&a_id, "hello yourself").await;
    a.until_messages(&b_id, 2).await;
    let nobody = a.client().get_message(v1::GetMessageRequest {
        message_id: "nothing".to_owned(),
        ..Default::default()
    });
    assert_refused(nobody.await, Code::NotFound, "MESSAGE_NOT_FOUND");
    let after = until("the poll is counted", async || {
        let after = metrics(&a).await;
        let received = after["sessiond_messages_received_total"];
        (received > before["sessiond_messages_received_total"]).then_some(after)
    })
    .await;
    let grown = |name: &str| {
        let before = before.get(name).copied().unwrap_or(0.0);
        after
            .get(name)
            .copied()
            .unwrap_or_else(|| panic!("{name}: {after:?}"))
            - before
    };
    for name in [
        "sessiond_messages_stored_total{purpose=\"recipient\"}",
        "sessiond_messages_stored_total{purpose=\"copy\"}",
        "sessiond_polls_total{outcome=\"OK\"}",
        "sessiond_onion_requests_total{purpose=\"call\",outcome=\"OK\"}",
        "sessiond_onion_round_trip_seconds_count",
        "sessiond_events_total",
        "sessiond_uptime_seconds",
        "sessiond_calls_total{method=\"sessiond.v1.MessageService/SendMessage\",code=\"OK\"}",
        "sessiond_calls_total{method=\"sessiond.v1.MessageService/GetMessage\",code=\"NOT_FOUND\"}",
    ] {
        assert!(grown(name) > 0.0, "{name}: {after:?}");
    }
    for name in [
        "sessiond_paths",
        "sessiond_paths_built_total",
        "sessiond_service_nodes",
        "sessiond_database_bytes",
        "sessiond_disk_free_bytes",
        "sessiond_log_lines_total{outcome=\"written\"}",
        "sessiond_healthy{check=\"receiving\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
    ] {
        assert!(
            after.get(name).is_some_and(|value| *value > 0.0),
            "{name}: {after:?}"
        );
    }
    // The command prints the same names.
    let said = run(ctl(&a.socket(), &["metrics"]), b"").await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = parse(&said.out);
    assert!(after.keys().all(|name| said.contains_key(name)));
}
