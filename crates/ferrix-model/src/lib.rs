//! Models of what threads share: the types that are shipped, run in thousands of orders of their steps.
//!
//! A crate has a module `sync` with the atomics and locks that its threads share. Built, these are the
//! real ones and nothing else. In the crate's own tests each is the real one behind a [`Step`] or a
//! [`Mutex`] of this crate, so that a model, run by [`check`], may go on with another thread before
//! every use. Outside of models a step is nothing.
//!
//! What the runtime brings (semaphores, notifications, channels) is used as it is, and is one step: its
//! makers have models of their own. All orders are those of one memory: what a processor might reorder
//! beyond that is not tried, and stays a matter of reading.

use std::{cell::Cell, env, ops::Deref, str::FromStr, thread};

use shuttle::{
    Config, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

pub use shuttle::{future::block_on, thread::spawn};

/// In how many orders a model runs, unless [`ORDERS`] says otherwise.
const DEFAULT_ORDERS: usize = 2_000;

/// The environment variable with the number of orders.
const ORDERS: &str = "FERRIX_MODEL_ORDERS";

/// The environment variable with the number that the orders follow from.
const SEED: &str = "FERRIX_MODEL_SEED";

/// In half of the orders threads go on by turns, but for so many changes at places that make for
/// surprises: most faults need no more.
const CHANGES: usize = 3;

/// In bytes: a future of the data plane does not fit the usual 32 KiB when it is not optimised.
const STACK: usize = 1 << 19;

/// More steps than these in one order: its threads wait for one another.
const MOST_STEPS: usize = 100_000;

thread_local! {
    /// Whether this thread runs a model, and its steps so far.
    static STEPS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs a model in many orders, the same ones each time: 2,000, or as the variables
/// `FERRIX_MODEL_ORDERS` and `FERRIX_MODEL_SEED` say. Returns how many that were.
///
/// A model spawns threads by [`spawn`], waits for futures by [`block_on`], and joins what it spawned.
///
/// # Panics
/// Where the model does in any order, where its threads wait for one another, and where it has no
/// steps, and so but one order.
pub fn check(model: impl Fn() + Clone + Send + Sync + 'static) -> usize {
    let orders = variable(ORDERS).unwrap_or(DEFAULT_ORDERS);
    let seed = variable(SEED).unwrap_or(0);
    let half = orders.div_ceil(2);
    let running = Running::begin();
    let random = RandomScheduler::new_from_seed(seed, half);
    let ran = run(random, model.clone());
    let few_changes = PctScheduler::new_from_seed(seed, CHANGES, orders - half);
    let ran = ran + run(few_changes, model);
    assert_eq!(ran, orders, "orders of a model");
    assert!(running.steps() > orders as u64, "a model without steps");
    ran
}

fn run(scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    Runner::new(scheduler, config).run(model)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let value = value.parse().ok();
    Some(value.unwrap_or_else(|| panic!("{name} is no number")))
}

/// While a model runs on this thread.
struct Running;

impl Running {
    fn begin() -> Self {
        STEPS.set(Some(0));
        Self
    }

    fn steps(&self) -> u64 {
        STEPS.get().unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        STEPS.set(None);
    }
}

/// Another thread of the model may go on here.
fn step() {
    let Some(steps) = STEPS.get() else {
        return;
    };
    // What unwinds has failed already.
    if !thread::panicking() {
        STEPS.set(Some(steps + 1));
        // A use of anything of the scheduler's own is where it may go on with another thread.
        AtomicBool::new(false).load(SeqCst);
    }
}

/// Something that threads share and use without waiting, such as an atomic: each use is a step.
#[derive(Debug, Default)]
pub struct Step<T>(T);

impl<T> Step<T> {
    /// Made of what `T` is made of.
    pub fn new<V>(value: V) -> Self
    where
        T: From<V>,
    {
        Self(value.into())
    }
}

impl<T> Deref for Step<T> {
    type Target = T;

    fn deref(&self) -> &T {
        step();
        &self.0
    }
}

/// Atomics, by the names of the standard library: each use is a step.
pub mod atomic {
    use std::sync::atomic;

    use crate::Step;

    /// [`atomic::AtomicBool`].
    pub type AtomicBool = Step<atomic::AtomicBool>;
    /// [`atomic::AtomicI32`].
    pub type AtomicI32 = Step<atomic::AtomicI32>;
    /// [`atomic::AtomicI64`].
    pub type AtomicI64 = Step<atomic::AtomicI64>;
    /// [`atomic::AtomicU64`].
    pub type AtomicU64 = Step<atomic::AtomicU64>;
    /// [`atomic::AtomicUsize`].
    pub type AtomicUsize = Step<atomic::AtomicUsize>;
}

/// A lock for which a thread of a model waits while others go on.
#[derive(Debug, Default)]
pub struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    /// Not locked.
    pub fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Waits until nobody else has it locked.
    pub fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
        if STEPS.get().is_none() {
            return self.0.lock();
        }
        step();
        loop {
            match self.0.try_lock() {
                Some(guard) => return guard,
                None => shuttle::thread::yield_now(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Arc,
    };

    use super::{atomic::AtomicUsize, *};

    fn fails(model: impl Fn() + Clone + Send + Sync + 'static) -> bool {
        catch_unwind(AssertUnwindSafe(|| check(model))).is_err()
    }

    /// Adds 1 on two threads.
    fn both(add: fn(&AtomicUsize)) -> usize {
        let number = Arc::new(AtomicUsize::new(0));
        let threads = [0, 1].map(|_| {
            let number = Arc::clone(&number);
            spawn(move || add(&number))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        number.load(SeqCst)
    }

    #[test]
    fn a_fault_that_needs_an_order_is_found() {
        let whole = |number: &AtomicUsize| {
            number.fetch_add(1, SeqCst);
        };
        check(move || assert_eq!(both(whole), 2));
        let torn = |number: &AtomicUsize| {
            let read = number.load(SeqCst);
            number.store(read + 1, SeqCst);
        };
        assert!(fails(move || assert_eq!(both(torn), 2)));
        assert!(STEPS.get().is_none(), "a model that failed is over");
    }

    #[test]
    fn a_lock_is_one_threads() {
        check(|| {
            let (lock, inside) = (Arc::new(Mutex::new(0)), Arc::new(AtomicUsize::new(0)));
            let threads = [0, 1, 2].map(|_| {
                let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                spawn(move || {
                    let mut count = lock.lock();
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    *count += 1;
                    inside.fetch_sub(1, SeqCst);
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(*lock.lock(), 3);
        });
    }

    #[test]
    fn waiting_for_one_another_and_having_no_steps_are_faults() {
        assert!(fails(|| {
            let (one, other) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
            let (first, second) = (Arc::clone(&one), Arc::clone(&other));
            let thread = spawn(move || {
                let _first = first.lock();
                let _second = second.lock();
            });
            let _other = other.lock();
            let _one = one.lock();
            drop((_other, _one));
            thread.join().unwrap();
        }));
        assert!(fails(|| {}));
    }
}
