/* A C extension of CPython whose functions enter a section, and tell of the interpreter's lock (the GIL): a deadlock of the
 * two is found at its last wait, whichever that is for, and becomes an exception. See demo.py.
 *
 * The interpreter passes its lock from thread to thread between two instructions of Python, of which nobody tells. So it is
 * told only within a function of the extension, which holds the lock from its beginning to its end but where it says
 * otherwise. A thread outside of such a function waits for no section.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <hostcrst.h>
#include <sched.h>

static host_resource_t gil;
static hostcrst_t stock;

/* ---- the interpreter's lock, with what is told of it ---- */

static PyThreadState *let_go_of_gil(void)
{
    host_resource_released(gil); /* before it is unlocked */
    return PyEval_SaveThread();
}

static void take_gil(PyThreadState *thread)
{
    PyEval_RestoreThread(thread);
    host_resource_acquired(gil); /* after it was locked */
}

/* HOST_E_DEADLOCK: the lock was not taken. */
static int32_t try_to_take_gil(PyThreadState *thread)
{
    int32_t hr = host_resource_wait(gil, 0); /* before it blocks */
    if (hr != HOST_E_DEADLOCK) take_gil(thread);
    return hr;
}

static PyObject *outcome(int32_t hr)
{
    host_resource_released(gil); /* the function ends, and Python goes on */
    if (hr < 0) return PyErr_Format(PyExc_RuntimeError, "%s", host_result_message(hr));
    Py_RETURN_NONE;
}

/* ---- the demonstration: each waits for what the other owns, the one that is asked to after the other ---- */

static int keeper_owns_stock, seller_has_gil;
static host_task_t keeper, seller;

static void await_flag(int *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) sched_yield();
}

static void await_wait(host_task_t *task, uint64_t awaited)
{
    host_task_info_t info;
    do {
        sched_yield();
        info.size = sizeof info;
    } while (host_task_info(__atomic_load_n(task, __ATOMIC_ACQUIRE), &info) < 0 || info.waiting_for != awaited);
}

/* Holds the interpreter's lock and enters the section: the mistake. */
static PyObject *sell(PyObject *module, PyObject *is_last)
{
    host_task_t self;
    (void)module;
    host_task_current(&self);
    host_task_set_name(self, "seller");
    __atomic_store_n(&seller, self, __ATOMIC_RELEASE);
    PyThreadState *thread = PyEval_SaveThread();
    await_flag(&keeper_owns_stock);
    take_gil(thread);
    __atomic_store_n(&seller_has_gil, 1, __ATOMIC_RELEASE);
    if (is_last == Py_True) await_wait(&keeper, gil);
    int32_t hr = hostcrst_enter(stock, 0);
    if (hr >= 0) hostcrst_leave(stock);
    __atomic_store_n(&seller_has_gil, 0, __ATOMIC_RELEASE);
    return outcome(hr);
}

/* Lets go of the interpreter's lock, enters the section, and wants the lock back before it leaves. */
static PyObject *keep(PyObject *module, PyObject *is_last)
{
    host_task_t self;
    (void)module;
    host_resource_acquired(gil); /* the caller has it */
    host_task_current(&self);
    host_task_set_name(self, "keeper");
    __atomic_store_n(&keeper, self, __ATOMIC_RELEASE);
    PyThreadState *thread = let_go_of_gil();
    int32_t hr = hostcrst_enter(stock, 0);
    __atomic_store_n(&keeper_owns_stock, 1, __ATOMIC_RELEASE);
    await_flag(&seller_has_gil);
    if (is_last == Py_True) await_wait(&seller, stock);
    int32_t taken = try_to_take_gil(thread);
    hostcrst_leave(stock);
    __atomic_store_n(&keeper_owns_stock, 0, __ATOMIC_RELEASE);
    if (taken == HOST_E_DEADLOCK) {
        take_gil(thread); /* nobody waits for this thread any more */
    }
    return outcome(hr < 0 ? hr : taken);
}

static PyMethodDef functions[] = {
    {"sell", sell, METH_O, "Enters the section while it holds the interpreter's lock."},
    {"keep", keep, METH_O, "Takes the interpreter's lock while it owns the section."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "stock", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_stock(void)
{
    if (host_runtime_start() < 0 || hostcrst_create(&stock) < 0 || host_resource_create(&gil) < 0) {
        PyErr_SetString(PyExc_ImportError, "hostcrst does not start");
        return NULL;
    }
    hostcrst_set_name(stock, "stock");
    host_resource_set_name(gil, "GIL");
    return PyModule_Create(&definition);
}
