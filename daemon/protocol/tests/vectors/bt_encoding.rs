//! Bencode as the official library's two parsers read it.

use session_protocol::bt::{Value, parse, parse_lenient};

use crate::support::{Case, Report};

pub fn check(case: &Case<'_>, report: &mut Report) {
    assert_eq!(case.kind(), None, "unknown type");
    let input = case.bytes("input");
    assert_eq!(input, case.text("ascii").as_bytes());
    let lenient = parse_lenient(&input);
    assert_eq!(lenient.is_ok(), case.flag("valid"));
    if let Ok(value) = &lenient {
        assert_eq!(hex::encode(value.to_bytes()), case.text("reserialized"));
    } else {
        assert!(case.get("error").is_some() && case.get("reserialized").is_none());
    }
    // The strict parser refuses exactly what is not canonical or beyond 64 signed bits.
    let canonical = lenient
        .as_ref()
        .is_ok_and(|value| value.to_bytes() == input && fits(value));
    assert_eq!(parse(&input).is_ok(), canonical);
    // The streaming parser takes whole dictionaries; the two agree on which those are.
    if let Some(outcome) = case.get("dict_consumer") {
        let is_dict = matches!(lenient, Ok(Value::Dict(_)));
        assert_eq!(is_dict, outcome == "ok");
    }
    report.pass();
}

fn fits(value: &Value<'_>) -> bool {
    match value {
        Value::Int(number) => i64::try_from(*number).is_ok(),
        Value::Bytes(_) => true,
        Value::List(items) => items.iter().all(fits),
        Value::Dict(entries) => entries.values().all(fits),
    }
}
