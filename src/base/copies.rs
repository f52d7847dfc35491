//! Several copies of the library in one process: each has a number, which is part of its handles.
//!
//! A copy's claim is a word that the others read: its lowest byte is the copy's number plus one, 0 before it has one;
//! the bit OTHERS says that there are other copies. The meaning of these bits is the same in every version.
//!
//! **No two copies have the same number.** A copy chooses the lowest number that is in no claim, stores it in its own,
//! and then reads all other claims again. If another claim has the same number, it withdraws its own and chooses again.
//! Of two copies with the same number each read after its store, so at least one saw the other's (SeqCst on both
//! sides); only a copy that saw no other keeps the number. Only the copy at the lower address may choose the same
//! number again, so one of the two goes on to another number.

use crate::error::{Error, Result};
use crate::handle::MOST_COPIES;
use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};

/// A claim: the number plus one.
const NUMBER: u32 = 0xff;
/// A claim: another copy has a number as well.
const OTHERS: u32 = 0x100;

fn number_of(claim: &AtomicU32) -> Option<u32> {
    (claim.load(Ordering::SeqCst) & NUMBER).checked_sub(1)
}

/// Finds a number for this copy and stores it in its claim `own`. Fails with OutOfMemory if all are taken.
pub(crate) fn claim(own: &AtomicU32) -> Result<u32> {
    claim_among(own, |look| sys::each_other_claim(own, look))
}

fn claim_among(own: &AtomicU32, each_other: impl Fn(&mut dyn FnMut(&AtomicU32))) -> Result<u32> {
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

/// Whether another copy than that with this claim has this number now.
pub(crate) fn is_anothers(own: &AtomicU32, number: u32) -> bool {
    let mut found = false;
    sys::each_other_claim(own, &mut |other| found |= number_of(other) == Some(number));
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
    fn copies_that_begin_at_once_get_different_numbers() {
        for _ in 0..2_000 {
            let claims = claims();
            let start = std::sync::Barrier::new(4);
            let mut numbers: Vec<_> = std::thread::scope(|scope| {
                let begin = |index| {
                    let (claims, start) = (&claims, &start);
                    move || {
                        start.wait();
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
