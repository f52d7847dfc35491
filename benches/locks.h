// The locks that are compared: each a type with a name and what a user would write to make, enter and leave
// one. `recursive`: the owner may enter again. `queues`: waits in a way of its own, so contention is worth
// measuring.
#ifndef BENCH_LOCKS_H
#define BENCH_LOCKS_H

#include <hostcrst.h>

#include <absl/synchronization/mutex.h>
#include <nsync.h>
#include <pthread.h>
#include <winpr/synch.h>

#include <mutex>

// Called as hostcrst.h has its functions called: what stands behind an interface of ours pays no more for it.
extern "C" {
HOSTCRST_API void hostcrst_cs_initialize(CRITICAL_SECTION *);
HOSTCRST_API void hostcrst_cs_enter(CRITICAL_SECTION *);
HOSTCRST_API void hostcrst_cs_leave(CRITICAL_SECTION *);
HOSTCRST_API void hostcrst_cs_delete(CRITICAL_SECTION *);
HOSTCRST_API void *peer_pl_reentrant_create();
HOSTCRST_API void peer_pl_reentrant_destroy(void *);
HOSTCRST_API void peer_pl_reentrant_enter(void *);
HOSTCRST_API void peer_pl_reentrant_leave(void *);
HOSTCRST_API void *peer_pl_create();
HOSTCRST_API void peer_pl_destroy(void *);
HOSTCRST_API void peer_pl_enter(void *);
HOSTCRST_API void peer_pl_leave(void *);
HOSTCRST_API void *peer_std_create();
HOSTCRST_API void peer_std_destroy(void *);
HOSTCRST_API void peer_std_enter(void *);
HOSTCRST_API void peer_std_leave(void *);
HOSTCRST_API void peer_empty_enter(void *);
HOSTCRST_API void peer_empty_leave(void *);
}

namespace bench {

struct Hostcrst {
    static constexpr const char *name = "hostcrst";
    static constexpr bool recursive = true, queues = true, is_handle = true;
    hostcrst_t section;
    Hostcrst() { hostcrst_create(&section); }
    ~Hostcrst() { hostcrst_destroy(section); }
    void enter() { hostcrst_enter(section, 0); }
    void leave() { hostcrst_leave(section); }
};

template <int type, int robust> struct Pthread {
    pthread_mutex_t mutex;
    Pthread()
    {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_settype(&attributes, type);
        pthread_mutexattr_setrobust(&attributes, robust);
        pthread_mutex_init(&mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    ~Pthread() { pthread_mutex_destroy(&mutex); }
    void enter() { pthread_mutex_lock(&mutex); }
    void leave() { pthread_mutex_unlock(&mutex); }
};

struct GlibcRecursive : Pthread<PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED> {
    static constexpr const char *name = "glibc recursive";
    static constexpr bool recursive = true, queues = true;
};

struct GlibcAdaptive : Pthread<PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_MUTEX_STALLED> {
    static constexpr const char *name = "glibc adaptive";
    static constexpr bool recursive = false, queues = true;
};

struct GlibcRobust : Pthread<PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST> {
    static constexpr const char *name = "glibc robust";
    static constexpr bool recursive = true, queues = false;
};

struct StdRecursive {
    static constexpr const char *name = "std::recursive_mutex";
    static constexpr bool recursive = true, queues = false;
    std::recursive_mutex mutex;
    void enter() { mutex.lock(); }
    void leave() { mutex.unlock(); }
};

struct Winpr {
    static constexpr const char *name = "WinPR";
    static constexpr bool recursive = true, queues = true;
    CRITICAL_SECTION section;
    Winpr() { InitializeCriticalSection(&section); }
    ~Winpr() { DeleteCriticalSection(&section); }
    void enter() { EnterCriticalSection(&section); }
    void leave() { LeaveCriticalSection(&section); }
};

// The same type, and our functions for it.
struct HostcrstWin32 {
    static constexpr const char *name = "hostcrst CRITICAL_SECTION";
    static constexpr bool recursive = true, queues = true;
    CRITICAL_SECTION section;
    HostcrstWin32() { hostcrst_cs_initialize(&section); }
    ~HostcrstWin32() { hostcrst_cs_delete(&section); }
    void enter() { hostcrst_cs_enter(&section); }
    void leave() { hostcrst_cs_leave(&section); }
};

struct Nsync {
    static constexpr const char *name = "nsync";
    static constexpr bool recursive = false, queues = true;
    nsync::nsync_mu mutex = NSYNC_MU_INIT;
    void enter() { nsync::nsync_mu_lock(&mutex); }
    void leave() { nsync::nsync_mu_unlock(&mutex); }
};

struct Absl {
    static constexpr const char *name = "absl::Mutex";
    static constexpr bool recursive = false, queues = true;
    absl::Mutex mutex;
    void enter() { mutex.Lock(); }
    void leave() { mutex.Unlock(); }
};

struct ParkingLotReentrant {
    static constexpr const char *name = "parking_lot reentrant";
    static constexpr bool recursive = true, queues = true;
    void *lock = peer_pl_reentrant_create();
    ~ParkingLotReentrant() { peer_pl_reentrant_destroy(lock); }
    void enter() { peer_pl_reentrant_enter(lock); }
    void leave() { peer_pl_reentrant_leave(lock); }
};

struct ParkingLot {
    static constexpr const char *name = "parking_lot Mutex";
    static constexpr bool recursive = false, queues = false;
    void *lock = peer_pl_create();
    ~ParkingLot() { peer_pl_destroy(lock); }
    void enter() { peer_pl_enter(lock); }
    void leave() { peer_pl_leave(lock); }
};

struct RustStd {
    static constexpr const char *name = "Rust std Mutex";
    static constexpr bool recursive = false, queues = true;
    void *lock = peer_std_create();
    ~RustStd() { peer_std_destroy(lock); }
    void enter() { peer_std_enter(lock); }
    void leave() { peer_std_leave(lock); }
};

// The floor of every C interface: two calls of functions that do nothing.
struct EmptyCalls {
    static constexpr const char *name = "empty calls";
    static constexpr bool recursive = true, queues = false;
    void *lock = nullptr;
    void enter() { peer_empty_enter(lock); }
    void leave() { peer_empty_leave(lock); }
};

// What the loop itself costs.
struct NoLock {
    static constexpr const char *name = "no lock";
    static constexpr bool recursive = true, queues = false;
    void enter() {}
    void leave() {}
};

} // namespace bench

#endif
