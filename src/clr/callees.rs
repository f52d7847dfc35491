//! Which method a callback of native code has called, where the CLR tells only the delegate's type.
//!
//! A delegate that was given to native code is announced as the method Invoke of its type. The method behind it stands on the
//! stack as soon as it runs: as the outermost frame of the managed code that the callback has begun.
//!
//! Between two parts of managed code on a stack stands native code that has called back, unless that was the last it had to do:
//! then its frame is gone. Code of the CLR's parts nothing, since it calls managed code without a callback (a static
//! constructor, a method by reflection). So a stack is believed if it has as many parts as the task's layers say. .NET Core 3.1
//! calls back through code of its own: there only threads that native code has begun have such a stack.

use super::functions::write_managed_name;
use super::info::ProfilerInfo;
use super::modules;
use super::own_code;
use crate::base::memory::Here;
use crate::state::layers::{LayerKind, Origin};
use crate::state::registry::REGISTRY;
use crate::state::targets::TARGET_NAME_BYTES;
use crate::state::task::TaskRef;
use crate::text::TextBuffer;

/// Callbacks inside of so many others are shown as the delegate's type.
const MOST: usize = 16;

/// Whether the task has left a callback whose method is not known yet.
pub(crate) fn has_left_unknown(task: TaskRef) -> bool {
    let below = task.depth().checked_sub(2).and_then(|below| task.layer(below));
    below.is_some_and(|below| below.kind == LayerKind::ReverseEnter && below.callee == 0)
}

/// Names the methods of the task's callbacks after the calling thread's whole stack: functions and addresses, innermost first;
/// of native frames together the function is 0.
pub(crate) fn name(info: ProfilerInfo, task: TaskRef, stack: &[(usize, usize)]) {
    let depth = task.depth();
    let is_callback =
        |&index: &usize| task.layer(index).is_some_and(|layer| layer.kind == LayerKind::ReverseEnter);
    let began_managed = !is_callback(&0);
    let count = (0..depth).filter(is_callback).count() + usize::from(began_managed);
    let Some(outermost) = outermost_of_parts(stack, count, |address| !own_code::has(address)) else { return };
    for (index, &function) in (0..depth).rev().filter(is_callback).zip(&outermost) {
        let Some(layer) = task.layer(index) else { continue };
        // A method that native code may call without a delegate is announced itself.
        let is_known = layer.callee != 0 || layer.target == function as u64;
        if !is_known
            && layer.origin == Origin::ClrFunction
            && let Some(callee) = name_callee(info, layer.target, function)
        {
            task.set_callee(index, callee);
        }
    }
}

/// The outermost function of each part of managed code, if there are `count` parts of the stack; native code that goes on at an
/// address parts it if `parts` says so.
fn outermost_of_parts(
    stack: &[(usize, usize)],
    count: usize,
    parts: impl Fn(usize) -> bool,
) -> Option<[usize; MOST]> {
    let mut outermost = [0; MOST];
    let mut places = outermost.iter_mut();
    for part in stack.split(|&(function, address)| function == 0 && parts(address)) {
        if let Some(&(function, _)) = part.iter().rev().find(|frame| frame.0 != 0) {
            *places.next()? = function;
        }
    }
    let found = MOST - places.len();
    (found == count).then_some(outermost)
}

