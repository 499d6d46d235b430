//! Prints measurements: minimum, median and maximum.

use std::time::Duration;

/// One line: name, then least, middle and greatest in ms.
pub fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    println!(
        "{name:<44} min {:8.2} ms   median {:8.2} ms   max {:8.2} ms   n={}",
        ms(times.first()),
        ms(times.get(times.len() / 2)),
        ms(times.last()),
        times.len()
    );
}

/// One line: name, then the middle, the 99th of a hundred, and the greatest in ms.
pub fn percentiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!(
        "{name:<44} p50 {:8.2} ms   p99 {:8.2} ms   max {:8.2} ms   n={}",
        at(&times, 50),
        at(&times, 99),
        at(&times, 100),
        times.len()
    );
}

/// A percentile of sorted times, in ms.
pub fn at(times: &[Duration], percent: usize) -> f64 {
    let last = times.len().saturating_sub(1);
    let time = times.get((times.len() * percent / 100).min(last));
    time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
