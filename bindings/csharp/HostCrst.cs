// Critical sections that refuse deadlocks, for .NET: add this file to a project, and see README.md.

#nullable enable

using System;
using System.IO;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

namespace HostCrst
{
    /// <summary>
    /// A recursive lock: <c>using (orders.Enter()) { ... }</c>. Its owner is a thread, so nothing may be awaited while
    /// it is owned: what follows an await can run on another thread. The compiler refuses that.
    /// </summary>
    public sealed class CriticalSection : IDisposable
    {
        const uint Infinite = uint.MaxValue;

        // The places of enters that need not wait are of interest, too.
        static readonly bool recorded = IsOn("HOSTCRST_HOLDS") || IsOn("HOSTCRST_ORDER");

        // What this thread was last called in reports.
        [ThreadStatic]
        static string? named;

        readonly SectionHandle handle;

        /// <summary>A new section. Reports show the name.</summary>
        public CriticalSection(string name)
        {
            if (name == null)
            {
                throw new ArgumentNullException(nameof(name));
            }
            Native.Start();
            HostException.Check("create", name, Native.hostcrst_create(out ulong section));
            handle = new SectionHandle(section, owned: true);
            HostException.Check("name", name, Native.hostcrst_set_name(section, Native.ZeroTerminated(name)));
        }

        CriticalSection(ulong section) => handle = new SectionHandle(section, owned: false);

        /// <summary>The section of a handle that C or another language has made, and ends.</summary>
        public static CriticalSection FromHandle(ulong section) => new CriticalSection(section);

        /// <summary>What other languages know the section by.</summary>
        public ulong Handle => handle.Section;

        /// <summary>Its name, as in reports.</summary>
        public string Name => Native.Name(name => Native.hostcrst_name(Handle, name, (nuint)name.Length, out _));

        /// <summary>How many threads are in the section's queue.</summary>
        public int Waiters => (int)Info.Waiters;

        /// <summary>Blocks until this thread owns the section, once more than before. Dispose the scope once.</summary>
        /// <exception cref="DeadlockException">This wait would have been the last of a deadlock.</exception>
        public Scope Enter([CallerMemberName] string member = "", [CallerFilePath] string file = "",
            [CallerLineNumber] int line = 0)
            => Enter(Infinite, member, file, line);

        /// <summary>Blocks no longer than the limit. Such a wait is no part of a deadlock.</summary>
        public Scope Enter(TimeSpan limit, [CallerMemberName] string member = "", [CallerFilePath] string file = "",
            [CallerLineNumber] int line = 0)
            => Enter(limit == Timeout.InfiniteTimeSpan ? Infinite : Milliseconds(limit), member, file, line);

        /// <summary>Enters, to be left by Leave, or says that another thread owns the section. Does not wait.</summary>
        public bool TryEnter()
        {
            NameThread();
            int result = Native.hostcrst_try_enter(Handle, 0, out int entered);
            Check("try to enter", result);
            GC.KeepAlive(this);
            return entered != 0;
        }

        /// <summary>Leaves the section once; only the thread that entered can.</summary>
        public void Leave()
        {
            int result = Native.hostcrst_leave(Handle);
            if (result < 0)
            {
                throw new HostException("leave", Name, result, result == HostException.NotOwner ? Owner : "");
            }
            GC.KeepAlive(this);
        }

        /// <summary>After Abandoned, takes over a section whose owner ended without leaving it.</summary>
        public Scope Recover()
        {
            NameThread();
            Check("recover", Native.hostcrst_recover(Handle));
            return new Scope(this);
        }

        /// <summary>
        /// Ends the section, unless it is of FromHandle. It must be free, abandoned, or owned by this thread; who waits
        /// for it gets Abandoned.
        /// </summary>
        public void Dispose()
        {
            if (handle.IsOwned && !handle.IsClosed)
            {
                Check("dispose", Native.hostcrst_destroy(Handle));
                handle.SetHandleAsInvalid();
            }
        }

        /// <summary>Writes who owns which section and who waits for it, as text, to a descriptor such as 2.</summary>
        public static void Report(int descriptor) =>
            HostException.Check("report", "", Native.host_report(descriptor, Native.Text));

        /// <summary>That of the library.</summary>
        public static string Version => Marshal.PtrToStringUTF8(Native.hostcrst_version())!;

        /// <summary>One success of entering. The compiler keeps it from async code, fields and other threads.</summary>
        public readonly ref struct Scope
        {
            readonly CriticalSection section;

            internal Scope(CriticalSection section) => this.section = section;

            /// <summary>Leaves the section once.</summary>
            public void Dispose() => section.Leave();
        }

        // Takes a section that is free without telling the place, which takes longer to find out than to enter.
        Scope Enter(uint milliseconds, string member, string file, int line)
        {
            NameThread();
            int entered = 0;
            int result = recorded ? 0 : Native.hostcrst_try_enter(Handle, 0, out entered);
            if (result >= 0 && entered == 0)
            {
                var place = Native.ZeroTerminated($"{member} ({Path.GetFileName(file)}:{line})");
                result = Native.hostcrst_enter_at(Handle, 0, milliseconds, place);
            }
            Check("enter", result);
            GC.KeepAlive(this);
            return new Scope(this);
        }

        static void NameThread()
        {
            var name = Thread.CurrentThread.Name;
            if (name != null && !ReferenceEquals(name, named) && Native.host_task_current(out ulong task) >= 0)
            {
                Native.host_task_set_name(task, Native.ZeroTerminated(name));
                named = name;
            }
        }

        Native.Info Info
        {
            get
            {
                var info = new Native.Info { Size = (uint)Marshal.SizeOf<Native.Info>() };
                Native.hostcrst_info(Handle, ref info);
                return info;
            }
        }

