// What index.d.ts declares, used; an error that a line is marked to have, and has not, is one.
import { CriticalSection, HostError, nameThread, report, version } from './index';

const orders = new CriticalSection('orders');
const same: CriticalSection = CriticalSection.from(orders.handle);
const sum: number = orders.run(() => 1 + same.waiters, { limit: Infinity });
nameThread(`${orders.name} ${version} ${sum}`);
if (orders.tryEnter()) orders.leave();
try {
    orders.enter({ limit: 1000 });
} catch (error) {
    if (error instanceof HostError && error.code === 'HOST_E_ABANDONED') orders.recover();
}
report();
orders.close();

// @ts-expect-error: no section is owned across an await.
orders.run(async () => 1);
// @ts-expect-error: a limit is a number.
orders.enter({ limit: '1000' });
// @ts-expect-error: a handle is asked for, not set.
orders.handle = BigInt(1);
