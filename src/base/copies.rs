//! Several copies of the library in one process: each has a number, which is part of its handles.
//!
//! A copy's claim is a word that the others read: its lowest byte is the copy's number plus one, 0 before it has one;
//! the bit OTHERS says that there are other copies in use, LOADED that it has looked for others when it was loaded, and BESIDE
//! that another one is loaded. The meaning of these bits is the same in every version.
//!
//! **No two copies have the same number.** A copy chooses the lowest number that is in no claim, stores it in its own,
//! and then reads all other claims again. If another claim has the same number, it withdraws its own and chooses again.
//! Of two copies with the same number each read after its store, so at least one saw the other's (SeqCst on both
//! sides); only a copy that saw no other keeps the number. Only the copy at the lower address may choose the same
//! number again, so one of the two goes on to another number.
//!
//! **A copy that is alone looks for nobody.** To look for others takes a lock of the loader's, which a forked child may find taken
//! for ever. So a copy takes the number 0 at once if its claim says LOADED and not BESIDE. Another one that is loaded then was
//! not there when this one was: so it says BESIDE in this one's claim, when it is loaded or before it chooses. Where that came
//! first this one's compare-exchange fails; and else the other one reads the number, which is in the same word.

use crate::error::{Error, Result};
use crate::handle::MOST_COPIES;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// A claim: the number plus one.
const NUMBER: u32 = 0xff;
/// A claim: another copy has a number as well.
const OTHERS: u32 = 0x100;
/// A claim: when the copy was loaded, the others that were had BESIDE put into theirs.
const LOADED: u32 = 0x200;
/// A claim: another copy is loaded.
const BESIDE: u32 = 0x400;

fn number_of(claim: &AtomicU32) -> Option<u32> {
    (claim.load(Ordering::SeqCst) & NUMBER).checked_sub(1)
}

/// This copy, with the claim `own`, is loaded.
#[cfg(not(any(loom, hostcrst_sim)))]
pub(crate) fn loaded(own: &AtomicU32) {
    loaded_among(own, |look| sys::each_other_claim(own, look));
}

#[cfg(not(any(loom, hostcrst_sim)))]
fn loaded_among(own: &AtomicU32, each_other: impl Fn(&mut dyn FnMut(&AtomicU32))) {
    own.fetch_or(LOADED | tell_others(each_other), Ordering::SeqCst);
}

/// Tells all others that another copy is loaded: this one. BESIDE, if there are others.
fn tell_others(each_other: impl Fn(&mut dyn FnMut(&AtomicU32))) -> u32 {
    let mut beside = 0;
    each_other(&mut |other| {
        other.fetch_or(BESIDE, Ordering::SeqCst);
        beside = BESIDE;
    });
    beside
}

/// Finds a number for this copy and stores it in its claim `own`. Fails with OutOfMemory if all are taken.
pub(crate) fn claim(own: &AtomicU32) -> Result<u32> {
    claim_among(own, |look| sys::each_other_claim(own, look))
}

fn claim_among(own: &AtomicU32, each_other: impl Fn(&mut dyn FnMut(&AtomicU32))) -> Result<u32> {
    let first_number = |claim| is_alone(claim).then_some(claim & !NUMBER | 1);
    if own.fetch_update(Ordering::SeqCst, Ordering::SeqCst, first_number).is_ok() {
        return Ok(0);
    }
    tell_others(&each_other);
    let mut avoided = None;
    let number = loop {
        // Left by an earlier attempt, perhaps of a thread that is gone.
        own.fetch_and(!NUMBER, Ordering::SeqCst);
        let mut taken = 0u64;
        each_other(&mut |other| taken |= number_of(other).map_or(0, |number| 1 << number.min(MOST_COPIES)));
        let free = (0..MOST_COPIES).filter(|number| taken & 1 << number == 0);
        let number = free.clone().find(|&number| avoided != Some(number)).or(free.min());
        let number = number.ok_or(Error::OutOfMemory)?;
        own.fetch_or(number + 1, Ordering::SeqCst);
        let (mut is_alone, mut gives_way) = (true, false);
        each_other(&mut |other| {
            if number_of(other) == Some(number) {
                is_alone = false;
                gives_way |= (other as *const AtomicU32) < (own as *const AtomicU32);
            }
        });
        if is_alone {
            break number;
        }
        avoided = gives_way.then_some(number);
    };
    each_other(&mut |other| {
        if number_of(other).is_some() {
            other.fetch_or(OTHERS, Ordering::Relaxed);
            own.fetch_or(OTHERS, Ordering::Relaxed);
        }
    });
    Ok(number)
}

