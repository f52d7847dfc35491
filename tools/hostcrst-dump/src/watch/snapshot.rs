//! What one report says of each thread. It is read from the report's JSON: there is no second way of finding it.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::symbols::printable;

pub struct Snapshot {
    /// Lines.
    pub verdict: Vec<String>,
    /// Whether there is a deadlock, and whether that is certain.
    pub deadlock: Option<bool>,
    /// By their ids.
    pub threads: Vec<Thread>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    pub id: u64,
    pub name: String,
    pub state: String,
    /// What it waits for, or the system call that it is in.
    pub does: String,
    pub wait: Option<Wait>,
    /// Whether it is part of a cycle, and whether that is certain.
    pub deadlock: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    pub owner: Option<u64>,
    pub is_certain: bool,
    pub since: Option<Duration>,
}

impl Thread {
    pub fn full_name(&self) -> String {
        format!("\"{}\" tid={}", self.name, self.id)
    }

    /// Whether it does something else than before; time that has passed is no change.
    pub fn differs_from(&self, before: &Thread) -> bool {
        let owner = |thread: &Thread| thread.wait.as_ref().map(|wait| (wait.owner, wait.is_certain));
        (&self.state, &self.does, self.deadlock, owner(self))
            != (&before.state, &before.does, before.deadlock, owner(before))
    }
}

impl Snapshot {
    /// `json` has an object a line, as hostcrst-dump --json writes them.
    pub fn of(verdict: &str, json: &str) -> Snapshot {
        let objects: Vec<Value> = json.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let known = Known::of(&objects);
        let all = |name: &'static str| objects.iter().flat_map(move |object| list(object, name));
        let mut threads: Vec<_> = all("threads").map(|thread| known.thread(thread)).collect();
        threads.sort_by_key(|thread| thread.id);
        Snapshot {
            verdict: verdict.lines().map(|line| printable(line.as_bytes())).collect(),
            deadlock: known.deadlocks.values().copied().max(),
            threads,
        }
    }
}

/// What the report says in other places than beside the threads.
struct Known {
    section_names: HashMap<String, String>,
    since: HashMap<u64, Duration>,
    /// By the ids of threads.
    deadlocks: HashMap<u64, bool>,
}

impl Known {
    fn of(objects: &[Value]) -> Known {
        let all = |name: &'static str| objects.iter().flat_map(move |object| list(object, name));
        let named = |section: &Value| Some((text(&section["section"]), label(section)?));
        let since = |task: &Value| {
            let wait = ["waiting", "sleeping"].iter().find_map(|kind| task[kind]["for_ns"].as_u64())?;
            Some((task["tid"].as_u64()?, Duration::from_nanos(wait)))
        };
        let ids: HashMap<_, _> =
            all("tasks").filter_map(|task| Some((text(&task["task"]), task["tid"].as_u64()?))).collect();
        // A member is a task, or, across copies of the library, has the id of its thread.
        let member =
            |member: &Value| member["tid"].as_u64().or_else(|| ids.get(&text(&member["task"])).copied());
        let mut deadlocks = HashMap::new();
        for cycle in all("thread_deadlocks") {
            let is_certain = cycle["certain"] == true;
            deadlocks.extend(list(cycle, "tids").filter_map(Value::as_u64).map(|id| (id, is_certain)));
        }
        let cycles = all("deadlocks").filter_map(Value::as_array).flatten();
        deadlocks.extend(cycles.filter_map(member).map(|id| (id, true)));
        Known {
            section_names: all("sections").filter_map(named).collect(),
            since: all("tasks").filter_map(since).collect(),
            deadlocks,
        }
    }

    fn thread(&self, thread: &Value) -> Thread {
        let id = thread["tid"].as_u64().unwrap_or(0);
        let waits_for = &thread["waits_for"];
        let wait = waits_for.is_object().then(|| Wait {
            owner: waits_for["owner_tid"].as_u64(),
            is_certain: waits_for["certain"] == true,
            since: self.since.get(&id).copied(),
        });
        let does = match &wait {
            Some(_) => self.awaited(waits_for),
            None => format!("{} {}", text(&thread["call"]), text(&thread["meaning"])).trim().to_owned(),
        };
        let deadlock = self.deadlocks.get(&id).copied();
        Thread { id, name: text(&thread["name"]), state: text(&thread["state"]), does, wait, deadlock }
    }

