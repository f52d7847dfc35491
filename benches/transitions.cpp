// From managed code to native code and back, beside CPython's release and acquisition of its GIL.
#include "locks.h"
#include "subjects.h"
#include "uncontended.h"

#include <Python.h>
#include <hostcrst.h>

namespace bench {

static const unsigned count = 50000;

static std::vector<Metric> call_out()
{
    return ns_for_each(count, [] {
        host_leave_runtime(0x1000);
        host_enter_runtime();
    });
}

static std::vector<Metric> call_out_and_back_in()
{
    return ns_for_each(count, [] {
        host_leave_runtime(0x1000);
        host_reverse_enter_runtime();
        host_reverse_leave_runtime();
        host_enter_runtime();
    });
}

// CPython's state is that of the thread which started it: the one that measures.
static void start_python()
{
    if (!Py_IsInitialized()) {
        Py_InitializeEx(0);
    }
}

static std::vector<Metric> python_call_out()
{
    start_python();
    return ns_for_each(count, [] { PyEval_RestoreThread(PyEval_SaveThread()); });
}

static std::vector<Metric> python_call_out_and_back_in()
{
    start_python();
    return ns_for_each(count, [] {
        PyThreadState *out = PyEval_SaveThread();
        PyGILState_Release(PyGILState_Ensure());
        PyEval_RestoreThread(out);
    });
}

template <int calls> std::vector<Metric> empty_calls()
{
    return ns_for_each(count, [] {
        for (int call = 0; call < calls; call++) {
            peer_empty_enter(nullptr);
        }
    });
}

std::vector<Row> transition_rows()
{
    const int rounds = quick ? 9 : 21;
    return {
        {"transition", rounds, {
            {"hostcrst", call_out},
            {"CPython", python_call_out},
            {GlibcRecursive::name, pair<GlibcRecursive>},
            {"empty calls", empty_calls<2>},
        }},
        {"nested transitions", rounds, {
            {"hostcrst", call_out_and_back_in},
            {"CPython", python_call_out_and_back_in},
            {"empty calls", empty_calls<4>},
        }},
    };
}

} // namespace bench
