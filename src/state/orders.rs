//! Orders in which sections were entered: what each task has entered, and the alarms that were told. Which orders could
//! lead to a deadlock is not known here.

use crate::base::arena::Slot;
use crate::base::beside::Beside;
use crate::base::memory::{Memory, Shown, readable_in_copies};
use crate::base::name::{Name, NameCopy};
use crate::error::{Error, Result};
use crate::sys::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sys::{self, Mutex};

/// Sections that a task may own while it enters another.
pub(crate) const MOST_HELD: usize = 8;
/// Sections in a circle of orders.
pub(crate) const MOST_STEPS: usize = 8;
/// Alarms that are told.
pub(crate) const MOST_ALARMS: usize = 64;

/// What the process has seen of orders. Zeroed memory is nothing.
#[repr(C)]
pub(crate) struct Orders {
    pub(crate) lock: Mutex,
    /// 1 while they are examined.
    on: AtomicU32,
    /// How many alarms there are; under the lock, as are all below.
    told: AtomicU32,
    /// 1 once it was said that there is no room for more pairs, or for more alarms.
    was_full: AtomicU32,
    was_silent: AtomicU32,
    _reserved: AtomicU32,
    /// Entries that were not examined, or not wholly.
    unexamined: AtomicU64,
    /// The address of so many alarms as are told at most, 0 as long as orders were never examined.
    alarms: AtomicUsize,
    /// By the slots of tasks.
    pub(crate) lists: Beside<HeldList>,
}

/// The sections that a task has entered, the ones that it has left since among them, and where. Own thread only.
#[repr(C)]
pub(crate) struct HeldList {
    sections: [AtomicU64; MOST_HELD],
    sites: [AtomicU64; MOST_HELD],
}

// SAFETY: all fields are arrays of atomics.
unsafe impl Slot for HeldList {}

/// A circle of orders that was told. Written before it counts as told, and not again.
#[repr(C)]
pub(crate) struct Alarm {
    /// How many steps.
    pub(crate) length: AtomicU32,
    pub(crate) _reserved: AtomicU32,
    pub(crate) told_at: AtomicU64,
    pub(crate) steps: [AlarmStep; MOST_STEPS],
}

/// A task that entered `section` and then the section of the next step.
#[repr(C)]
pub(crate) struct AlarmStep {
    pub(crate) task: AtomicU64,
    pub(crate) section: AtomicU64,
    /// Where it entered them, 0 if unknown.
    pub(crate) first_site: AtomicU64,
    pub(crate) then_site: AtomicU64,
    pub(crate) thread_id: AtomicU32,
    pub(crate) _reserved: AtomicU32,
    pub(crate) task_name: Name,
    pub(crate) section_name: Name,
}

/// A copy of a step.
#[derive(Clone, Copy)]
pub(crate) struct AlarmStepCopy {
    pub(crate) task: u64,
    pub(crate) section: u64,
    pub(crate) first_site: u64,
    pub(crate) then_site: u64,
    pub(crate) thread_id: u32,
    /// Empty if the thread had ended by then.
    pub(crate) task_name: NameCopy,
    pub(crate) section_name: NameCopy,
}

readable_in_copies!(Orders);
readable_in_copies!(Alarm);

impl Shown<Orders> {
    /// Whether orders are examined.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        // Acquire pairs with the Release in switch: what begin took is there.
        self.fields().on.load(Ordering::Acquire) != 0
    }

    /// How many alarms were told.
    pub(crate) fn told(&self) -> u32 {
        // Acquire pairs with the Release in tell_one_more: the alarm is whole.
        self.fields().told.load(Ordering::Acquire).min(MOST_ALARMS as u32)
    }

    /// How many entries were not examined, or not wholly.
    pub(crate) fn unexamined(&self) -> u64 {
        self.fields().unexamined.load(Ordering::Relaxed)
    }

    /// Where alarm number `number` stands.
    pub(crate) fn alarm_address(&self, number: u32) -> Option<usize> {
        let base = self.fields().alarms.load(Ordering::Relaxed);
        (base != 0 && number < MOST_ALARMS as u32)
            .then(|| base.wrapping_add(number as usize * size_of::<Alarm>()))
    }
}

