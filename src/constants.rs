//! The numbers that C knows by name, each once: the enums of the rooms above take their values from here. The header
//! has them in this order.

/// host_runtime_state: host_runtime_start was never called.
pub const HOST_RUNTIME_NOT_LOADED: u32 = 0;
/// host_runtime_state: the runtime is available.
pub const HOST_RUNTIME_RUNNING: u32 = 1;
/// host_runtime_state: host_runtime_stop was called; the runtime can be started again.
pub const HOST_RUNTIME_STOPPED: u32 = 2;
/// host_runtime_state: host_runtime_fail was called; final for the process.
pub const HOST_RUNTIME_FAILED: u32 = 3;

/// hostcrst_info: nobody owns the section.
pub const HOSTCRST_FREE: u32 = 0;
/// hostcrst_info: a task owns the section.
pub const HOSTCRST_OWNED: u32 = 1;
/// hostcrst_info: the owner's thread ended without leaving; see hostcrst_recover.
pub const HOSTCRST_ABANDONED: u32 = 2;

/// hostcrst_enter_timeout: no time limit.
pub const HOSTCRST_INFINITE: u32 = 0xFFFF_FFFF;

/// hostcrst_name, host_task_name, host_resource_name: the bytes that every name fits in, with its zero.
pub const HOSTCRST_NAME_SIZE: u32 = 57;

/// host_task_info: the task has made no transition.
pub const HOST_TASK_UNKNOWN: u32 = 0;
/// host_task_info: the task runs managed code.
pub const HOST_TASK_MANAGED: u32 = 1;
/// host_task_info: the task runs native code.
pub const HOST_TASK_UNMANAGED: u32 = 2;

/// host_layer_t: managed code called native code.
pub const HOST_LAYER_LEAVE: u32 = 1;
/// host_layer_t: native code called managed code.
pub const HOST_LAYER_REVERSE_ENTER: u32 = 2;

/// host_set_deadlock_policy: one wait of the cycle, the victim, gets HOST_E_DEADLOCK, and the program goes on. The
/// default. If no wait of the cycle may fail, the deadlock stands; if one of them is in EnterCriticalSection, a
/// report goes to stderr.
pub const HOST_DEADLOCK_ERROR: u32 = 0;
/// host_set_deadlock_policy: a report goes to stderr, and the deadlock stands.
pub const HOST_DEADLOCK_REPORT: u32 = 1;
/// host_set_deadlock_policy: a report goes to stderr, and the process aborts.
pub const HOST_DEADLOCK_ABORT: u32 = 2;

/// host_report: text for people.
pub const HOST_REPORT_TEXT: u32 = 0;
/// host_report: JSON.
pub const HOST_REPORT_JSON: u32 = 1;
/// host_report: Graphviz DOT.
pub const HOST_REPORT_DOT: u32 = 2;
/// host_report: one page for a browser, which loads nothing.
pub const HOST_REPORT_HTML: u32 = 3;

/// host_wait_node_t: a thread, by its task if it has one.
pub const HOST_WAIT_NODE_TASK: u32 = 1;
/// host_wait_node_t: a section.
pub const HOST_WAIT_NODE_SECTION: u32 = 2;
/// host_wait_node_t: a CRITICAL_SECTION.
pub const HOST_WAIT_NODE_WIN32_SECTION: u32 = 3;
/// An SRWLOCK of Windows' kind; the node has its address.
pub const HOST_WAIT_NODE_SRW_LOCK: u32 = 4;
/// host_wait_node_t: a CONDITION_VARIABLE, or a pthread_cond_t. Nobody owns one.
pub const HOST_WAIT_NODE_CONDITION_VARIABLE: u32 = 5;
/// host_wait_node_t: a resource, a lock that the program tells of.
pub const HOST_WAIT_NODE_RESOURCE: u32 = 6;
/// host_wait_node_t: a lock of managed code (C# lock, Monitor, System.Threading.Lock), as the CLR tells of waits for it.
pub const HOST_WAIT_NODE_MANAGED_LOCK: u32 = 7;
/// host_wait_node_t: a pthread_mutex_t.
pub const HOST_WAIT_NODE_MUTEX: u32 = 8;
/// host_wait_node_t: a pthread_rwlock_t; its owner is known only while it is held for writing.
pub const HOST_WAIT_NODE_RWLOCK: u32 = 9;
/// host_wait_node_t: the end of a thread, the next node.
pub const HOST_WAIT_NODE_JOIN: u32 = 10;
/// host_wait_node_t: a system call or a word of memory that nobody is known to own.
pub const HOST_WAIT_NODE_OTHER: u32 = 11;
/// An address in WaitOnAddress; the node has it.
pub const HOST_WAIT_NODE_ADDRESS: u32 = 12;
/// An INIT_ONCE of Windows' kind; the node has its address.
pub const HOST_WAIT_NODE_INIT_ONCE: u32 = 13;

/// host_wait_node_t: what is said of this node is known.
pub const HOST_WAIT_FLAG_CERTAIN: u32 = 1;
/// host_wait_node_t: what is said of this node is likely only.
pub const HOST_WAIT_FLAG_PROBABLE: u32 = 2;
/// host_wait_node_t: the owner of this lock stands earlier in the chain, and from there to here all waits are without
/// a limit: a deadlock.
pub const HOST_WAIT_FLAG_LAST_OF_CYCLE: u32 = 4;
/// host_wait_node_t: the wait for this has a time limit.
pub const HOST_WAIT_FLAG_LIMITED: u32 = 8;

macro_rules! wait_options {
    ($($name:ident = $bit:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: u32 = $bit;
        )*

        /// Each option bit of a wait, with its name and what the header says of it.
        pub const WAIT_OPTIONS: &[(&str, u32, &str)] = &[$((stringify!($name), $name, $meaning),)*];

        /// All option bits that a caller may pass.
        pub const WAIT_OPTION_MASK: u32 = 0 $(| $name)*;
    };
}

// build.rs puts these into the header in a form that gets along with Windows' headers, which have the names too.
wait_options! {
    WAIT_MSGPUMP = 0x1,
        "Options of a wait, to be combined: pump messages while waiting (accepted, and without effect here).";
    WAIT_ALERTABLE = 0x2,
        "The wait ends with HOST_E_INTERRUPTED when its task is alerted.";
    WAIT_NOTINDEADLOCK = 0x4,
        "The wait is never chosen as the victim of a deadlock.";
}

const _: () = assert!(WAIT_OPTION_MASK.count_ones() as usize == WAIT_OPTIONS.len());
