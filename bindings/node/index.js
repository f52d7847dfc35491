// Critical sections that refuse deadlocks, for the threads of node: see README.md.
'use strict';

const { basename } = require('node:path');
const { isMainThread, threadId, threadName } = require('node:worker_threads');
const native = require('./hostcrst.node');

// Results that a program asks for by name, as error.code.
const NAMES = {
    0x8007000e: 'E_OUTOFMEMORY',
    0x80070006: 'E_HANDLE',
    0x80131020: 'HOST_E_DEADLOCK',
    0x80131021: 'HOST_E_INTERRUPTED',
    0x80131022: 'HOST_E_INVALIDOPERATION',
    0x80131023: 'HOST_E_CLRNOTAVAILABLE',
    0x80131024: 'HOST_E_TIMEOUT',
    0x80131025: 'HOST_E_NOT_OWNER',
    0x80131026: 'HOST_E_ABANDONED',
};
const INFINITE = 0xffffffff;

// Whether places of enters that need not wait are of interest, too.
const recorded = process.env.HOSTCRST_HOLDS === '1' || process.env.HOSTCRST_ORDER === '1';

/** A call that failed: `code` is the name of the result, such as 'HOST_E_DEADLOCK', `hresult` its number. */
class HostError extends Error {
    constructor(what, result, detail = '') {
        super(`${what}: ${native.message(result)}${detail}`);
        this.name = 'HostError';
        this.hresult = result;
        this.code = NAMES[result >>> 0] ?? `0x${(result >>> 0).toString(16)}`;
    }
}

function misuse(code, sentence) {
    return Object.assign(new TypeError(sentence), { code });
}

/** Owned by a thread, so by the main one or a Worker, and never by an async function. */
class CriticalSection {
    #handle;

    constructor(name) {
        this.#handle = typeof name === 'bigint' ? name : this.#create(text('name', name));
    }

    /** The section that another Worker's `handle` names: pass that as workerData or in a message. */
    static from(handle) {
        return new CriticalSection(BigInt(handle));
    }

    get handle() {
        return this.#handle;
    }

