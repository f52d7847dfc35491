//! The calling thread's task: words of thread-local storage, read in one instruction each.
//!
//! `#[thread_local]` is unstable and `thread_local!` calls a function, which would cost more than the rest of an
//! uncontended enter. So the words are declared in assembly and read with the initial-exec model: the
//! linker turns the read into an offset from the thread pointer. Thirty-two bytes fit glibc's surplus of
//! static thread-local storage, so a program may also load the library late. musl's loader has no such surplus: there the
//! offset is asked for by a descriptor, a call of a few instructions that the linker removes from programs.

use core::arch::{asm, global_asm};

use crate::handle::{BIASED, NOBODY};

// Word 0: the owner id of the thread's task, 0 while the thread is no task. Word 1: the task's address. Word 2: the
// thread's last error of the Win32 functions. Word 3: BIASED XOR word 0, or XOR NOBODY while the thread is no task.
global_asm!(
    ".section .tdata.hostcrst_current,\"awT\",%progbits",
    ".balign 16",
    ".globl hostcrst_current",
    ".hidden hostcrst_current",
    ".type hostcrst_current, %object",
    ".size hostcrst_current, 32",
    "hostcrst_current:",
    ".quad 0, 0, 0, {biased_to_nobody}",
    ".previous",
    biased_to_nobody = const BIASED ^ NOBODY,
);

/// The address of word 0 for the calling thread.
#[cfg(all(target_arch = "x86_64", not(target_env = "musl")))]
#[inline(always)]
fn words() -> *mut u64 {
    let address: *mut u64;
    // SAFETY: reads the thread pointer (kept at fs:0 by the x86-64 TLS ABI) and the linker's offset; no side effect.
    unsafe {
        asm!(
            "mov {address}, qword ptr fs:[0]",
            "add {address}, qword ptr [rip + hostcrst_current@GOTTPOFF]",
            address = out(reg) address,
            options(pure, readonly, nostack),
        );
    }
    address
}

