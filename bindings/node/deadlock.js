// Two threads take two sections, each in its own order. One is refused, and both go on.
'use strict';
const assert = require('node:assert');
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const { CriticalSection } = require('./index.js');

if (isMainThread) {
    const orders = new CriticalSection('orders');
    const stock = new CriticalSection('stock');
    orders.enter({ limit: Infinity }); // a script with nothing else to do: its event loop may stand still
    const restock = new Worker(__filename, { workerData: [orders.handle, stock.handle] });
    restock.on('online', () => {
        while (orders.waiters === 0); // busy for a moment, until the worker waits
        assert.throws(() => stock.enter({ limit: Infinity }), { code: 'HOST_E_DEADLOCK' });
        orders.leave();
    });
    restock.on('exit', () => {
        stock.run(() => console.log('refused: deadlock; both went on'), { limit: Infinity });
    });
} else {
    const [orders, stock] = workerData.map(CriticalSection.from);
    stock.run(() => orders.run(() => {})); // the main thread is refused, and leaves: this one goes on
}