    get name() {
        return native.nameOf(this.#handle);
    }

    /** How many threads are in the section's queue. */
    get waiters() {
        return native.waiters(this.#handle);
    }

    /**
     * Blocks this thread until it owns the section; each success needs one leave().
     * `limit`, in milliseconds: after that, HOST_E_TIMEOUT. A wait with a limit is no part of a deadlock. On the main
     * thread there must be one; Infinity says that its event loop may stand still.
     */
    enter(options = {}) {
        if (typeof options !== 'object' || options === null) {
            throw new TypeError('options must be an object, such as { limit: 100 }, or be left out');
        }
        const { limit } = options;
        if (limit === undefined && isMainThread) {
            throw misuse('ERR_HOSTCRST_MAIN_THREAD', `enter "${this.name}": without a limit this could stop the event loop of ` +
                'the main thread. Give one in milliseconds (Infinity if it may stop), use tryEnter(), or enter in a Worker.');
        }
        const longest = milliseconds(limit);
        // A section that is free is taken without telling the place, which takes longer to find out than to enter.
        const result = recorded ? 0 : native.tryEnter(this.#handle);
        if (result === 1) return;
        this.#succeed('enter', result < 0 ? result : native.enter(this.#handle, longest, place()));
    }

    /** Whether this thread owns the section now, once more than before. Does not wait. */
    tryEnter() {
        const result = native.tryEnter(this.#handle);
        if (result < 0) this.#succeed('try to enter', result);
        return result === 1;
    }

    leave() {
        const result = native.leave(this.#handle);
        if (result < 0) {
            const owner = native.ownerName(this.#handle);
            const detail = owner === null ? '; nobody owns it' : `; it is owned by the thread "${owner}"`;
            throw new HostError(`leave "${this.name}"`, result, NAMES[result >>> 0] === 'HOST_E_NOT_OWNER' ? detail : '');
        }
    }

    /** Enters, calls `work`, leaves. What it does asynchronously is not protected, so it must not return a promise. */
    run(work, options) {
        this.enter(options);
        let result;
        try {
            result = work();
        } finally {
            this.leave();
        }
        if (typeof result?.then === 'function') {
            throw misuse('ERR_HOSTCRST_ASYNC', `run "${this.name}": the owner is this thread, and the section is left already. ` +
                'Other async functions of the thread would have entered, too: no section can be owned across an await.');
        }
        return result;
    }

    /** After HOST_E_ABANDONED, takes over a section whose owner's thread ended without leaving it. */
    recover() {
        this.#succeed('recover', native.recover(this.#handle));
    }

    /** Ends the section: free, abandoned, or owned by this thread. Who waits for it gets HOST_E_ABANDONED. */
    close() {
        this.#succeed('close', native.destroy(this.#handle));
    }

    #create(name) {
        start();
        const handle = native.create(name);
        if (typeof handle !== 'bigint') throw new HostError(`create "${name}"`, handle);
        return handle;
    }

    #succeed(what, result) {
        if (result < 0) throw new HostError(`${what} "${this.name}"`, result);
    }
}

/** Where the caller of this module is: "sell (shop.js:12)"; with node's --frozen-intrinsics nobody can find that out. */
function place() {
    if (Object.isFrozen(Error)) return '';
    const { prepareStackTrace, stackTraceLimit } = Error;
    try {
        Error.stackTraceLimit = 16;
        Error.prepareStackTrace = (_, sites) => sites.find((site) => site.getFileName() !== __filename);
        const site = new Error().stack;
        if (!site) return '';
        return `${site.getFunctionName() ?? '<anonymous>'} (${basename(site.getFileName() ?? '')}:${site.getLineNumber()})`;
    } finally {
        Object.assign(Error, { prepareStackTrace, stackTraceLimit });
    }
}

/** An argument that must be a string: one left out would be called "undefined" in reports. */
function text(argument, value) {
    if (typeof value !== 'string') throw new TypeError(`${argument} must be a string`);
    return value;
}

/** A limit as the library takes it: rounded up, and no longer than the longest. */
function milliseconds(limit = Infinity) {
    if (typeof limit !== 'number' || Number.isNaN(limit)) throw new TypeError('limit must be a number of milliseconds');
    return limit === Infinity ? INFINITE : Math.min(Math.max(Math.ceil(limit), 0), INFINITE - 1);
}

function start() {
    const result = native.start();
    if (result < 0) throw new HostError('start', result);
}

/** Names this thread in reports; otherwise it is "main" or "worker 1". */
function nameThread(name) {
    start();
    const result = native.nameThread(text('name', name));
    if (result < 0) throw new HostError('name the thread', result);
}

/** Writes who owns which section and who waits for it, as text, to a descriptor. */
function report(fd = 2) {
    if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff) throw new TypeError('fd must be a file descriptor, from 0 on');
    const result = native.report(fd);
    if (result < 0) throw new HostError('report', result);
}

/**
 * The end of the process joins the Workers, which may wait for what this thread owns. A listener of 'exit' is not always
 * asked: another one throws or exits first, or what an uncaught error is told to does. These are all of node's own ways there.
 */
function endWaitsAtExit() {
    const { emit, reallyExit, _fatalException } = process;
    process.emit = function (event, ...values) {
        try {
            return Reflect.apply(emit, this, [event, ...values]);
        } finally {
            if (event === 'exit') native.endWaits();
        }
    };
    process.reallyExit = function (...values) {
        native.endWaits();
        return Reflect.apply(reallyExit, this, values);
    };
    process._fatalException = function (...values) {
        let handled = false;
        try {
            return (handled = Reflect.apply(_fatalException, this, values));
        } finally {
            if (!handled) native.endWaits();
        }
    };
}

if (isMainThread) endWaitsAtExit();

nameThread(isMainThread ? 'main' : threadName || `worker ${threadId}`);

module.exports = { CriticalSection, HostError, nameThread, report, version: native.version() };
