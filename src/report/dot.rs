//! The wait-for graph for Graphviz: an ellipse for each task, a box for each section or resource; waits and ownership as arrows,
//! those of a deadlock in red.

use core::fmt::{self, Write};

use super::{Format, Namer, Scratch, Surroundings};
use crate::base::memory::Memory;
use crate::text::{Printable, Seconds};
use crate::view::picture::{
    Index, LockPicture, Picture, ResourcePicture, SectionPicture, ShownLayers, SrwLockPicture, TaskPicture,
};

#[inline(never)]
pub(super) fn write<M: Memory, S: Surroundings>(
    picture: &Picture<'_, M>,
    index: &Index<'_>,
    scratch: &mut Scratch,
    surroundings: &mut S,
    out: &mut dyn Write,
) -> fmt::Result {
    DotReport { index, namer: Namer { picture, surroundings }, out }.write(&mut scratch.layers)
}

struct DotReport<'a, 'o, M, S> {
    namer: Namer<'a, M, S>,
    index: &'a Index<'a>,
    out: &'o mut dyn Write,
}

/// Inside a quoted label: no character that ends it or escapes.
pub(super) struct Label<'a>(pub(super) &'a [u8]);

impl fmt::Display for Label<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Unescaped(out), "{}", Printable(self.0))
    }
}

/// Replaces backslashes, which are escapes in a label.
struct Unescaped<'a>(&'a mut dyn Write);

impl Write for Unescaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars()
            .try_for_each(|character| self.0.write_char(if character == '\\' { '/' } else { character }))
    }
}

impl<M: Memory, S: Surroundings> DotReport<'_, '_, M, S> {
    fn write(&mut self, layers: &mut ShownLayers) -> fmt::Result {
        let picture = self.namer.picture;
        self.out.write_str("digraph hostcrst {\n  rankdir=LR;\n  node [fontname=\"monospace\"];\n")?;
        picture.tasks().try_for_each(|task| match picture.task_with_layers(task.id, layers) {
            Some(task) => self.task(&task, layers),
            None => Ok(()),
        })?;
        picture
            .sections()
            .filter(|section| section.owner != 0 || section.waiters != 0)
            .try_for_each(|section| self.section(&section))?;
        picture
            .resources()
            .filter(|resource| resource.info.owner != 0 || resource.info.waiters != 0)
            .try_for_each(|resource| self.resource(&resource))?;
        picture.tasks().try_for_each(|task| self.wait(&task))?;
        self.namer.surroundings.write_threads(Format::Dot, self.out)?;
        self.out.write_str("}\n")
    }

    fn task(&mut self, task: &TaskPicture, layers: &ShownLayers) -> fmt::Result {
        let name = self.namer.task(task);
        write!(self.out, "  t{} [label=\"{}\\n{}", task.id, Label(name.bytes()), task.thread_id)?;
        if let Some(newest) = layers.of(task).last() {
            self.out.write_str("\\n")?;
            self.namer.write_target(*newest, Some(task.thread_id), &mut Unescaped(self.out))?;
        }
        self.out.write_str("\"];\n")
    }

    fn section(&mut self, section: &SectionPicture) -> fmt::Result {
        let handle = section.handle;
        write!(self.out, "  s{handle} [shape=box,label=\"")?;
        match &section.name {
            _ if section.mirror != 0 => {
                let out = &mut Unescaped(self.out);
                self.namer.surroundings.write_variable(out, section.mirror)?
            }
            Some(name) => write!(self.out, "{}", Label(name.bytes()))?,
            None => write!(self.out, "0x{handle:x}")?,
        }
        writeln!(self.out, "\\nrecursion {}\"];", section.recursion)?;
        self.owner(handle, section.owner)
    }

    fn resource(&mut self, resource: &ResourcePicture) -> fmt::Result {
        let handle = resource.handle;
        write!(self.out, "  s{handle} [shape=box,style=rounded,label=\"")?;
        match &resource.name {
            Some(name) => write!(self.out, "{}", Label(name.bytes()))?,
            None => write!(self.out, "0x{handle:x}")?,
        }
        writeln!(self.out, "\\nresource, recursion {}\"];", resource.info.recursion)?;
        self.owner(handle, resource.info.owner)
    }

    fn is_first_to_wait(&self, task: u64, awaited: u64) -> bool {
        let mut tasks = self.namer.picture.tasks();
        let first = tasks.find(|task| task.wait.is_some_and(|wait| wait.awaited == awaited));
        first.is_some_and(|first| first.id == task)
    }

    /// An SRW lock that a task waits for.
    fn srw_lock(&mut self, awaited: u64, lock: &SrwLockPicture) -> fmt::Result {
        write!(self.out, "  s{awaited} [shape=box,style=dashed,label=\"")?;
        let out = &mut Unescaped(self.out);
        self.namer.surroundings.write_variable(out, lock.address)?;
        writeln!(self.out, "\\nshares: {}\"];", lock.holders)?;
        self.owner(awaited, lock.owner)
    }

    /// The arrow from a section or resource to its owner, if it has one.
    fn owner(&mut self, handle: u64, owner: u64) -> fmt::Result {
        if owner == 0 {
            return Ok(());
        }
        let before = self.namer.picture.before_in_cycle(self.index, owner);
        let waited_for = before.and_then(|task| task.wait).is_some_and(|wait| wait.awaited == handle)
            || self.namer.surroundings.is_awaited_in_other_cycle(handle);
        let color = if waited_for { ",color=red" } else { "" };
        writeln!(self.out, "  s{handle} -> t{owner} [label=\"owned by\"{color}];")
    }

    fn wait(&mut self, task: &TaskPicture) -> fmt::Result {
        let Some(wait) = task.wait else { return Ok(()) };
        if let Some(LockPicture::SrwLock(lock)) = self.namer.picture.lock(wait.awaited)
            && self.is_first_to_wait(task.id, wait.awaited)
        {
            self.srw_lock(wait.awaited, &lock)?;
        }
        write!(self.out, "  t{} -> s{} [label=\"waits", task.id, wait.awaited)?;
        if let Some(age) = self.namer.age(wait.since) {
            write!(self.out, " {}", Seconds(age))?;
        }
        let in_cycle = self.namer.picture.is_in_cycle(self.index, task.id)
            || self.namer.surroundings.is_in_other_cycle(task.thread_id);
        self.out.write_str(if in_cycle { "\",color=red];\n" } else { "\"];\n" })
    }
}
