//! Why there is no report, and what to do about it.

/// Each kind has its own exit code; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("there is no process {0}: it may have ended; `ps -e` lists those that run")]
    NoSuchProcess(u32),
    #[error(
        "process {0} has ended, and its parent has not asked for its exit code yet: there is nothing left to look at"
    )]
    HasEnded(u32),
    #[error(
        "process {0} ended, or was killed, while it was read: what was seen of it is no state that it was ever in"
    )]
    IsEnding(u32),
    #[error(
        "process {0} became another program (exec) while it was read, each time that this tool looked: what was seen of it is no \
         state that it was ever in; look again"
    )]
    BecameAnother(u32),
    #[error(
        "process {0} has no memory of its own: it is a thread of the kernel, which holds no locks of a program"
    )]
    NoMemory(u32),
    #[error(
        "the memory of process {id} cannot be read ({reason}): where a sandbox does not let it, run this tool outside of the \
         sandbox, or take a core (gcore {id}) and give it that"
    )]
    Unreadable { id: u32, reason: String },
    #[error(
        "the memory of process {0} may not be read: run this tool as the same user or as root. If it is the same user, \
         the system allows it to root only (kernel.yama.ptrace_scope is not 0, or the process made itself undumpable); \
         in a container, give it the capability SYS_PTRACE"
    )]
    NoPermission(u32),
    #[error(
        "{0} has not loaded hostcrst: check that this is the right process, and that it has got as far as its first \
         call of the library"
    )]
    NotLoaded(String),
    #[error(
        "the hostcrst in {subject} has {}: use the hostcrst-dump that was built together with that library",
        difference((*version, *size), (*known, *known_size))
    )]
    UnknownLayout { subject: String, version: u32, size: u32, known: u32, known_size: u32 },
    #[error(
        "{subject} lacks the memory that the library would be found in, so nothing can be said of it: take a core with \
         anonymous private memory (echo 0x33 >/proc/PID/coredump_filter, then `gcore PID`; of a .NET process `createdump \
         --full PID`, or DOTNET_DbgMiniDumpType=4)"
    )]
    LacksMemory { subject: String },
    #[error("{path} cannot be used: {reason}")]
    Core { path: String, reason: String },
    #[error(
        "the report on {0} is not complete, parts of what the library keeps could not be read: if it is a core, let it \
         hold anonymous private memory (bit 0 of /proc/PID/coredump_filter); otherwise the memory is damaged"
    )]
    Incomplete(String),
    #[error(
        "{subject} has {most} copies of the library or more, and no more than these were looked at: the report on it is \
         not complete"
    )]
    TooManyCopies { subject: String, most: usize },
    #[error(
        "the report on {subject} was not finished within {seconds} seconds: it is very large (--timeout allows more), or it \
         is damaged"
    )]
    Unfinished { subject: String, seconds: f64 },
    #[error("the report could not be written: {0}")]
    Output(#[from] std::io::Error),
    #[error("the page could not be written to {}: {error}", file.display())]
    Page { file: std::path::PathBuf, error: std::io::Error },
}

/// How a layout differs from the one that this tool knows, by their versions and sizes.
fn difference(layout: (u32, u32), known: (u32, u32)) -> String {
    let (version, size) = layout;
    if layout == known {
        return format!(
            "layout {version}, as this tool has, but from another build, with its fields elsewhere"
        );
    }
    let (known_version, known_size) = known;
    format!(
        "layout {version} with {size} bytes, this tool knows layout {known_version} with {known_size} bytes"
    )
}

/// No deadlock stands.
pub const CLEAN: u8 = 0;
/// A deadlock stands.
pub const DEADLOCK: u8 = 2;

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Output(_) | Failure::Page { .. } => 1,
            Failure::Usage(_) => 3,
            Failure::NoSuchProcess(_)
            | Failure::HasEnded(_)
            | Failure::IsEnding(_)
            | Failure::BecameAnother(_) => 4,
            Failure::NoPermission(_) | Failure::Unreadable { .. } => 5,
            Failure::NotLoaded(_) | Failure::NoMemory(_) => 6,
            Failure::UnknownLayout { .. } => 7,
            Failure::LacksMemory { .. }
            | Failure::Core { .. }
            | Failure::Incomplete(_)
            | Failure::TooManyCopies { .. }
            | Failure::Unfinished { .. } => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_of_another_build_is_not_told_by_equal_numbers() {
        let unknown = |version| Failure::UnknownLayout {
            subject: "process 7".to_owned(),
            version,
            size: 64,
            known: 3,
            known_size: 64,
        };
        let (same, other) = (unknown(3).to_string(), unknown(4).to_string());
        assert!(same.contains("layout 3, as this tool has, but from another build"), "{same}");
        assert!(other.contains("layout 4 with 64 bytes, this tool knows layout 3 with 64 bytes"), "{other}");
    }
}