/// `Namespace.Class.Method (Namespace.Delegate.Invoke)`.
fn name_callee(info: ProfilerInfo, target: u64, function: usize) -> Option<u16> {
    let (module, method) = info.definition(function)?;
    let metadata = modules::metadata(info, module)?;
    let mut text = TextBuffer::<TARGET_NAME_BYTES>::new();
    // What does not fit is cut.
    let _ = write_managed_name(&mut text, &metadata, method);
    if let Some(announced) = REGISTRY.targets.name(&Here, Origin::ClrFunction, target) {
        text.push_what_fits(b" (");
        text.push_what_fits(announced.bytes());
        text.push_what_fits(b")");
    }
    REGISTRY.targets.intern_callee(target, function as u64, text.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clr::fake::{self, OPEN, RUN};
    use crate::host;
    use std::string::String;

    const NATIVE: (usize, usize) = (0, 0x100);

    fn outermost(stack: &[(usize, usize)], count: usize) -> Option<std::vec::Vec<usize>> {
        let parts = outermost_of_parts(stack, count, |address| address == NATIVE.1)?;
        Some(parts.into_iter().take(count).collect())
    }

    #[test]
    fn a_part_of_a_stack_ends_where_native_code_has_called_it_and_its_last_method_was_called() {
        let of_clr = (0, 0x200);
        let stack = [(1, 1), (2, 2), NATIVE, (3, 3), of_clr, (4, 4), NATIVE, NATIVE, (5, 5), of_clr];
        assert_eq!(outermost(&stack, 3), Some(std::vec![2, 4, 5]));
        assert_eq!((outermost(&stack, 2), outermost(&stack, 4)), (None, None));
        assert_eq!(outermost(&[NATIVE, (1, 1), NATIVE], 1), Some(std::vec![1]));
        assert_eq!(outermost(&[], 0), Some(std::vec![]));
        let deep = [[(1, 1), NATIVE]; MOST + 1].concat();
        assert_eq!(outermost(&deep, MOST + 1), None);
    }

    #[test]
    fn a_callback_has_the_name_of_the_method_that_stands_on_the_stack() {
        let _turn = fake::TURN.lock().unwrap();
        host::runtime::start().unwrap();
        let task = host::threads::current().unwrap();
        let (run, open) = (RUN as usize, OPEN as usize);
        // A delegate's own method, of which only the name is known.
        const INVOKE: u64 = 0x7000_0090;
        REGISTRY.targets.intern(Origin::ClrFunction, INVOKE, b"Space.Visit.Invoke");
        let push = |kind, function| task.push(kind, Origin::ClrFunction, function).unwrap();
        let shown = |index| {
            let layer = task.layer(index).unwrap();
            let name = REGISTRY.targets.callee(&Here, layer.target, layer.callee)?;
            Some(String::from_utf8(name.bytes().to_vec()).unwrap())
        };
        push(LayerKind::Leave, OPEN);
        push(LayerKind::ReverseEnter, INVOKE);
        push(LayerKind::Leave, OPEN);
        assert!(has_left_unknown(task));
        // A stack that says something else than the layers.
        name(fake::info(), task, &[(run, 1), NATIVE, (run, 2), NATIVE, (open, 3)]);
        name(fake::info(), task, &[(run, 1)]);
        assert_eq!(shown(1), None);
        name(fake::info(), task, &[(open, 1), (run, 2), NATIVE, (open, 3)]);
        assert_eq!(shown(1).unwrap(), "Space.Outer+Inner.Run (Space.Visit.Invoke)");
        assert!(!has_left_unknown(task));
        assert_eq!((shown(0), shown(2)), (None, None));
        // It stays as it is until the layer is closed, whose target is the same.
        name(fake::info(), task, &[(open, 1), NATIVE, (open, 3)]);
        assert_eq!(shown(1).unwrap(), "Space.Outer+Inner.Run (Space.Visit.Invoke)");
        assert_eq!(task.layer(1).unwrap().target, INVOKE);
        task.truncate(1);
        push(LayerKind::ReverseEnter, INVOKE);
        assert_eq!(shown(1), None);
        // A method that is announced itself, and one beyond the first part of the layers.
        task.truncate(1);
        push(LayerKind::ReverseEnter, RUN);
        name(fake::info(), task, &[(run, 1), NATIVE, (open, 2)]);
        assert_eq!(task.layer(1).unwrap().callee, 0);
        (0..10).for_each(|_| {
            push(LayerKind::Leave, OPEN);
            push(LayerKind::ReverseEnter, INVOKE);
        });
        let stack = [[(open, 1), NATIVE]; 12].concat();
        name(fake::info(), task, &stack[..23]);
        assert_eq!(shown(21).unwrap(), "Space.Outer.Open (Space.Visit.Invoke)");
        task.truncate(0);
    }
}
