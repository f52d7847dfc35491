//! The call site of a C caller, determined on the slow path only.
//!
//! An exported function ends with a call of a trampoline that has the same parameters. The compiler makes this tail
//! call a jump, so the trampoline finds the caller's return address where the exported function would return to,
//! and passes it on as one more argument. If the compiler makes it a call after all, the address is one inside the
//! exported function: less useful, not wrong. Where the exported function has a fast path, its trampoline is to be cold: then the compiler lets
//! what needs none run straight on.

/// Defines a trampoline to a function that takes one more `usize`. The register is that of the extra argument in the
/// C calling convention of x86-64 and of aarch64.
macro_rules! with_call_site {
    ($(#[$attribute:meta])* $name:ident($($parameter:ident: $type:ty),*) => $target:path, $x86_64:literal, $aarch64:literal) => {
        $(#[$attribute])*
        #[unsafe(naked)]
        extern "C" fn $name($($parameter: $type),*) -> i32 {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                concat!("mov ", $x86_64, ", qword ptr [rsp]"),
                "jmp {target}",
                target = sym $target,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                concat!("mov ", $aarch64, ", x30"),
                "b {target}",
                target = sym $target,
            );
        }
    };
}

pub(crate) use with_call_site;
