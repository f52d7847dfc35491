/* What programs for Alpine ask of a newer libstdc++ than that of scripts/dotnet-runtime; here nothing is so long. */
void _ZSt28__throw_bad_array_new_lengthv(void);
void _ZSt28__throw_bad_array_new_lengthv(void) { __builtin_trap(); }
