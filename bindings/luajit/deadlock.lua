-- luajit deadlock.lua CDEF LIBRARY, in this folder: two threads take two sections, each in its own order. One is refused, and goes on.
local ffi = require("ffi")
ffi.cdef(assert(io.open(arg[1])):read("*a"))
local host = ffi.load(arg[2])

local function section(name)
    local out = ffi.new("hostcrst_t[1]")
    assert(host.hostcrst_create(out) >= 0 and host.hostcrst_set_name(out[0], name) >= 0)
    return out[0]
end
local function enter(crst) -- reports show the line of the caller
    local at = debug.getinfo(2, "Snl")
    local place = ("%s (%s:%d)"):format(at.name or at.what, at.short_src, at.currentline)
    return host.hostcrst_enter_at(crst, 0, host.HOSTCRST_INFINITE, place)
end
local function waiters(crst)
    local info = ffi.new("hostcrst_info_t", { size = ffi.sizeof("hostcrst_info_t") })
    return host.hostcrst_info(crst, info) >= 0 and info.waiters
end
assert(host.host_runtime_start() >= 0)
local orders, stock = section("orders"), section("stock")

assert(enter(orders) >= 0)
local restock = require("threads").start([[
    local host, orders, stock = ...
    assert(host.hostcrst_enter(stock, 0) >= 0)
    assert(host.hostcrst_enter(orders, 0) >= 0)  -- the other thread is refused, and leaves: this one goes on
    assert(host.hostcrst_leave(orders) >= 0 and host.hostcrst_leave(stock) >= 0)
]], orders, stock)
while waiters(orders) == 0 do ffi.C.sched_yield() end
assert(enter(stock) == host.HOST_E_DEADLOCK)
assert(host.hostcrst_leave(orders) >= 0)
restock.join()
assert(enter(stock) >= 0)
print("refused: " .. ffi.string(host.host_result_message(host.HOST_E_DEADLOCK)):match("^%w+") .. "; both went on")
io.stdout:flush()
assert(host.host_report(1, host.HOST_REPORT_TEXT) >= 0)
