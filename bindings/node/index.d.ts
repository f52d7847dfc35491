/** A call that failed. */
export class HostError extends Error {
    /** The name of the result, such as 'HOST_E_DEADLOCK'; where it has none here, its number in hexadecimal. */
    readonly code: string;
    /** The result, as the C functions return it. */
    readonly hresult: number;
}

/** How long to wait. */
export interface EnterOptions {
    /** Milliseconds; on the main thread there must be a limit, of which Infinity is one. Without one the wait may be for ever. */
    limit?: number;
}

/** Owned by a thread, so by the main one or a Worker, and never by an async function. */
export class CriticalSection {
    /** A new section, which reports show under the name; or the one of a handle. */
    constructor(name: string | bigint);

    /** The section that another Worker's `handle` names: pass that as workerData or in a message. */
    static from(handle: bigint | number | string): CriticalSection;

    readonly handle: bigint;
    readonly name: string;
    /** How many threads are in the section's queue. */
    readonly waiters: number;

    /** Blocks this thread until it owns the section; each success needs one leave(). */
    enter(options?: EnterOptions): void;

    /** Whether this thread owns the section now, once more than before. Does not wait. */
    tryEnter(): boolean;

    leave(): void;

    /** Enters, calls `work`, leaves. `work` is not async: no section can be owned across an await. */
    run<T>(work: () => T extends PromiseLike<unknown> ? never : T, options?: EnterOptions): T;

    /** After HOST_E_ABANDONED, takes over a section whose owner's thread ended without leaving it. */
    recover(): void;

    /** Ends the section: free, abandoned, or owned by this thread. Who waits for it gets HOST_E_ABANDONED. */
    close(): void;
}

/** Names this thread in reports; otherwise it is "main" or "worker 1". */
export function nameThread(name: string): void;

/** Writes who owns which section and who waits for it, as text, to a descriptor: 2 unless one is given. */
export function report(fd?: number): void;

export const version: string;
