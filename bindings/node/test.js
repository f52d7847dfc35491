// test.js: run by test.sh in a folder where hostcrst.node was built.
'use strict';
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const { Worker } = require('node:worker_threads');
const { CriticalSection, HostError, nameThread, report, version } = require('./index.js');

// Workers run one of these: they get the sections of `sections` in the order of their names.
const inWorkers = {
    count(shared, counter) {
        for (let round = 0; round < 2000; round++) shared.run(() => { counter[0] = counter[0] + 1; });
    },
    leave(shared) {
        assert.throws(() => shared.leave(), (error) => error.code === 'HOST_E_NOT_OWNER' &&
            error.message.endsWith('; it is owned by the thread "main"'));
    },
    end(shared) {
        shared.enter();
    },
    expire(shared) {
        const begun = process.hrtime.bigint();
        assert.throws(() => shared.enter({ limit: 60 }), { code: 'HOST_E_TIMEOUT' });
        assert.ok(process.hrtime.bigint() - begun >= 60_000_000n);
    },
    wait(shared) {
        assert.throws(function waits() { shared.enter(); }, { code: 'HOST_E_ABANDONED' });
    },
};

function worker(work, shared, counter) {
    const source = `
        const { workerData } = require('node:worker_threads');
        const assert = require('node:assert');
        const { CriticalSection } = require(${JSON.stringify(path.join(__dirname, 'index.js'))});
        const { shared, counter } = workerData;
        (function ${inWorkers[work]})(CriticalSection.from(shared), counter);`;
    const started = new Worker(source, { eval: true, workerData: { shared: shared.handle, counter } });
    return new Promise((resolve, reject) => started.on('error', reject).on('exit', resolve));
}

function reportText() {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'hostcrst-')), 'report');
    const fd = fs.openSync(file, 'w');
    report(fd);
    fs.closeSync(fd);
    const text = fs.readFileSync(file, 'utf8');
    fs.rmSync(path.dirname(file), { recursive: true });
    return text;
}

test('one thread at a time', async () => {
    const shared = new CriticalSection('shared');
    const counter = new Float64Array(new SharedArrayBuffer(8));
    await Promise.all([1, 2, 3].map(() => worker('count', shared, counter)));
    assert.strictEqual(counter[0], 6000);
});

test('the main thread does not block without being told to', () => {
    const free = new CriticalSection('free');
    assert.throws(() => free.enter(), { code: 'ERR_HOSTCRST_MAIN_THREAD' });
    assert.throws(() => free.leave(), (error) => error instanceof HostError && error.code === 'HOST_E_NOT_OWNER' &&
        error.message.endsWith('the calling task does not own the section; nobody owns it'));
    free.enter({ limit: 0 });
    assert.ok(free.tryEnter());
    free.leave();
    free.leave();
    assert.throws(() => free.enter({ limit: 'soon' }), TypeError);
    assert.throws(() => free.enter({ limit: NaN }), TypeError);
});

test('a wrong argument is named', () => {
    const free = new CriticalSection('free');
    for (const name of [undefined, null, 5, {}]) {
        assert.throws(() => new CriticalSection(name), { name: 'TypeError', message: 'name must be a string' });
        assert.throws(() => nameThread(name), { name: 'TypeError', message: 'name must be a string' });
    }
    for (const options of [5, null, 'soon']) {
        assert.throws(() => free.enter(options), { name: 'TypeError', message: /^options must be an object/ });
    }
    for (const fd of [-1, 1.5, 2 ** 32 + 1, 'x', null]) {
        assert.throws(() => report(fd), { name: 'TypeError', message: /^fd must be a file descriptor/ });
    }
    assert.throws(() => free.leave(), { code: 'HOST_E_NOT_OWNER' });
});

test('no section is owned across an await', async () => {
    const free = new CriticalSection('free');
    assert.throws(() => free.run(async () => {}, { limit: 0 }), { code: 'ERR_HOSTCRST_ASYNC' });
    assert.throws(() => free.leave(), { code: 'HOST_E_NOT_OWNER' });
    assert.throws(() => free.run(() => { throw new RangeError('mine'); }, { limit: 0 }), RangeError);
    assert.throws(() => free.leave(), { code: 'HOST_E_NOT_OWNER' });
    assert.strictEqual(free.run(() => 7, { limit: 0 }), 7);
});

test('only the owner leaves', async () => {
    const owned = new CriticalSection('owned');
    owned.enter({ limit: 0 });
    await worker('leave', owned);
    owned.leave();
});

test('a Worker that ends abandons what it owns', async () => {
    const left = new CriticalSection('left');
    await worker('end', left);
    assert.throws(() => left.enter({ limit: 0 }), { code: 'HOST_E_ABANDONED' });
    left.recover();
    left.leave();
    assert.throws(() => left.recover(), { code: 'HOST_E_INVALIDOPERATION' });
});

