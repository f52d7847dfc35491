//! How a task ends: with its thread, or after it. What a section or a wait is left like then is decided in `lock`.

use crate::error::{Error, Result};
use crate::handle::{self, LAST_TASK_GENERATION};
use crate::host::{calls, locks};
use crate::lock::{condition, crst, queue, resources, slots, srw};
use crate::state::registry::REGISTRY;
use crate::state::section::Section;
use crate::state::task::{self, Task, TaskRef};
use crate::state::wait::{ENDING, REAPED};
use crate::state::{sections, tasks};
use crate::sys;
use crate::sys::atomic::{AtomicU16, AtomicU32, Ordering};

/// Registers what must happen at the end of a thread.
pub(crate) fn install_hooks() -> bool {
    static INSTALLED: AtomicU32 = AtomicU32::new(0);
    if INSTALLED.load(Ordering::Relaxed) != 0 {
        return true;
    }
    let installed = sys::on_thread_exit(end_current);
    INSTALLED.store(u32::from(installed), Ordering::Relaxed);
    installed
}

/// Ends the calling thread's task; sections that it still owns are abandoned.
fn end_current() {
    sys::without_handlers(|| {
        sys::settle_fork();
        let Some(task) = task::current_if_any() else { return };
        sys::set_current(0, 0);
        slots::give_back_all(&task);
        end(task);
    });
}

/// Ends a task whose thread makes no more calls, and has made none in part.
fn end(task: TaskRef) {
    end_waits(task);
    task.wait.park.store(ENDING, Ordering::Relaxed);
    if task.owned() != 0 {
        abandon_sections();
    }
    if task.may_own_resources() {
        resources::abandon_all_of_ending();
    }
    give_up_slot(task);
}

fn give_up_slot(task: TaskRef) {
    let id = task.id();
    // From here on handles of the task are stale. After the sections: no word may name a task that is gone.
    task.id.store(0, Ordering::Release);
    task.layers.prepare();
    let retire = handle::owner_generation(id) == LAST_TASK_GENERATION;
    REGISTRY.tasks.release(task.index(), retire);
}

/// Ends all that a task is in the middle of: after that it is given nothing more.
fn end_waits(task: TaskRef) {
    condition::withdraw(&task);
    queue::forget_wait(&task);
    task.managed_wait.end();
    queue::give_back_unnoticed_section(&task);
    task.release_biases();
    if task.tells_one_of(u64::MAX) {
        task.end_telling(0);
        calls::a_call_has_ended();
    }
}

/// Abandons the sections of all tasks that are ending. Another thread may be about to do that with one of these sections:
/// this one then waits at it for as long.
fn abandon_sections() {
    crst::abandon_all_of_ending(|section| {
        let owner = section.last_owner_thread.load(Ordering::Relaxed);
        REGISTRY.win32.tell_of_ended_owner(owner, section.mirror());
    });
}

// ---- threads that are gone --------------------------------------------------------------------------------
//
// A thread ends its task itself, in a late round of destructors. One that first calls the library in the very last
// round, or that ends by the bare system call, does not. Its task is ended by other threads: by one that waits for
// what it owns, or would destroy or recover it, by a later one that the system gives the same id, and when there is no
// slot for another task. Where it stopped is not known, so all sections are looked through for its own: with one such
// task all are ended, in one pass. Only one that waits for an SRW lock which such a thread was given in its wait can
// give that back: until then the task stays.

/// Ends the task with this owner id if its thread is gone. Whether it was. A handler that forks in between would leave
/// this to a child in which other threads are gone.
pub(crate) fn reap_if_gone(id: u64) -> bool {
    reap_if_gone_after(id, &|_| ())
}

/// As reap_if_gone; calls `before` with the task, if it is to be ended.
#[inline(never)]
pub(crate) fn reap_if_gone_after(id: u64, before: &dyn Fn(&Task)) -> bool {
    sys::without_handlers(|| {
        sys::settle_fork();
        let task = tasks::of_owner(id);
        let is_of_another = id != 0 && id != sys::current_id() && task.id() == id;
        let gone = is_of_another && (srw::has_left_behind(&task) || sys::is_thread_gone(task.thread_id()));
        if gone {
            reap(id, before);
        }
        gone
    })
}