        string Owner
        {
            get
            {
                ulong owner = Info.Owner;
                var who = Native.Name(name => Native.host_task_name(owner, name, (nuint)name.Length, out _));
                return owner == 0 ? "; nobody owns it" : $"; it is owned by the thread \"{who}\"";
            }
        }

        // Rounded up, to no less than a try and no more than the longest limit there is.
        static uint Milliseconds(TimeSpan limit) =>
            (uint)Math.Ceiling(Math.Min(Math.Max(limit.TotalMilliseconds, 0), Infinite - 1));

        static bool IsOn(string variable) => Environment.GetEnvironmentVariable(variable) == "1";

        void Check(string what, int result)
        {
            if (result < 0)
            {
                HostException.Check(what, Name, result);
            }
        }
    }

    /// <summary>A call that failed; HResult says why: one of the constants of this class, or another.</summary>
    public class HostException : Exception
    {
        internal const int Deadlock = unchecked((int)0x80131020);
        public const int InvalidOperation = unchecked((int)0x80131022);
        public const int NotAvailable = unchecked((int)0x80131023);
        public const int TimedOut = unchecked((int)0x80131024);
        public const int NotOwner = unchecked((int)0x80131025);
        /// <summary>The owner's thread ended without leaving, see Recover; or the section was disposed of.</summary>
        public const int Abandoned = unchecked((int)0x80131026);
        /// <summary>There is no such section, or no longer.</summary>
        public const int NoSection = unchecked((int)0x80070006);

        internal HostException(string what, string section, int result, string detail = "")
            : base($"{what} \"{section}\": {Marshal.PtrToStringUTF8(Native.host_result_message(result))}{detail}") => HResult = result;

        internal static void Check(string what, string section, int result)
        {
            if (result < 0)
            {
                throw result == Deadlock ? new DeadlockException(what, section) : new HostException(what, section, result);
            }
        }
    }

    /// <summary>This wait would have closed a deadlock: leave what this thread owns, and try again.</summary>
    public sealed class DeadlockException : HostException
    {
        internal DeadlockException(string what, string section) : base(what, section, Deadlock) { }
    }

    // Ends a section that nobody disposed of. It does not keep one alive during a call: the handle of a section that
    // was destroyed is refused for ever, and whoever waits for it is to be told.
    sealed class SectionHandle : SafeHandle
    {
        internal SectionHandle(ulong section, bool owned) : base(IntPtr.Zero, owned)
        {
            IsOwned = owned;
            SetHandle(unchecked((IntPtr)(long)section));
        }

        internal bool IsOwned { get; }

        internal ulong Section => unchecked((ulong)(long)handle);

        public override bool IsInvalid => handle == IntPtr.Zero;

        // If a thread owns it, the section lives on: only that thread can leave it.
        protected override bool ReleaseHandle() => Native.hostcrst_destroy(Section) >= 0;
    }

    // hostcrst.h. What cannot block, nor call back, is called without telling the garbage collector.
    static class Native
    {
        const string Library = "hostcrst";
        const int NameSize = 57;
        const uint NotLoaded = 0;
        internal const uint Text = 0;

        [StructLayout(LayoutKind.Sequential)]
        internal struct Info
        {
            internal uint Size, State;
            internal ulong Owner;
            internal uint Recursion, Waiters, SpinCount, Reserved;
            internal ulong Contended;
        }

        [DllImport(Library), SuppressGCTransition]
        static extern int host_runtime_state(out uint state);

        [DllImport(Library)]
        static extern int host_runtime_start();

        [DllImport(Library)]
        internal static extern int hostcrst_create(out ulong section);

        [DllImport(Library)]
        internal static extern int hostcrst_set_name(ulong section, byte[] utf8);

        [DllImport(Library)]
        internal static extern int hostcrst_name(ulong section, byte[] utf8, nuint capacity, out nuint length);

        [DllImport(Library)]
        internal static extern int hostcrst_enter_at(ulong section, uint option, uint milliseconds, byte[] place);

        [DllImport(Library)]
        internal static extern int hostcrst_try_enter(ulong section, uint option, out int entered);

        [DllImport(Library)]
        internal static extern int hostcrst_leave(ulong section);

        [DllImport(Library)]
        internal static extern int hostcrst_recover(ulong section);

        [DllImport(Library)]
        internal static extern int hostcrst_destroy(ulong section);

        [DllImport(Library), SuppressGCTransition]
        internal static extern int hostcrst_info(ulong section, ref Info info);

        [DllImport(Library)]
        internal static extern int host_task_current(out ulong task);

        [DllImport(Library)]
        internal static extern int host_task_set_name(ulong task, byte[] utf8);

        [DllImport(Library)]
        internal static extern int host_task_name(ulong task, byte[] utf8, nuint capacity, out nuint length);

        [DllImport(Library)]
        internal static extern int host_report(int descriptor, uint format);

        [DllImport(Library), SuppressGCTransition]
        internal static extern IntPtr host_result_message(int result);

        [DllImport(Library), SuppressGCTransition]
        internal static extern IntPtr hostcrst_version();

        // Unless somebody has begun the runtime; if it was stopped since, that is the program's will.
        internal static void Start()
        {
            host_runtime_state(out uint state);
            if (state == NotLoaded)
            {
                HostException.Check("start", "", host_runtime_start());
            }
        }

        internal static byte[] ZeroTerminated(string text) => Encoding.UTF8.GetBytes(text + '\0');

        internal static string Name(Action<byte[]> read)
        {
            var name = new byte[NameSize];
            read(name);
            return Encoding.UTF8.GetString(name, 0, Array.IndexOf(name, (byte)0));
        }
    }
}
