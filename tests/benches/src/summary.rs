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