/// The thread of the task with this owner id is gone.
#[inline(never)]
fn reap(id: u64, before: &dyn Fn(&Task)) {
    let _guard = locks::REAPING.lock();
    let task = tasks::of_owner(id);
    // Another may have ended it first.
    if task.id() != id {
        return;
    }
    let owns_nothing = srw::has_left_behind(&task);
    before(&task);
    if !owns_nothing {
        reap_all_with(id);
    } else if !srw::leave_unnoticed_behind(&task) {
        give_up_slot(task);
    }
}

/// The thread of the task with this id is gone: ends all tasks of which that is so; under REAPING.
fn reap_all_with(id: u64) {
    let me = sys::current_id();
    let is_gone = |task: &TaskRef| {
        let its_id = task.id();
        let may_be = ![0, me].contains(&its_id) && !srw::has_left_behind(task);
        // A thread that ends its task itself has done so before it is gone, and its slot may be another's by now.
        its_id == id || may_be && sys::is_thread_gone(task.thread_id()) && task.id() == its_id
    };
    for task in tasks::all().filter(is_gone) {
        end_waits(task);
        if !srw::leave_unnoticed_behind(&task) {
            task.wait.park.store(REAPED, Ordering::Relaxed);
        }
    }
    abandon_sections();
    resources::abandon_all_of_ending();
    let is_reaped = |task: &TaskRef| task.wait.park.load(Ordering::Relaxed) == REAPED;
    tasks::all().filter(is_reaped).for_each(give_up_slot);
}

/// Ends the tasks that whoever wants the section depends on, if their threads are gone: the owner, and those at the head
/// of the queue, of which a leave may have woken the first. Whether there were any.
pub(crate) fn reap_holders(section: &Section, handle: u64) -> bool {
    let mut found = reap_if_gone(section.owner(handle).unwrap_or(0));
    while reap_if_gone(REGISTRY.tasks.at(section.first_waiter()).id()) {
        found = true;
    }
    found
}

/// Destroys a section. As crst::destroy, but a thread that is gone owns nothing.
#[inline]
pub(crate) fn destroy(handle: u64) -> Result<()> {
    if crst::destroy_at_once(handle) {
        return Ok(());
    }
    despite_who_is_gone(handle, sections::find, &crst::destroy)
}

/// Ends a section of Windows'. As crst::retire, but a thread that is gone owns nothing, and waits for nothing.
pub(crate) fn retire(handle: u64) -> Result<()> {
    despite_who_is_gone(handle, sections::find_win32, &crst::retire)
}

/// `attempt`, and once more if it was refused for a thread that then turns out to be gone.
#[inline(never)]
pub(crate) fn despite_who_is_gone(
    handle: u64,
    find: fn(u64) -> Result<&'static Section>,
    attempt: &dyn Fn(u64) -> Result<()>,
) -> Result<()> {
    let reap = || sys::preserving_errno(|| find(handle).is_ok_and(|section| reap_holders(section, handle)));
    match attempt(handle) {
        Err(Error::NotOwner | Error::InvalidOperation) if reap() => attempt(handle),
        outcome => outcome,
    }
}

/// The slots of tasks by a part of their threads' ids: where a task of the same thread id may be found.
static SLOTS_BY_THREAD: [AtomicU16; 1 << 12] = [const { AtomicU16::new(0) }; 1 << 12];

fn slot_by_thread(thread: u32) -> &'static AtomicU16 {
    &SLOTS_BY_THREAD[thread as usize % SLOTS_BY_THREAD.len()]
}

/// A task of another thread that had the id of the calling one is of a thread that is gone. Threads whose ids are not
/// known are not the same for that.
pub(crate) fn reap_earlier_thread() {
    let thread = sys::thread_id();
    if thread == 0 {
        return;
    }
    let slot = slot_by_thread(thread).load(Ordering::Relaxed);
    let earlier = TaskRef(REGISTRY.tasks.at(u32::from(slot)));
    let id = earlier.id();
    if sys::THREADS_MAY_VANISH && id != 0 && earlier.thread_id() == thread {
        reap(id, &|_| ());
    }
}

pub(crate) fn remember_thread(index: u32) {
    slot_by_thread(sys::thread_id()).store(index as u16, Ordering::Relaxed);
}