    fn awaited(&self, wait: &Value) -> String {
        let kind = text(&wait["kind"]).replace('_', " ");
        let behaviour = match wait["behaviour"].as_str() {
            Some("plain") | None => String::new(),
            Some(other) => format!("{} ", printable(other.as_bytes()).replace('_', " ")),
        };
        // Under the name of the kind, if it is the library's.
        let handle = text(&wait[wait["kind"].as_str().unwrap_or_default()]);
        let what = match self.section_names.get(&handle) {
            Some(name) => format!("\"{name}\""),
            None if handle.is_empty() => text(&wait["address"]),
            None => handle,
        };
        let limit = if wait["limited"] == true { ", with a time limit" } else { "" };
        let probably = if wait["certain"] == true { "" } else { "probably " };
        format!("{probably}{behaviour}{kind} {what}{limit}").replace(" ,", ",").trim_end().to_owned()
    }
}

fn list<'v>(object: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    object[name].as_array().into_iter().flatten()
}

fn label(section: &Value) -> Option<String> {
    ["name", "critical_section"].iter().map(|name| text(&section[name])).find(|name| !name.is_empty())
}

/// A string without what could garble a terminal; empty if it is none.
fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default().as_bytes())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A thread for the tests of what is shown.
    pub fn thread(id: u64, name: &str, does: &str, owner: Option<u64>) -> Thread {
        let wait = owner.map(|owner| Wait {
            owner: Some(owner),
            is_certain: true,
            since: Some(Duration::from_millis(1500)),
        });
        Thread {
            id,
            name: name.to_owned(),
            state: "blocked".to_owned(),
            does: does.to_owned(),
            wait,
            deadlock: None,
        }
    }

    const REPORT: &str = concat!(
        r#"{"tasks":[{"task":"0x302","tid":7,"name":"sell","waiting":{"section":"0x141","for_ns":1500000000}},"#,
        r#"{"task":"0x402","tid":8,"name":"restock"}],"sections":[{"section":"0x141","name":"st\u001b[2Jock"}],"#,
        r#""deadlocks":[[{"task":"0x302","section":"0x141"},{"task":"0x402","section":"0x101"}]],"#,
        r#""thread_deadlocks":[{"certain":false,"tids":[9]}],"threads":["#,
        r#"{"tid":9,"name":"r","state":"blocked","waits_for":{"kind":"new_lock","address":"0x5 p!v+0x0","certain":false,"#,
        r#""limited":true,"behaviour":"error_checking"}},{"tid":10,"name":"n","state":"blocked","call":"read","meaning":"from fd 3"},"#,
        r#"{"tid":7,"name":"sell","state":"blocked","waits_for":{"kind":"section","section":"0x141","certain":true,"limited":false,"#,
        r#""owner_tid":8}},{"tid":8,"name":"restock","state":"blocked","waits_for":{"kind":"srw_lock","srw_lock":"0x55d0","#,
        r#""certain":true,"limited":false}}]}"#
    );

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let Snapshot { verdict, deadlock, threads } = Snapshot::of("Found 1 deadlock.\nSo.\n", REPORT);
        assert_eq!((verdict.len(), deadlock), (2, Some(true)));
        let ids: Vec<_> = threads.iter().map(|thread| thread.id).collect();
        assert_eq!(ids, [7, 8, 9, 10]);
        let does: Vec<_> = threads.iter().map(|thread| thread.does.as_str()).collect();
        let probable = "probably error checking new lock 0x5 p!v+0x0, with a time limit";
        assert_eq!(does, ["section \"st?[2Jock\"", "srw lock 0x55d0", probable, "read from fd 3"]);
        let deadlocks: Vec<_> = threads.iter().map(|thread| thread.deadlock).collect();
        assert_eq!(deadlocks, [Some(true), Some(true), Some(false), None]);
        let wait = Wait { owner: Some(8), is_certain: true, since: Some(Duration::from_millis(1500)) };
        assert_eq!(threads[0].wait, Some(wait));
    }

    #[test]
    fn time_that_passes_is_no_change() {
        let before = thread(1, "a", "section", Some(2));
        let mut now = before.clone();
        now.wait.as_mut().unwrap().since = Some(Duration::from_secs(9));
        assert!(!now.differs_from(&before));
        now.wait.as_mut().unwrap().owner = Some(3);
        assert!(now.differs_from(&before));
    }
}
