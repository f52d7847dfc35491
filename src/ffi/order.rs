//! Lock order: sections that are entered in orders that could deadlock, told before they do.

use super::crst::hostcrst_t;
use super::hresult;
use crate::host::order;
use crate::state::registry::REGISTRY;
use crate::sys::preserving_errno;

/// Begins to examine the orders in which tasks enter sections, or ceases to.
///
/// Where one task enters A and then B, and another one B and then A, they deadlock if they do so at the same time.
/// This is told when it is first seen, whether they do or not, as "could deadlock": on stderr, and in every report,
/// with both tasks and the four places. The same for up to 8 sections in a circle. No circle of sections is told
/// twice. Of all that one entry closes, the shortest that was not told is, for each section that the task owns; the
/// others are if a later entry, by another task or from under other sections, closes them.
///
/// No alarm are: both orders by one and the same thread; orders that were only taken under a common third section;
/// what the only thread of a process does before it starts another one; entering a section again that one owns
/// already; hostcrst_try_enter, and hostcrst_enter_timeout with a limit, which do not wait for ever (but what is
/// entered so is owned, and counts for what is entered next); sections that were destroyed; orders that
/// hostcrst_allow_order names.
///
/// Resources (host_resource_create) take part as sections do: to acquire one is to enter it. The library is not told
/// whether a resource was only tried.
///
/// Memory is bounded: 4096 pairs of sections are remembered, the first 4 different ways in which each order was
/// taken, and 64 circles are told. What is not examined for that, or as the task owns more than 8 sections or has
/// entered some before this was switched on, is counted in reports, and is no alarm.
///
/// Off by default. While it is on, every enter and leave takes its slower path. The environment variable
/// HOSTCRST_ORDER=1 switches it on when the runtime is first started.
///
/// Parameters:
/// - on (0 = off, any other value = on): what was seen before is kept.
///
/// Returns:
/// - S_OK: in force for enters from here on.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_OUTOFMEMORY: no memory for what is remembered; nothing changed.
///
/// Threads: any; may block briefly while another thread becomes a task. Not async-signal-safe. The child of a fork
/// inherits it.
///
/// Source: an extension, after lockdep of Linux and the validators of TSan and helgrind.
#[unsafe(no_mangle)]
pub extern "C" fn host_set_order_checks(on: i32) -> i32 {
    hresult(preserving_errno(|| {
        REGISTRY.runtime.require_usable()?;
        order::switch(on != 0)
    }))
}

/// Declares that it is good to enter one section while owning another: that order is part of no alarm.
///
/// For an order that cannot deadlock for a reason that the library does not see. See host_set_order_checks; may be
/// called before that, and whether it is on or not. Ends with either section.
///
/// Parameters:
/// - first, then (any values): handles from hostcrst_create or host_resource_create: first is owned when then is
///   entered.
///
/// Returns:
/// - S_OK: from here on there is no new alarm with this order.
/// - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
/// - E_INVALIDARG: first and then are the same.
/// - E_HANDLE: one of them is no live section or resource.
/// - E_OUTOFMEMORY: no memory for what is remembered, or no room for more pairs of sections.
///
/// Threads: any; may block briefly while another thread enters a section. Not async-signal-safe.
///
/// Source: an extension.
#[unsafe(no_mangle)]
pub extern "C" fn hostcrst_allow_order(first: hostcrst_t, then: hostcrst_t) -> i32 {
    hresult(order::allow(first, then))
}
