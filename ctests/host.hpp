// The library as C++ code would use it: RAII owners of sections and entries, transitions as scopes, std::thread.
#ifndef HOST_HPP
#define HOST_HPP

#include "host.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

class Section {
public:
    Section() : handle(new_section()) {}
    ~Section() { CHECK_EQ(hostcrst_destroy(handle), S_OK); }
    Section(const Section &) = delete;
    Section &operator=(const Section &) = delete;

    // What std::lock_guard and std::unique_lock ask for.
    void lock() { REQUIRE_EQ(hostcrst_enter(handle, 0), S_OK); }
    void unlock() { CHECK_EQ(hostcrst_leave(handle), S_OK); }
    bool try_lock()
    {
        int32_t entered = 0;
        REQUIRE_EQ(hostcrst_try_enter(handle, 0, &entered), S_OK);
        return entered != 0;
    }

    const hostcrst_t handle;
};

// Managed code calls native code, for the time of a scope.
class NativeCall {
public:
    explicit NativeCall(size_t target) { REQUIRE_EQ(host_leave_runtime(target), S_OK); }
    ~NativeCall() { CHECK_EQ(host_enter_runtime(), S_OK); }
    NativeCall(const NativeCall &) = delete;
    NativeCall &operator=(const NativeCall &) = delete;
};

// Native code calls managed code, for the time of a scope.
class ManagedCall {
public:
    ManagedCall() { REQUIRE_EQ(host_reverse_enter_runtime(), S_OK); }
    ~ManagedCall() { CHECK_EQ(host_reverse_leave_runtime(), S_OK); }
    ManagedCall(const ManagedCall &) = delete;
    ManagedCall &operator=(const ManagedCall &) = delete;
};

#endif
