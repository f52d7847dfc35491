-- A thread for the example, as Lua has none: a second state, whose function pthread_create calls.
local ffi = require("ffi")
ffi.cdef [[
    typedef struct lua_State lua_State;
    lua_State *luaL_newstate(void);
    void luaL_openlibs(lua_State *);
    int luaL_loadstring(lua_State *, const char *);
    int lua_pcall(lua_State *, int, int, int);
    double lua_tonumber(lua_State *, int);
    const char *lua_tolstring(lua_State *, int, size_t *);
    int pthread_create(unsigned long *, const void *, void *, void *);
    int pthread_join(unsigned long, void **);
    int sched_yield(void);
]]
local C = ffi.C

-- The chunk is called with the library and these handles, in a new thread.
local function start(chunk, ...)
    local handles = {}
    for index, handle in ipairs({ ... }) do handles[index] = tostring(handle) end -- "1ULL" is a number of LuaJIT's
    local source = ([[
        local ffi = require("ffi")
        ffi.cdef(assert(io.open(%q)):read("*a"))
        local run, host = assert(loadstring(%q)), ffi.load(%q)
        callback = ffi.cast("void *(*)(void *)", function() run(host, %s) end)
        return tonumber(ffi.cast("intptr_t", callback))
    ]]):format(arg[1], chunk, arg[2], table.concat(handles, ", "))
    local state = C.luaL_newstate()
    C.luaL_openlibs(state)
    if C.luaL_loadstring(state, source) ~= 0 or C.lua_pcall(state, 0, 1, 0) ~= 0 then
        error(ffi.string(C.lua_tolstring(state, -1, nil)))
    end
    local thread = ffi.new("unsigned long[1]")
    assert(C.pthread_create(thread, nil, ffi.cast("void *", C.lua_tonumber(state, -1)), nil) == 0)
    return { join = function() assert(C.pthread_join(thread[0], nil) == 0) end }
end

return { start = start }
