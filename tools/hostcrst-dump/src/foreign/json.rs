//! For programs: members of the report's object, described by docs/report.schema.json.

use std::fmt::Write;

use foreign_locks::glibc::{Behaviour, Thing};
use hostcrst::inspect::{LockSeen, SleepKind};
use serde_json::{Map, Value, json};

use super::chains::{Awaited, Chains, Wait};
use super::processes::{Held, ProcessWait};
use crate::stacks::{Frame, Stack};
use crate::symbols::Symbols;
use crate::unexamined::{Unexamined, words};

/// Adds the members to the object at the end of the text.
pub fn add(
    chains: &Chains,
    has_library: bool,
    unexamined: &[Unexamined],
    symbols: &mut Symbols<'_>,
    text: &mut String,
) -> std::fmt::Result {
    let threads: Vec<_> = (0..chains.does.len()).map(|place| thread(chains, place, symbols)).collect();
    let cycles = chains.cycles.iter().map(|cycle| {
        let members: Vec<_> = cycle.places.iter().map(|&place| chains.threads.list[place].id).collect();
        json!({ "certain": cycle.is_certain, "managed": cycle.is_managed, "tids": members })
    });
    let process_cycles = chains.process_cycles.iter().map(|cycle| {
        let members: Vec<_> = cycle.links.iter().map(|link| link.process).collect();
        json!({ "certain": cycle.is_certain, "pids": members })
    });
    let members = json!({
        "library": has_library,
        "threads": threads,
        "threads_complete": !chains.threads.more,
        "other_locks": chains.other_locks(),
        "blocked_without_owner": chains.blocked_without_owner(),
        "thread_deadlocks": cycles.collect::<Vec<_>>(),
        "process_deadlocks": process_cycles.collect::<Vec<_>>(),
        "not_examined": words(unexamined),
    });
    add_members(&members, text)
}

/// Adds members to the object at the end of the text.
pub fn add_members(members: &Value, text: &mut String) -> std::fmt::Result {
    let object = text.trim_end().strip_suffix('}').unwrap_or_default().len();
    text.truncate(object);
    writeln!(text, ",{}", &members.to_string()[1..])
}

fn thread(chains: &Chains, place: usize, symbols: &mut Symbols<'_>) -> Value {
    let does = &chains.does[place];
    let mut members = Map::new();
    members.insert("tid".to_owned(), chains.threads.list[place].id.into());
    members.insert("name".to_owned(), String::from_utf8_lossy(&does.name).into());
    members.insert("state".to_owned(), does.state.key().into());
    if let Some(call) = &does.call {
        members.insert("call".to_owned(), call.name.as_str().into());
        if !call.meaning.is_empty() {
            members.insert("meaning".to_owned(), call.meaning.as_str().into());
        }
    }
    if let Some(wait) = &does.wait {
        members.insert("waits_for".to_owned(), waits_for(chains, wait, symbols));
    }
    if let Some(ProcessWait { what, holder, is_certain }) = &does.process_wait {
        let mut wait = json!({ "kind": "end", "pid": holder, "certain": is_certain });
        if let Held::FileLock(file) = what {
            wait["kind"] = "file_lock".into();
            wait["file"] = file.as_str().into();
        }
        members.insert("waits_for_process".to_owned(), wait);
    }
    if let Some(stack) = &does.stack {
        members.insert("stack".to_owned(), stack_frames(stack, symbols));
        if let Some(end) = &stack.end {
            members.insert("stack_end".to_owned(), end.to_string().into());
        }
    }
    members.into()
}

fn stack_frames(stack: &Stack, symbols: &mut Symbols<'_>) -> Value {
    let frame = |frame: &Frame| {
        let mut place = String::new();
        // Writing to a String does not fail.
        let _ = symbols.write_code(&mut place, frame.code_address, frame.is_return);
        json!({ "at": place, "certain": !frame.is_guess })
    };
    stack.frames.iter().map(frame).collect()
}

/// A section or resource: its kind, and its handle under the name of that.
fn put_lock(put: &mut impl FnMut(&str, Value), lock: &LockSeen) {
    let kind = lock.kind().key();
    put("kind", kind.into());
    put(kind, format!("0x{:x}", lock.number()).into());
}

fn waits_for(chains: &Chains, wait: &Wait, symbols: &mut Symbols<'_>) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    put("certain", wait.is_certain.into());
    put("limited", wait.is_limited.into());
    match &wait.what {
        Awaited::Owned { blocked, .. } => put_lock(&mut put, &blocked.awaited),
        Awaited::Task(task) => match task.awaited() {
            Some(lock) => put_lock(&mut put, &lock),
            None => {
                let kind = task.sleeps_on().map_or(SleepKind::ConditionVariable, |(kind, _)| kind);
                put("kind", kind.key().into());
            }
        },
        Awaited::Thing(thing) => {
            put("kind", thing.key().into());
            if let Some(address) = thing.address() {
                put("address", variable(address, symbols));
            }
            put("others", wait.others.into());
            match thing {
                Thing::Mutex { kind, .. } => {
                    put("behaviour", kind.behaviour.map(Behaviour::key).into());
                    put("robust", kind.is_robust.into());
                    put("priority_inheriting", kind.inherits_priority.into());
                    put("priority_protecting", kind.protects_priority.into());
                }
                Thing::RwLock { readers, to_write, .. } => {
                    put("readers", (*readers).into());
                    put("to_write", (*to_write).into());
                }
                Thing::Managed { kind, is_abandoned, of_type, .. } => {
                    put("lock_kind", kind.key().into());
                    put("abandoned", (*is_abandoned).into());
                    if let Some(name) = chains.types.get(of_type) {
                        put("object_type", name.as_str().into());
                    }
                }
                _ => {}
            }
            if let (Some(id), None) = (thing.owner(), wait.owner) {
                put("owner_not_in_process", id.into());
            }
        }
    }
    if let Some(owner) = wait.owner {
        put("owner_tid", chains.threads.list[owner].id.into());
    }
    members.into()
}

fn variable(address: u64, symbols: &mut Symbols<'_>) -> Value {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = symbols.write_variable(&mut text, address);
    text.into()
}
