//! Random histories: uploads, changes, other hands, rot, drives that come and go, kills; then everything is brought to rest
//! and the invariants are looked at. The real binary, real directories. What fails is repeated with ever fewer steps.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::luck::{self, Luck};
use steps::{History, draw};
use world::World;

mod checks;
mod steps;
mod world;

/// How often a history that failed is tried again with fewer steps.
const TRIES: usize = 60;

/// Carries a history out: what was granted, or what does not hold and after which step.
fn run(history: &History, patient: bool) -> Result<u64, String> {
    let dir = tempfile::tempdir().unwrap();
    let at = Mutex::new("the beginning".to_owned());
    let told = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(dir.path(), history.quick);
        world.patient = patient;
        for (number, step) in history.steps.iter().enumerate() {
            *at.lock().unwrap() = format!("step {number}, {step:?}");
            world.act(step).map_err(|why| format!("{why}\n{}", world.daemon.log()))?;
        }
        *at.lock().unwrap() = "the end".to_owned();
        world.ends_well().map_err(|why| format!("{why}\n{}", world.daemon.log()))?;
        Ok(world.granted)
    }));
    let place = || at.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    match told {
        Ok(told) => told.map_err(|why: String| format!("at {}: {why}", place())),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            Err(format!("at {}: {said}", place()))
        }
    }
}

/// The fewest steps that still fail, by leaving out half of them, then quarters, then each (Zeller, Hildebrandt 2002).
fn shrink(mut history: History, mut why: String, patient: bool) -> (History, String) {
    let (mut tries, mut piece) = (0, history.steps.len().div_ceil(2));
    while piece > 0 {
        let mut from = 0;
        while from < history.steps.len() && tries < TRIES {
            let mut fewer = history.clone();
            fewer.steps.drain(from..(from + piece).min(history.steps.len()));
            tries += 1;
            match run(&fewer, patient) {
                Err(still) => (history, why) = (fewer, still),
                Ok(_) => from += piece,
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    (history, why)
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let seconds = luck::size("SHOEBOX_HISTORIES", 0);
    let seed = luck::seed("histories");
    let steps = luck::size("SHOEBOX_STEPS", 40) as usize;
    let (until, next) = (Instant::now() + Duration::from_secs(seconds), AtomicU64::new(0));
    let (done, granted, broke) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..luck::size("SHOEBOX_AT_ONCE", 2) {
            scope.spawn(|| {
                while !broke.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    // One at least.
                    if number > 0 && Instant::now() > until {
                        return;
                    }
                    let own = seed.wrapping_add(number);
                    let history = draw(&mut Luck::new(own), steps);
                    let patient = seconds > 0 && number.is_multiple_of(20);
                    match run(&history, patient) {
                        Ok(many) => {
                            done.fetch_add(1, Ordering::SeqCst);
                            granted.fetch_add(many, Ordering::SeqCst);
                        }
                        Err(why) if !broke.swap(true, Ordering::SeqCst) => {
                            *failed.lock().unwrap() = Some((own, history, why, patient));
                        }
                        Err(_) => {}
                    }
                }
            });
        }
    });
    if let Some((own, history, why, patient)) = failed.into_inner().unwrap() {
        println!("histories: SHOEBOX_SEED={own} failed {why}\nof {history:#?}\nwith fewer steps:");
        let (history, why) = shrink(history, why, patient);
        panic!("SHOEBOX_SEED={own}: {why}\nof {history:#?}");
    }
    let (done, granted) = (done.into_inner(), granted.into_inner());
    println!("histories: {done} of {steps} steps each, {granted} changes granted, all invariants hold");
}
