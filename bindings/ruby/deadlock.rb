# ruby deadlock.rb LIBRARY: two threads take two sections, each in its own order. One is refused, and goes on.
require "fiddle"

# Fiddle lets go of Ruby's own lock for the time of a call, so the other threads run while one waits.
HOST = Fiddle.dlopen(ARGV.fetch(0))
HANDLE, INT, TEXT = -Fiddle::TYPE_LONG_LONG, -Fiddle::TYPE_INT, Fiddle::TYPE_VOIDP
DEADLOCK, INFINITE, TEXT_REPORT = 0x80131020 - (1 << 32), 0xFFFFFFFF, 0

def function(name, *arguments, result: Fiddle::TYPE_INT) = Fiddle::Function.new(HOST[name], arguments, result)

CREATE, ENTER_AT = function("hostcrst_create", TEXT), function("hostcrst_enter_at", HANDLE, INT, INT, TEXT)
LEAVE, SET_NAME = function("hostcrst_leave", HANDLE), function("hostcrst_set_name", HANDLE, TEXT)
MESSAGE = function("host_result_message", INT, result: TEXT)

def check(result)
  raise MESSAGE.call(result).to_s if result.negative? && result != DEADLOCK
  result != DEADLOCK
end

# Yields, or returns nil if the wait was refused; reports show the line of the caller.
def inside(section)
  here = caller_locations(1, 1).first
  place = "#{here.base_label} (#{File.basename(here.path)}:#{here.lineno})"
  return nil unless check(ENTER_AT.call(section, 0, INFINITE, place))
  begin
    yield
  ensure
    check(LEAVE.call(section))
  end
end

def section(name)
  out = Fiddle::Pointer.malloc(8, Fiddle::RUBY_FREE)
  check(CREATE.call(out))
  handle = out[0, 8].unpack1("Q")
  check(SET_NAME.call(handle, name))
  handle
end

check(function("host_runtime_start").call)
orders, stock = section("orders"), section("stock")
def take(first, second, owned)
  inside(first) do
    owned << true
    Thread.pass until owned.size == 2
    inside(second) { :both } || :refused
  end
end
owned = Queue.new
outcomes = [[orders, stock], [stock, orders]].map { |pair| Thread.new { take(*pair, owned) } }.map(&:value)
puts "#{outcomes.sort.join(" and ")}: #{MESSAGE.call(DEADLOCK).to_s[/\w+/]}"
$stdout.flush
function("host_report", INT, INT).call(1, TEXT_REPORT)
