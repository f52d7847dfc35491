-- luajit deadlock.lua CDEF LIBRARY: two threads take two sections, each in its own order. One is refused, and goes on.
local ffi = require("ffi")
ffi.cdef(assert(io.open(arg[1])):read("*a"))
local host = ffi.load(arg[2])

local function section(name)
    local out = ffi.new("hostcrst_t[1]")
    assert(host.hostcrst_create(out) >= 0 and host.hostcrst_set_name(out[0], name) >= 0)
    return out[0]
end
local function waiters(crst)
    local info = ffi.new("hostcrst_info_t", { size = ffi.sizeof("hostcrst_info_t") })
    return host.hostcrst_info(crst, info) >= 0 and info.waiters
end
assert(host.host_runtime_start() >= 0)
local orders, stock = section("orders"), section("stock")

assert(host.hostcrst_enter(orders, 0) >= 0)
local restock = require("threads").start([[
    local host, orders, stock = ...
    assert(host.hostcrst_enter(stock, 0) >= 0)
    assert(host.hostcrst_enter(orders, 0) >= 0)  -- the other thread is refused, and leaves: this one goes on
    assert(host.hostcrst_leave(orders) >= 0 and host.hostcrst_leave(stock) >= 0)
]], orders, stock)
while waiters(orders) == 0 do ffi.C.sched_yield() end
assert(host.hostcrst_enter(stock, 0) == host.HOST_E_DEADLOCK)
assert(host.hostcrst_leave(orders) >= 0)
restock.join()
assert(host.hostcrst_enter(stock, 0) >= 0)
print("refused: " .. ffi.string(host.host_result_message(host.HOST_E_DEADLOCK)):match("^%w+") .. "; both went on")
