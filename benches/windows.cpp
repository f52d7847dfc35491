// Windows' SRW locks and waits on addresses, beside what one would use instead.
#include "shared.h"

#include <hostcrst.h>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

// Called as hostcrst.h has its functions called.
extern "C" {
HOSTCRST_API void hostcrst_srw_acquire_exclusive(void **);
HOSTCRST_API void hostcrst_srw_release_exclusive(void **);
HOSTCRST_API void hostcrst_srw_acquire_shared(void **);
HOSTCRST_API void hostcrst_srw_release_shared(void **);
HOSTCRST_API int32_t hostcrst_address_wait(volatile void *, void *, size_t, uint32_t);
HOSTCRST_API void hostcrst_address_wake(void *);
HOSTCRST_API void *peer_pl_rw_create();
HOSTCRST_API void peer_pl_rw_destroy(void *);
HOSTCRST_API void peer_pl_rw_own(void *);
HOSTCRST_API void peer_pl_rw_disown(void *);
HOSTCRST_API void peer_pl_rw_share(void *);
HOSTCRST_API void peer_pl_rw_unshare(void *);
HOSTCRST_API void *peer_std_rw_create();
HOSTCRST_API void peer_std_rw_destroy(void *);
HOSTCRST_API void peer_std_rw_own(void *);
HOSTCRST_API void peer_std_rw_disown(void *);
HOSTCRST_API void peer_std_rw_share(void *);
HOSTCRST_API void peer_std_rw_unshare(void *);
HOSTCRST_API void peer_pl_address_wait(const std::atomic<uint32_t> *, uint32_t);
HOSTCRST_API void peer_pl_address_wake(const std::atomic<uint32_t> *);
}

namespace bench {

struct HostcrstSrw {
    static constexpr const char *name = "hostcrst";
    void *word = nullptr;
    void own() { hostcrst_srw_acquire_exclusive(&word); }
    void disown() { hostcrst_srw_release_exclusive(&word); }
    void share() { hostcrst_srw_acquire_shared(&word); }
    void unshare() { hostcrst_srw_release_shared(&word); }
};

struct PthreadRwlock {
    static constexpr const char *name = "pthread rwlock";
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    ~PthreadRwlock() { pthread_rwlock_destroy(&lock); }
    void own() { pthread_rwlock_wrlock(&lock); }
    void disown() { pthread_rwlock_unlock(&lock); }
    void share() { pthread_rwlock_rdlock(&lock); }
    void unshare() { pthread_rwlock_unlock(&lock); }
};

struct ParkingLotRw {
    static constexpr const char *name = "parking_lot RwLock";
    void *lock = peer_pl_rw_create();
    ~ParkingLotRw() { peer_pl_rw_destroy(lock); }
    void own() { peer_pl_rw_own(lock); }
    void disown() { peer_pl_rw_disown(lock); }
    void share() { peer_pl_rw_share(lock); }
    void unshare() { peer_pl_rw_unshare(lock); }
};

struct RustStdRw {
    static constexpr const char *name = "Rust std RwLock";
    void *lock = peer_std_rw_create();
    ~RustStdRw() { peer_std_rw_destroy(lock); }
    void own() { peer_std_rw_own(lock); }
    void disown() { peer_std_rw_disown(lock); }
    void share() { peer_std_rw_share(lock); }
    void unshare() { peer_std_rw_unshare(lock); }
};

typedef std::atomic<uint32_t> Word;

struct HostcrstAddress {
    static void wait(Word &word, uint32_t undesired)
    {
        hostcrst_address_wait(&word, &undesired, sizeof undesired, UINT32_MAX);
    }
    static void wake(Word &word) { hostcrst_address_wake(&word); }
};

struct Futex {
    static void wait(Word &word, uint32_t undesired)
    {
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, undesired, nullptr, nullptr, 0);
    }
    static void wake(Word &word) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }
};

struct ParkingLotAddress {
    static void wait(Word &word, uint32_t undesired) { peer_pl_address_wait(&word, undesired); }
    static void wake(Word &word) { peer_pl_address_wake(&word); }
};

// There and back between two threads that sleep for each other's change.
template <class Address> std::vector<Metric> back_and_forth()
{
    const uint32_t changes = quick ? 4000 : 20000;
    Word word{0};
    auto take_turns = [&](uint32_t parity) {
        for (uint32_t turn = parity; turn < changes; turn += 2) {
            for (uint32_t now; (now = word.load(std::memory_order_acquire)) != turn;) {
                Address::wait(word, now);
            }
            word.store(turn + 1, std::memory_order_release);
            Address::wake(word);
        }
    };
    double ns = 0;
    std::thread even([&] { ns = ns_of([&] { take_turns(0); }); });
    std::thread odd([&] { take_turns(1); });
    even.join();
    odd.join();
    return {{"ns", 2 * ns / changes}};
}

template <class Address> std::vector<Metric> wake_nobody()
{
    Word word{0};
    return ns_for_each(20000, [&] { Address::wake(word); });
}

std::vector<Row> windows_rows()
{
    std::vector<Row> rows;
    add_shared_lock<HostcrstSrw>(rows);
    add_shared_lock<PthreadRwlock>(rows);
    add_shared_lock<ParkingLotRw>(rows);
    add_shared_lock<RustStdRw>(rows);
    const int many = quick ? 9 : 21;
    rows.push_back({"address: a change and back", many,
                    {{"hostcrst", back_and_forth<HostcrstAddress>},
                     {"futex", back_and_forth<Futex>},
                     {"parking_lot_core", back_and_forth<ParkingLotAddress>}}});
    rows.push_back({"address: wake, nobody waits", many,
                    {{"hostcrst", wake_nobody<HostcrstAddress>},
                     {"futex", wake_nobody<Futex>},
                     {"parking_lot_core", wake_nobody<ParkingLotAddress>}}});
    return rows;
}

} // namespace bench
