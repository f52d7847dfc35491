// The empty functions within the program: what a call costs where the library is linked statically.
extern "C" {
void peer_empty_enter(void *) {}
void peer_empty_leave(void *) {}
}