/// Whether a claim says that another copy has a number as well.
pub(crate) fn has_others(claim: u32) -> bool {
    claim & OTHERS != 0
}

/// Whether a claim says that no other copy is loaded.
fn is_alone(claim: u32) -> bool {
    claim & (LOADED | BESIDE) == LOADED
}

/// Whether another copy than that with this claim has this number now.
pub(crate) fn is_anothers(own: &AtomicU32, number: u32) -> bool {
    let mut found = false;
    if !is_alone(own.load(Ordering::Relaxed)) {
        sys::each_other_claim(own, &mut |other| found |= number_of(other) == Some(number));
    }
    found
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn others_of<'a>(claims: &'a [AtomicU32], own: usize) -> impl Fn(&mut dyn FnMut(&AtomicU32)) + 'a {
        move |look| {
            let others = claims.iter().enumerate().filter(move |&(index, _)| index != own);
            others.for_each(|(_, claim)| look(claim));
        }
    }

    fn claims() -> Vec<AtomicU32> {
        (0..MOST_COPIES + 1).map(|_| AtomicU32::new(0)).collect()
    }

    #[test]
    fn each_copy_gets_the_lowest_free_number_until_there_is_none() {
        let claims = claims();
        for index in 0..MOST_COPIES as usize {
            assert_eq!(claim_among(&claims[index], others_of(&claims, index)), Ok(index as u32));
            assert_eq!(has_others(claims[0].load(Ordering::Relaxed)), index != 0);
            assert_eq!(has_others(claims[index].load(Ordering::Relaxed)), index != 0);
        }
        let last = MOST_COPIES as usize;
        assert_eq!(claim_among(&claims[last], others_of(&claims, last)), Err(Error::OutOfMemory));
        claims[5].store(0, Ordering::Relaxed);
        assert_eq!(claim_among(&claims[last], others_of(&claims, last)), Ok(5));
    }

    #[test]
    fn a_copy_that_was_loaded_alone_looks_for_nobody() {
        let [first, second] = [0, 0].map(AtomicU32::new);
        let nobody = |_: &mut dyn FnMut(&AtomicU32)| {};
        let first_seen = |look: &mut dyn FnMut(&AtomicU32)| look(&first);
        let second_seen = |look: &mut dyn FnMut(&AtomicU32)| look(&second);
        loaded_among(&first, nobody);
        // Twice: an attempt may fail later on.
        for _ in 0..2 {
            assert_eq!(claim_among(&first, |_| panic!("it looks for others")), Ok(0));
        }
        loaded_among(&second, first_seen);
        assert_eq!(claim_among(&second, first_seen), Ok(1));
        assert!([&first, &second].iter().all(|claim| has_others(claim.load(Ordering::Relaxed))));
        first.fetch_and(!NUMBER, Ordering::Relaxed);
        assert_eq!(claim_among(&first, second_seen), Ok(0), "its number was free");
        second.fetch_or(1, Ordering::Relaxed);
        assert_ne!(claim_among(&first, second_seen), Ok(1));
    }

    /// In turns some are loaded while others, loaded before or not told yet, choose.
    #[test]
    fn copies_that_begin_at_once_get_different_numbers() {
        for turn in 0..8_000 {
            let claims = claims();
            // The others are not mapped yet.
            if turn & 4 != 0 {
                loaded_among(&claims[0], |_| {});
            }
            let start = std::sync::Barrier::new(4);
            let mut numbers: Vec<_> = std::thread::scope(|scope| {
                let begin = |index| {
                    let (claims, start) = (&claims, &start);
                    move || {
                        start.wait();
                        if index != 0 && turn >> (index & 1) & 1 != 0 {
                            loaded_among(&claims[index], others_of(claims, index));
                        }
                        claim_among(&claims[index], others_of(claims, index)).unwrap()
                    }
                };
                let threads: Vec<_> = (0..4).map(|index| scope.spawn(begin(index))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            numbers.sort();
            numbers.dedup();
            assert_eq!(numbers.len(), 4);
        }
    }
}