// How the main thread can end while it owns what a Worker waits for, and the exit code. `first` runs before the binding is
// loaded, so that what it listens to comes first.
const throws = "() => { throw new Error('thrown at the end'); }";
const ends = [
    { way: 'process.exit(3)', code: 3 },
    { way: 'process.exit(3)', options: '{ limit: 1e8 }', code: 3 },
    { way: 'throw new Error("uncaught")', code: 1 },
    { way: 'process.reallyExit(3)', code: 3 },
    { first: `process.on('exit', ${throws})`, way: 'process.exit(3)', code: 3 },
    { first: `process.on('exit', ${throws})`, way: 'throw new Error("uncaught")', code: 1 },
    { first: "process.on('exit', () => process.exit(3))", way: 'process.exit(4)', code: 3 },
    { way: `process.prependListener('exit', ${throws}); process.exit(3)`, code: 3 },
    { way: "process.removeAllListeners('exit'); process.exitCode = 3; waiter.unref(); clearInterval(looks)", code: 3 },
    {
        first: `process.on('uncaughtException', () => {}); process.on('exit', ${throws})`,
        way: 'process.exitCode = 3; waiter.unref(); clearInterval(looks)',
        code: 3,
    },
    { first: `process.on('uncaughtException', ${throws})`, way: 'throw new Error("uncaught")', code: 7 },
];
for (const { first = '', way, options = '', code } of ends) {
    test(`the process ends while a Worker waits: ${first && `${first}; `}${way}${options && `, ${options}`}`, () => {
        const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'hostcrst-')), 'ends.js');
        fs.writeFileSync(file, `
            const { Worker, isMainThread, workerData } = require('node:worker_threads');
            if (isMainThread) { ${first} }
            const { CriticalSection } = require(${JSON.stringify(path.join(__dirname, 'index.js'))});
            if (isMainThread) {
                const owned = new CriticalSection('owned');
                owned.enter({ limit: 0 });
                const waiter = new Worker(__filename, { workerData: owned.handle });
                const looks = setInterval(() => { if (owned.waiters === 1) { ${way}; } }, 1);
            } else {
                CriticalSection.from(workerData).enter(${options});
            }`);
        const ended = spawnSync(process.execPath, [file], { timeout: 60000 });
        fs.rmSync(path.dirname(file), { recursive: true });
        assert.deepStrictEqual([ended.signal, ended.status], [null, code], String(ended.stderr));
    });
}

test('a listener at the end waits for a Worker as ever', () => {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'hostcrst-')), 'listens.js');
    fs.writeFileSync(file, `
        const { Worker, isMainThread, workerData } = require('node:worker_threads');
        const { CriticalSection } = require(${JSON.stringify(path.join(__dirname, 'index.js'))});
        if (isMainThread) {
            const [busy, gate] = [new CriticalSection('busy'), new CriticalSection('gate')];
            gate.enter({ limit: 0 });
            new Worker(__filename, { workerData: [busy.handle, gate.handle] });
            process.on('exit', () => {
                gate.leave();
                busy.enter({ limit: Infinity });
                console.log('entered');
            });
            setInterval(() => { if (gate.waiters === 1) process.exit(3); }, 1);
        } else {
            const [busy, gate] = workerData.map(CriticalSection.from);
            busy.run(() => gate.run(() => {}));
        }`);
    const ended = spawnSync(process.execPath, [file], { timeout: 60000 });
    fs.rmSync(path.dirname(file), { recursive: true });
    assert.deepStrictEqual([String(ended.stdout), ended.status], ['entered\n', 3], String(ended.stderr));
});

test('a wait ends at its limit, and not before', async () => {
    const owned = new CriticalSection('owned');
    owned.enter({ limit: 0 });
    await worker('expire', owned);
    owned.leave();
});

test('reports name threads; who waits for a section that is closed gets an error', async () => {
    const stock = new CriticalSection('stock');
    stock.enter({ limit: 0 });
    const waits = worker('wait', stock);
    while (stock.waiters === 0) await new Promise(setImmediate);
    const text = reportText();
    stock.close();
    await waits;
    assert.match(text, /^"main" tid=/m);
    assert.match(text, /^"worker \d+" tid=[^]*waiting to enter 0x[0-9a-f]+ "stock" at waits \(\[worker eval\]:\d+\)/m);
    if (process.env.HOSTCRST_HOLDS === '1') {
        assert.match(text, /owns 0x[0-9a-f]+ "stock" recursion=1, entered at \S+ \(test\.js:\d+\)/);
    }
    assert.throws(() => stock.tryEnter(), { code: 'E_HANDLE' });
});

test('a wait needs no place, where none can be found out', () => {
    const source = `
        const { CriticalSection } = require(${JSON.stringify(path.join(__dirname, 'index.js'))});
        const owned = new CriticalSection('owned');
        owned.run(() => {}, { limit: 0 });
        process.exitCode = 3;`;
    const ended = spawnSync(process.execPath, ['--frozen-intrinsics', '-e', source], {
        timeout: 60000,
        env: { ...process.env, HOSTCRST_HOLDS: '1' },
    });
    assert.strictEqual(ended.status, 3, String(ended.stderr));
});

test('handles that are none', () => {
    const section = new CriticalSection('Bestellungen: 20 €');
    for (const handle of [0n, 1n, -1n, section.handle + 2n ** 64n]) {
        assert.throws(() => CriticalSection.from(handle).enter({ limit: 0 }), { code: 'E_HANDLE' });
    }
    assert.strictEqual(CriticalSection.from(section.handle).name, 'Bestellungen: 20 €');
    assert.match(version, /^\d+\.\d+\.\d+$/);
});