/// In the child of a fork: the task with this id is the only one, on another thread of the system's.
pub(crate) fn end_others_after_fork(me: u64) {
    for task in tasks::all() {
        if task.id() == me {
            task.thread_id.store(sys::thread_id(), Ordering::Relaxed);
        } else {
            // What it owned is abandoned already.
            task.leaves.store(task.counted(), Ordering::Relaxed);
            end(task);
        }
    }
}

/// In the child of a fork, where one of these tasks lives, on the first thread, and it is not known which: none is
/// ended before that thread has.
pub(crate) fn keep_all_after_fork() {
    let first_thread = sys::process_id();
    tasks::all().for_each(|task| task.thread_id.store(first_thread, Ordering::Relaxed));
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use super::*;
    use crate::host::enter::{self, Patience};
    use crate::host::{runtime, threads};
    use crate::lock::queue::Attempt;
    use crate::state::section::{HANDOFF, SpinPolicy};
    use crate::state::sections;
    use crate::state::wait::{Beginning, Request};
    use std::sync::mpsc::channel;

    /// Threads that end by the bare system call, each with a section, as all have begun: with their tasks.
    fn vanished(count: usize) -> std::vec::Vec<(u64, u64)> {
        let (tell, told) = channel();
        let together = std::sync::Arc::new(std::sync::Barrier::new(count));
        for _ in 0..count {
            let (tell, together) = (tell.clone(), together.clone());
            std::thread::spawn(move || {
                let crst = crst::create(SpinPolicy::Adaptive).expect("a place");
                assert_eq!(enter::enter_checked(crst, 0, Patience::Unbounded, 0), Ok(true));
                together.wait();
                let me = threads::current().expect("a place");
                tell.send((me.id(), me.thread_id(), crst)).expect("heard");
                drop((tell, together));
                // SAFETY: nothing of this thread is needed any more, and nobody joins it.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            });
        }
        let began: std::vec::Vec<_> = (0..count).map(|_| told.recv().expect("told")).collect();
        for &(_, thread, _) in &began {
            while !sys::is_thread_gone(thread) {
                std::thread::yield_now();
            }
        }
        began.into_iter().map(|(id, _, crst)| (id, crst)).collect()
    }

    #[test]
    fn threads_that_are_gone_are_ended_in_one_pass_over_the_sections() {
        runtime::start().expect("memory");
        let vanished = vanished(20);
        let before = crst::PASSES.get();
        vanished.iter().for_each(|&(id, _)| _ = reap_if_gone(id));
        assert!(crst::PASSES.get() - before <= 1, "{}", crst::PASSES.get() - before);
        for (id, crst) in vanished {
            assert_ne!(tasks::of_owner(id).id(), id);
            assert_eq!(sections::slot_of(crst).owner(crst), Some(handle::ABANDONED));
            enter::recover(crst, 0).and_then(|()| crst::leave_checked(crst)).expect("abandoned");
            crst::destroy(crst).expect("free");
        }
    }

    /// The waiter is queued, but never reads the outcome of its wait.
    #[test]
    fn a_section_given_to_a_thread_that_ends_in_its_wait_is_free_again() {
        runtime::start().expect("memory");
        let crst = crst::create(SpinPolicy::Count(0)).expect("a place");
        let section = sections::slot_of(crst);
        let (tell, told) = channel();
        let (go, gone) = channel::<()>();
        assert_eq!(enter::enter_checked(crst, 0, Patience::Unbounded, 0), Ok(true));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                let me = threads::current().expect("a place");
                let request = Request { option: 0, deadline: None, site: 0 };
                let beginning = Beginning { since: sys::now(), run: REGISTRY.runtime.run(), told: 0 };
                assert!(matches!(section.enqueue(crst, me, request, beginning), Ok(Attempt::Busy)));
                tell.send(me.id()).expect("heard");
                gone.recv().expect("told");
            });
            let id = told.recv().expect("told");
            section.queue_state().fetch_or(HANDOFF, Ordering::Relaxed);
            crst::leave_checked(crst).expect("left");
            assert_eq!(section.owner(crst), Some(id));
            go.send(()).expect("heard");
            waiter.join().expect("no panic");
        });
        assert_eq!(section.owner(crst), Some(0));
        crst::destroy(crst).expect("free");
    }
}