impl Orders {
    pub(crate) const fn new() -> Self {
        Orders {
            lock: Mutex::new(),
            on: AtomicU32::new(0),
            told: AtomicU32::new(0),
            was_full: AtomicU32::new(0),
            was_silent: AtomicU32::new(0),
            _reserved: AtomicU32::new(0),
            unexamined: AtomicU64::new(0),
            alarms: AtomicUsize::new(0),
            lists: Beside::new(),
        }
    }

    /// Takes the memory of the alarms, the first time; under the lock.
    pub(crate) fn begin(&self) -> Result<()> {
        if self.alarms.load(Ordering::Relaxed) == 0 {
            let bytes = MOST_ALARMS * size_of::<Alarm>();
            let pages = sys::allocate_pages(bytes).ok_or(Error::OutOfMemory)?;
            self.alarms.store(pages as usize, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Begins to examine orders, once there is memory for all, or ceases to.
    pub(crate) fn switch(&self, on: bool) {
        self.on.store(u32::from(on), Ordering::Release);
    }

    /// The place of alarm number `number`, if there is memory for it.
    pub(crate) fn alarm(&self, number: u32) -> Option<&Alarm> {
        // SAFETY: begin stored the address of zeroed pages for so many alarms, which are never unmapped.
        self.alarm_address(number).map(|address| unsafe { &*(address as *const Alarm) })
    }

    /// The next alarm is whole.
    pub(crate) fn tell_one_more(&self) {
        self.told.store(self.told() + 1, Ordering::Release);
    }

    pub(crate) fn count_unexamined(&self) {
        self.unexamined.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is no room for more pairs for the first time.
    pub(crate) fn is_first_full(&self) -> bool {
        self.was_full.swap(1, Ordering::Relaxed) == 0
    }

    /// Whether there is no room for more alarms for the first time.
    pub(crate) fn is_first_silent(&self) -> bool {
        self.was_silent.swap(1, Ordering::Relaxed) == 0
    }
}

impl Shown<Alarm> {
    /// How many steps it has, and when it was told.
    pub(crate) fn length_and_time(&self) -> (u32, u64) {
        let alarm = self.fields();
        let length = alarm.length.load(Ordering::Relaxed).min(MOST_STEPS as u32);
        (length, alarm.told_at.load(Ordering::Relaxed))
    }

    /// A copy of a step, of an alarm that `M` shows.
    pub(crate) fn step<M: Memory>(&self, step: u32) -> Option<AlarmStepCopy> {
        let step = self.fields().steps.get(step as usize)?;
        Some(AlarmStepCopy {
            task: step.task.load(Ordering::Relaxed),
            section: step.section.load(Ordering::Relaxed),
            first_site: step.first_site.load(Ordering::Relaxed),
            then_site: step.then_site.load(Ordering::Relaxed),
            thread_id: step.thread_id.load(Ordering::Relaxed),
            task_name: step.task_name.get_in::<M>(),
            section_name: step.section_name.get_in::<M>(),
        })
    }
}

impl HeldList {
    /// Keeps those that `is_owned` says are owned still; how many.
    pub(crate) fn keep(&self, is_owned: impl Fn(u64) -> bool) -> usize {
        let mut kept = 0;
        for (section, site) in self.sections.iter().zip(&self.sites) {
            let entry = (section.swap(0, Ordering::Relaxed), site.load(Ordering::Relaxed));
            if entry.0 != 0 && is_owned(entry.0) {
                self.set(kept, entry);
                kept += 1;
            }
        }
        kept
    }

    /// A section, and where it was entered.
    pub(crate) fn get(&self, place: usize) -> Option<(u64, u64)> {
        let (section, site) = (self.sections.get(place)?, self.sites.get(place)?);
        Some((section.load(Ordering::Relaxed), site.load(Ordering::Relaxed)))
    }

    /// Puts a section at a place, if there is such a place.
    pub(crate) fn set(&self, place: usize, (section, site): (u64, u64)) {
        if let (Some(sections), Some(sites)) = (self.sections.get(place), self.sites.get(place)) {
            sections.store(section, Ordering::Relaxed);
            sites.store(site, Ordering::Relaxed);
        }
    }
}
