// Transitions as scopes: they nest as C++ scopes do, also with exceptions.
#include "host.hpp"

#include <stdexcept>

static std::vector<host_layer_t> layers_of(host_task_t task)
{
    size_t count = 0;
    REQUIRE_EQ(host_task_layers(task, nullptr, 0, &count), S_OK);
    std::vector<host_layer_t> layers(count);
    CHECK_EQ(host_task_layers(task, layers.data(), layers.size(), &count), S_OK);
    CHECK_EQ(count, layers.size());
    return layers;
}

static void scopes_are_layers()
{
    start_runtime();
    host_task_t me = this_task();
    NativeCall outer(10);
    ManagedCall callback;
    NativeCall inner(30);
    auto layers = layers_of(me);
    REQUIRE_EQ(layers.size(), 3);
    CHECK_EQ(layers[0].kind, HOST_LAYER_LEAVE);
    CHECK_EQ(layers[0].target, 10);
    CHECK_EQ(layers[1].kind, HOST_LAYER_REVERSE_ENTER);
    CHECK_EQ(layers[1].target, 0);
    CHECK_EQ(layers[2].target, 30);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_UNMANAGED);
}

static void descend(int depth)
{
    if (depth == 0) {
        throw std::runtime_error("thrown from the innermost layer");
    }
    NativeCall call(static_cast<size_t>(depth));
    ManagedCall callback;
    descend(depth - 1);
}

static void an_exception_closes_every_layer()
{
    start_runtime();
    try {
        descend(2000);
        CHECK(false);
    } catch (const std::runtime_error &) {
        CHECK_EQ(layers_of(this_task()).size(), 0);
        CHECK_EQ(task_info_of(this_task()).mode, HOST_TASK_MANAGED);
    }
}

static void another_thread_reads_them()
{
    start_runtime();
    host_task_t me = this_task();
    NativeCall call(77);
    size_t seen = 0;
    std::thread([&] { seen = layers_of(me).at(0).target; }).join();
    CHECK_EQ(seen, 77);
}

CHECK_MAIN(CHECK_TEST(scopes_are_layers), CHECK_TEST(an_exception_closes_every_layer),
           CHECK_TEST(another_thread_reads_them))
