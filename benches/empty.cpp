// Empty functions in the program itself: the cost of a call if the library is linked statically.
extern "C" {
void peer_empty_enter(void *) {}
void peer_empty_leave(void *) {}
}
