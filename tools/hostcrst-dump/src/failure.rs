//! Why there is no report, and what to do about it.

/// Each kind has its own exit code; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("there is no process {0}: it may have ended; `ps -e` lists those that run")]
    NoSuchProcess(u32),
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
        "the hostcrst in {subject} has layout {version} with {size} bytes, this tool knows layout {known} with \
         {known_size} bytes: use the hostcrst-dump that was built together with that library"
    )]
    UnknownLayout { subject: String, version: u32, size: u32, known: u32, known_size: u32 },
    #[error("{path} cannot be used: {reason}")]
    Core { path: String, reason: String },
    #[error(
        "the report on {0} is not complete, parts of what the library keeps could not be read: if it is a core, let it \
         hold anonymous private memory (bit 0 of /proc/PID/coredump_filter); otherwise the memory is damaged"
    )]
    Incomplete(String),
    #[error("{0} is damaged: a report on it is not finished within {1} seconds")]
    Endless(String, u64),
    #[error("the report could not be written: {0}")]
    Output(#[from] std::io::Error),
}

/// No deadlock stands.
pub const CLEAN: u8 = 0;
/// A deadlock stands.
pub const DEADLOCK: u8 = 2;

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Output(_) => 1,
            Failure::Usage(_) => 3,
            Failure::NoSuchProcess(_) => 4,
            Failure::NoPermission(_) => 5,
            Failure::NotLoaded(_) => 6,
            Failure::UnknownLayout { .. } => 7,
            Failure::Core { .. } | Failure::Incomplete(_) | Failure::Endless(..) => 8,
        }
    }
}
