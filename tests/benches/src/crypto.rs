//! How fast one core seals, opens and wraps, also as a ratio to one X25519 agreement in the same run: the ratio says
//! something on a machine whose speed drifts.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use session_protocol::onion::{self, Destination, EncType, Hop};
use session_protocol::{AccountKeys, AccountSeed, content, envelope};
use x25519_dalek::{PublicKey, StaticSecret};

/// How long each measurement runs.
const SPAN: Duration = Duration::from_secs(2);

fn per_second(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    work()?;
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < SPAN {
        work()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// Prints the rates.
pub fn run() -> anyhow::Result<()> {
    let mut rng = UnwrapErr(SysRng);
    let keys = |byte| AccountKeys::from_seed(&AccountSeed::from_bytes([byte; 16]));
    let (alice, bob) = (keys(1), keys(2));
    let text = content::text(&"x".repeat(200), 1, None, Some("Alice"));
    let sealed = envelope::seal(&mut rng, &alice, &bob.account_id(), 1, &text)?;
    let hops: Vec<Hop> = (10..14)
        .map(|byte| {
            let node = AccountKeys::from_ed25519_seed(&[byte; 32]);
            Hop {
                ed25519: node.ed25519_public(),
                x25519: node.x25519_public(),
            }
        })
        .collect();
    let (destination, path) = hops.split_last().context("hops")?;
    let destination = Destination::Node(*destination);
    let (secret, public) = (StaticSecret::from([3; 32]), PublicKey::from([9; 32]));

    let agreement = per_second(|| {
        black_box(secret.diffie_hellman(&public));
        Ok(())
    })?;
    let seal = per_second(|| {
        black_box(envelope::seal(
            &mut rng,
            &alice,
            &bob.account_id(),
            1,
            &text,
        )?);
        Ok(())
    })?;
    let open = per_second(|| {
        black_box(envelope::open(&bob, &sealed)?);
        Ok(())
    })?;
    let build = per_second(|| {
        black_box(onion::build(
            &mut rng,
            EncType::XChaCha20,
            path,
            &destination,
            &sealed,
        )?);
        Ok(())
    })?;
    println!(
        "one core, text of 200 characters; in agreements: cost as a multiple of one X25519 agreement"
    );
    for (name, rate) in [
        ("X25519 agreement", agreement),
        ("seal and wrap a message", seal),
        ("open and authenticate a message", open),
        ("build an onion request, three hops", build),
    ] {
        println!(
            "{name:<44} {rate:9.0} /s   {:6.2} agreements",
            agreement / rate
        );
    }
    Ok(())
}