/// The address of word 0 for the calling thread.
#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
#[inline(always)]
fn words() -> *mut u64 {
    let address: *mut u64;
    // SAFETY: the sequence that the x86-64 TLS ABI has for a descriptor: it calls the loader's function, which changes
    // rax and the flags alone, and adds the offset found to the thread pointer; no other side effect.
    unsafe {
        asm!(
            "lea rax, [rip + hostcrst_current@TLSDESC]",
            "call qword ptr [rax + hostcrst_current@TLSCALL]",
            "add rax, qword ptr fs:[0]",
            out("rax") address,
            options(pure, readonly),
        );
    }
    address
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn words() -> *mut u64 {
    let address: *mut u64;
    // SAFETY: reads the thread pointer register and the linker's offset, neither of which changes while the thread
    // lives, so that `nomem` holds; no side effect.
    unsafe {
        asm!(
            "mrs {base}, tpidr_el0",
            "adrp {address}, :gottprel:hostcrst_current",
            "ldr {address}, [{address}, :gottprel_lo12:hostcrst_current]",
            "add {address}, {address}, {base}",
            base = out(reg) _,
            address = out(reg) address,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    address
}

/// The owner id and the address of the calling thread's task, or twice 0.
#[cfg(all(target_arch = "x86_64", not(target_env = "musl")))]
#[inline(always)]
pub(crate) fn current() -> (u64, usize) {
    let (id, task): (u64, usize);
    // SAFETY: reads the calling thread's own words, whose offset the linker supplies; no side effect.
    unsafe {
        asm!(
            "mov {task}, qword ptr [rip + hostcrst_current@GOTTPOFF]",
            "mov {id}, qword ptr fs:[{task}]",
            "mov {task}, qword ptr fs:[{task} + 8]",
            id = out(reg) id,
            task = out(reg) task,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    (id, task)
}

/// The owner id and the address of the calling thread's task, or twice 0.
#[cfg(any(target_arch = "aarch64", target_env = "musl"))]
#[inline(always)]
pub(crate) fn current() -> (u64, usize) {
    let words = words();
    // SAFETY: words() is the address of 32 bytes that live as long as the thread.
    unsafe { (words.read_volatile(), words.add(1).read_volatile() as usize) }
}

/// One of the calling thread's words.
#[cfg(all(target_arch = "x86_64", not(target_env = "musl")))]
#[inline(always)]
fn word<const OFFSET: usize>() -> u64 {
    let word: u64;
    // SAFETY: reads the calling thread's own words, whose offset the linker supplies; no side effect.
    unsafe {
        asm!(
            "mov {word}, qword ptr [rip + hostcrst_current@GOTTPOFF]",
            "mov {word}, qword ptr fs:[{word} + {offset}]",
            word = out(reg) word,
            offset = const OFFSET,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    word
}

/// One of the calling thread's words.
#[cfg(any(target_arch = "aarch64", target_env = "musl"))]
#[inline(always)]
fn word<const OFFSET: usize>() -> u64 {
    // SAFETY: words() is the address of 32 bytes that live as long as the thread.
    unsafe { words().byte_add(OFFSET).read_volatile() }
}

/// The owner id of the calling thread's task, or 0.
#[inline(always)]
pub(crate) fn current_id() -> u64 {
    word::<0>()
}

/// The number XOR BIASED XOR the owner id of the calling thread's task, or NOBODY in its place.
#[cfg(all(target_arch = "x86_64", not(target_env = "musl")))]
#[inline(always)]
pub(crate) fn xor_biased_id(mut number: u64) -> u64 {
    // SAFETY: reads the calling thread's own words, whose offset the linker supplies; no side effect.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + hostcrst_current@GOTTPOFF]",
            "xor {number}, qword ptr fs:[{offset} + 24]",
            offset = out(reg) _,
            number = inout(reg) number,
            options(pure, readonly, nostack),
        );
    }
    number
}

/// The number XOR BIASED XOR the owner id of the calling thread's task, or NOBODY in its place.
#[cfg(any(target_arch = "aarch64", target_env = "musl"))]
#[inline(always)]
pub(crate) fn xor_biased_id(number: u64) -> u64 {
    number ^ word::<24>()
}

/// The address of the calling thread's task, or 0.
#[inline(always)]
pub(crate) fn current_task() -> usize {
    word::<8>() as usize
}

/// Makes the calling thread the task with this owner id at this address; 0 and 0 make it no task.
pub(crate) fn set_current(id: u64, task: usize) {
    let words = words();
    // SAFETY: words() is the address of 32 bytes that live as long as the thread and that only it accesses.
    unsafe {
        words.write_volatile(id);
        words.add(1).write_volatile(task as u64);
        words.add(3).write_volatile(if id == 0 { NOBODY } else { id } ^ BIASED);
        // The reads above are `asm!` blocks that the compiler may merge; this one tells it that memory changed.
        asm!("", options(nostack, preserves_flags));
    }
}

/// The code that set_last_error left for the calling thread, 0 if none.
pub(crate) fn last_error() -> u32 {
    // SAFETY: words() is the address of 32 bytes that live as long as the thread and that only it accesses.
    unsafe { words().add(2).read_volatile() as u32 }
}

/// Leaves a code for the calling thread.
pub(crate) fn set_last_error(code: u32) {
    // SAFETY: as in last_error.
    unsafe { words().add(2).write_volatile(u64::from(code)) };
}

/// The same number, opaque to the compiler, which then addresses fields by one register and a constant. Processors
/// forward a store to a load without delay if both are addressed in this same way; otherwise the compiler adds base and
/// offset again in each access, and a recursive enter takes twice as long.
#[inline(always)]
pub(crate) fn in_one_register(mut address: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_words_and_starts_with_none() {
        std::thread::spawn(|| {
            assert_eq!((current_id(), current_task(), xor_biased_id(0)), (0, 0, NOBODY ^ BIASED));
            set_current(7, 0x1000);
            assert_eq!((current_id(), current_task(), xor_biased_id(0)), (7, 0x1000, 7 ^ BIASED));
            std::thread::spawn(|| assert_eq!((current_id(), current_task()), (0, 0))).join().unwrap();
            set_current(0, 0);
            assert_eq!((current_id(), current_task(), xor_biased_id(0)), (0, 0, NOBODY ^ BIASED));
        })
        .join()
        .unwrap();
    }
}
